"""From a model's outputs to one score for each row, with the target checked before it is used."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["SCORES", "ScoreFunction", "ScoreReader", "Target"]

Target = int | tuple[int, ...] | Tensor | list[int] | list[tuple[int, ...]] | None
ScoreFunction = Callable[[Tensor, Tensor | None], Tensor]


def _margin(outputs: Tensor, columns: Tensor) -> Tensor:
    if outputs.shape[1] < 2:
        raise ValueError(
            f'score="margin" compares the target with the other classes, got outputs of {tuple(outputs.shape)}. '
            'Use score="output" for a single output.'
        )
    others = outputs.scatter(1, columns, -torch.inf)
    return outputs.gather(1, columns) - others.amax(dim=1, keepdim=True)


SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "output": lambda outputs, columns: outputs.gather(1, columns),
    "softmax": lambda outputs, columns: outputs.softmax(dim=1).gather(1, columns),
    "log_softmax": lambda outputs, columns: outputs.log_softmax(dim=1).gather(1, columns),
    "margin": _margin,
}


class ScoreReader:
    """Reads the score of the target from the outputs of any rows.

    Args:
        score: One of ``SCORES``, or ``score(outputs, target) -> (R,)``, which must treat rows separately.
        target: As Captum takes it: an index, one for each example, a tuple of indices, or ``None``.
        n_examples: Number of examples ``N``.
        device: Where the indices are kept.
    """

    def __init__(self, score: str | ScoreFunction, target: Target, n_examples: int, device: torch.device) -> None:
        self._score = score
        indices = _as_indices(target, n_examples)
        self._range = [] if indices is None else list(zip(*(i.tolist() for i in indices.aminmax(dim=0)), strict=True))
        self._indices = None if indices is None else indices.expand(n_examples, -1).to(device)

    def read(self, outputs: Tensor, examples: Tensor) -> Tensor:
        """Score some rows.

        Args:
            outputs: What the model returned for these rows, shape ``(R, *O)``.
            examples: Which example each row is of, shape ``(R,)``.

        Returns:
            Shape ``(R,)``, floating point.

        Raises:
            ValueError: The outputs are not one for each row, or do not fit the target or the score.
        """
        self._check(outputs, len(examples))
        indices = None if self._indices is None else self._indices[examples].to(outputs.device)
        if not outputs.is_floating_point():
            outputs = outputs.float()
        scores = self._apply(outputs, indices)
        if not isinstance(scores, Tensor) or scores.shape not in {(len(examples),), (len(examples), 1)}:
            raise ValueError(
                f"score must give one number for each row, shape ({len(examples)},), got "
                f"{tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__}. Reduce the other "
                "dimensions in the score."
            )
        return scores.reshape(-1)

    def _apply(self, outputs: Tensor, indices: Tensor | None) -> Tensor:
        if callable(self._score):
            return self._score(outputs, indices[:, 0] if indices is not None and indices.shape[1] == 1 else indices)
        if indices is None and self._score == "output":
            return outputs
        if indices is not None and indices.shape[1] == 1 and outputs.ndim == 2:
            return SCORES[self._score](outputs, indices)
        if indices is not None and self._score == "output":
            rows_and_indices = (torch.arange(len(outputs), device=outputs.device), *indices.unbind(1))
            return outputs[rows_and_indices]
        raise ValueError(
            f"score={self._score!r} reads one class of outputs (N, C), got outputs of {tuple(outputs.shape)} and "
            f"{'no target' if indices is None else 'a target of several indices'}. Pass target=, or a callable "
            "as score."
        )

    def _check(self, outputs: Tensor, n_rows: int) -> None:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        if not isinstance(outputs, Tensor) or outputs.ndim == 0 or outputs.shape[0] != n_rows:
            raise ValueError(
                f"forward_func must return one output for each row it is given, {n_rows} here, got {got}. "
                "Check that the model keeps the batch dimension, and does not fold another into it."
            )
        if not callable(self._score):
            self._check_target(tuple(outputs.shape))

    def _check_target(self, shape: tuple[int, ...]) -> None:
        if self._indices is None and shape[1:] not in {(), (1,)}:
            raise ValueError(
                f"target is needed where the model has several outputs, got None for outputs of {shape}. "
                "Pass target=labels, or target=0 for the first output."
            )
        if self._indices is not None and len(shape) - 1 != len(self._range):
            raise ValueError(
                f"target must have one index for each dimension of the output after the batch, got "
                f"{len(self._range)} for outputs of {shape}. Pass a tuple of indices, or None for outputs (N,)."
            )
        for (low, high), size in zip(self._range, shape[1:], strict=False):
            if low < 0 or high >= size:
                raise ValueError(
                    f"target must lie between 0 and {size - 1} for outputs of {shape}, got "
                    f"{low if low < 0 else high}. Check that labels count from 0 and belong to this model."
                )


def _as_indices(target: Target, n_examples: int) -> Tensor | None:
    """Captum's forms of a target as indices ``(N or 1, D)``, on the CPU.

    Raises:
        ValueError: Neither an integer, nor a tuple of integers, nor one of either for each example.
    """
    if target is None:
        return None
    try:
        indices = torch.as_tensor(target).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        indices = torch.empty(0)
    if isinstance(target, tuple):
        indices = indices.reshape(1, len(target))
    elif indices.numel() == 1:
        indices = indices.reshape(1, 1)
    elif indices.ndim == 1:
        indices = indices.unsqueeze(1)
    integral = not indices.is_floating_point() and indices.dtype != torch.bool
    if not integral or indices.ndim != 2 or len(indices) not in {1, n_examples}:
        raise ValueError(
            f"target must be an integer, a tuple of integers, or one of either for each of the {n_examples} "
            f"examples, got {target!r}. Pass labels as a tensor of shape ({n_examples},)."
        )
    return indices.long()
