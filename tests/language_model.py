"""A tiny language model and tokenizer with the interface that Captum's LLM methods ask for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

WORDS = "abcdefgh"


class Tokenizer:
    """One token a letter."""

    def __call__(self, text: str, return_tensors: str | None = None, **kwargs: Any) -> dict[str, Any]:
        ids = self.encode(text)
        return {"input_ids": ids, "offset_mapping": [(2 * i, 2 * i + 1) for i in range(len(ids))]}

    def encode(self, text: str, return_tensors: str | None = None, **kwargs: Any) -> Any:
        ids = [WORDS.index(word) for word in text.split()]
        return torch.tensor([ids]) if return_tensors == "pt" else ids

    def decode(self, token_ids: Any, **kwargs: Any) -> str:
        return " ".join(WORDS[int(token)] for token in torch.as_tensor(token_ids).flatten())

    def convert_ids_to_tokens(self, token_ids: Any) -> list[str]:
        return [WORDS[int(token)] for token in token_ids]

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        return WORDS.index(tokens) if isinstance(tokens, str) else [WORDS.index(token) for token in tokens]


class Output:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Transformer(nn.Module):
    """Embedding, dropout, head."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(WORDS), 6)
        self.dropout = nn.Dropout(0.3)
        self.mix = nn.Linear(6, 6)
        self.head = nn.Linear(6, len(WORDS))
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> Output:
        hidden = self.dropout(torch.tanh(self.mix(self.embedding(input_ids))))
        return Output(self.head(hidden.cumsum(1)))

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:
        return {"input_ids": input_ids}

    def _update_model_kwargs_for_generation(self, outputs: Output, model_kwargs: dict[str, Any]) -> dict[str, Any]:
        return model_kwargs

    def generate(self, input_ids: Tensor, max_new_tokens: int = 2, **kwargs: Any) -> Tensor:
        for _ in range(max_new_tokens):
            input_ids = torch.cat([input_ids, self(input_ids).logits[:, -1:].argmax(-1)], 1)
        return input_ids
