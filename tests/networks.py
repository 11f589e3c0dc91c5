"""Every kind of randomness a network can have, as small networks with inputs: the first table of the laws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CLASSES = 3


class Dense(nn.Module):
    """Two linear layers with some dropout between."""

    def __init__(self, dropout: nn.Module, features: int = 5) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, 8)
        self.relu = nn.ReLU()
        self.dropout = dropout
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.relu(self.hidden(x))))


class Convolutional(nn.Module):
    """A small convolutional network with BatchNorm, dropout by channel and by unit."""

    def __init__(self, dropout: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.channels = nn.Dropout2d(0.3) if dropout is None else dropout
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(16, 8)
        self.relu2 = nn.ReLU()
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.channels(self.relu(self.norm(self.conv(x)))))
        return self.head(self.dropout(self.relu2(self.hidden(x.flatten(1)))))


class Volume(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 3, 2)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout3d(0.4)
        self.head = nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.relu(self.conv(x))).flatten(1))


class Functional(Dense):
    """Dropout called as a function, in the network's own forward."""

    def __init__(self, function: Callable[..., Tensor] = F.dropout) -> None:
        super().__init__(nn.Identity())
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.relu(self.hidden(x)), p=0.5, training=self.training))


class FunctionalChannels(nn.Module):
    """Dropout of whole channels, called as a function."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 2)
        self.relu = nn.ReLU()
        self.head = nn.Linear(36, CLASSES)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.relu(self.conv(x)), p=0.4, training=self.training).flatten(1))


class Reused(nn.Module):
    """One dropout module, used three times in a forward: a mask for each use."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.4)
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.relu, self.relu2 = nn.ReLU(), nn.ReLU()
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.relu(self.first(self.dropout(x))))
        return self.head(self.dropout(self.relu2(self.second(x))))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.recurrent = kind(4, 6, 2, dropout=0.5, batch_first=True)
        self.relu = nn.ReLU()
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.recurrent(x)[0][:, -1]))


class Attention(nn.Module):
    def __init__(self, need_weights: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.4, batch_first=True)
        self.relu = nn.ReLU()
        self.head = nn.Linear(8, CLASSES)
        self.need_weights = need_weights

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.attention(x, x, x, need_weights=self.need_weights)[0].mean(1)))


class DotProduct(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (2, 4)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(heads, heads, heads, dropout_p=0.4 if self.training else 0.0)
        return self.head(self.relu(mixed.transpose(1, 2).flatten(2).mean(1)))


class Transformer(nn.Module):
    def __init__(self, decoder: bool = False) -> None:
        super().__init__()
        kind = nn.TransformerDecoderLayer if decoder else nn.TransformerEncoderLayer
        self.layer = kind(8, 2, 16, dropout=0.3, batch_first=True)
        self.decoder = decoder
        self.relu = nn.ReLU()
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.layer(x, x) if self.decoder else self.layer(x)
        return self.head(self.relu(mixed.mean(1)))


class DropPath(nn.Module):
    """Stochastic depth by behaviour: whole rows of a residual branch are dropped."""

    def __init__(self, drop_prob: float = 0.4) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        if self.drop_prob == 0.0 or not self.training:
            return x
        keep = 1 - self.drop_prob
        return x * x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(keep).div_(keep)


class Checkpointed(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(checkpoint(lambda h: self.dropout(self.relu(self.hidden(h))), x, use_reentrant=False))


class Noise(nn.Module):
    """Multiplicative noise, of other families than dropout."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + torch.randn_like(x) * torch.rand_like(x)) if self.training else x


class Tokens(nn.Module):
    """Integer tokens, and a second input."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.dropout = nn.Dropout(0.4)
        self.relu = nn.ReLU()
        self.head = nn.Linear(6, CLASSES)

    def forward(self, tokens: Tensor, scale: Tensor, shift: float = 0.0) -> Tensor:
        return self.head(self.relu(self.dropout(self.embedding(tokens)).mean(1) * scale + shift))


class TwoInputs(nn.Module):
    """Two inputs, and an argument that is not attributed."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 6), nn.Linear(3, 6)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor, y: Tensor, scale: float = 1.0) -> Tensor:
        return self.head(self.dropout(self.relu(self.one(x) + self.other(y)))) * scale


@dataclass(frozen=True)
class Kind:
    """A kind of randomness: the network, its inputs for `n` examples, and the layer that layer methods look at."""

    make: Callable[[], nn.Module]
    inputs: Callable[[int], Any]
    layer: str
    additional: Any = None
    modules_only: bool = field(default=True)


def _normal(*shape: int) -> Callable[[int], Tensor]:
    return lambda n: torch.randn(n, *shape, generator=torch.Generator().manual_seed(n))


KINDS: dict[str, Kind] = {
    "Dropout": Kind(lambda: Dense(nn.Dropout(0.5)), _normal(5), "hidden"),
    "AlphaDropout": Kind(lambda: Dense(nn.AlphaDropout(0.4)), _normal(5), "hidden"),
    "Dropout1d": Kind(
        lambda: nn.Sequential(nn.Conv1d(2, 4, 2), nn.ReLU(), nn.Dropout1d(0.4), nn.Flatten(), nn.Linear(16, CLASSES)),
        _normal(2, 5),
        "0",
    ),
    "Dropout2d and BatchNorm": Kind(Convolutional, _normal(2, 6, 6), "conv"),
    "FeatureAlphaDropout": Kind(lambda: Convolutional(nn.FeatureAlphaDropout(0.4)), _normal(2, 6, 6), "conv"),
    "Dropout3d": Kind(Volume, _normal(1, 3, 3, 3), "conv"),
    "F.dropout": Kind(Functional, _normal(5), "hidden", modules_only=False),
    "F.alpha_dropout": Kind(lambda: Functional(F.alpha_dropout), _normal(5), "hidden", modules_only=False),
    "F.dropout2d": Kind(lambda: FunctionalChannels(F.dropout2d), _normal(2, 4, 4), "conv", modules_only=False),
    "F.feature_alpha_dropout": Kind(
        lambda: FunctionalChannels(F.feature_alpha_dropout), _normal(2, 4, 4), "conv", modules_only=False
    ),
    "a module used three times": Kind(Reused, _normal(5), "first"),
    "LSTM": Kind(lambda: Recurrent(nn.LSTM), _normal(4, 4), "relu"),
    "GRU": Kind(lambda: Recurrent(nn.GRU), _normal(4, 4), "relu"),
    "attention with weights": Kind(lambda: Attention(True), _normal(4, 8), "relu"),
    "attention without weights": Kind(lambda: Attention(False), _normal(4, 8), "relu"),
    "scaled_dot_product_attention": Kind(DotProduct, _normal(4, 8), "relu", modules_only=False),
    "TransformerEncoderLayer": Kind(Transformer, _normal(4, 8), "relu"),
    "TransformerDecoderLayer": Kind(lambda: Transformer(decoder=True), _normal(4, 8), "relu"),
    "stochastic depth": Kind(lambda: Dense(DropPath()), _normal(5), "hidden"),
    "checkpointing": Kind(lambda: Checkpointed(nn.Dropout(0.5)), _normal(5), "hidden"),
    "Gaussian noise": Kind(lambda: Dense(Noise()), _normal(5), "hidden"),
    "two inputs and an argument": Kind(
        TwoInputs,
        lambda n: (_normal(4)(n), _normal(3)(n)),
        "one",
        additional=(2.0,),
    ),
}


def build(name: str) -> nn.Module:
    """The network of a kind, the same at every call, in train mode as a user may leave it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return KINDS[name].make()
