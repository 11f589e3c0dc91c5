"""From a model's outputs to one score for each row, with the target checked before it is used."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["SCORES", "ScoreFunction", "ScoreReader", "Target"]

_BATCH = "Check that the model keeps the batch dimension, and does not fold another into it."
_WRAP = "Wrap a model that returns something else, as in lambda inputs: model(inputs).logits."

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
        self._range = list(zip(*(i.tolist() for i in indices.aminmax(dim=0)), strict=True)) if indices.numel() else []
        self._indices = indices.expand(n_examples, -1).to(device)

    def read(self, outputs: Tensor, examples: Tensor) -> Tensor:
        """Score some rows.

        Args:
            outputs: What the model returned for these rows, shape ``(R, *O)``.
            examples: Which example each row is of, shape ``(R,)``.

        Returns:
            Shape ``(R,)``, floating point, float32 at the least.

        Raises:
            TypeError: Outputs or scores are complex.
            ValueError: The outputs are not one for each row, or do not fit the target or the score.
        """  # noqa: DOC502 (one is raised by the helper)
        n_rows = examples.shape[0]
        if not isinstance(outputs, Tensor) or outputs.ndim == 0 or outputs.shape[0] != n_rows:
            raise ValueError(
                f"forward_func must return one output for each row it is given, {n_rows} here, got "
                f"{tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__}. "
                f"{_BATCH if isinstance(outputs, Tensor) else _WRAP}"
            )
        indices = self._indices.index_select(0, examples).to(outputs.device)
        scores = self._apply(_as_floats(outputs, "forward_func"), indices)
        if not isinstance(scores, Tensor) or scores.shape not in {(n_rows,), (n_rows, 1)}:
            raise ValueError(
                f"score must give one number for each row, shape ({n_rows},), got "
                f"{tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__}. Reduce the other "
                "dimensions in the score."
            )
        return _as_floats(scores, "score").reshape(-1)

    def _apply(self, outputs: Tensor, indices: Tensor) -> Tensor:
        depth = indices.shape[1]
        if callable(self._score):
            return self._score(outputs, None if depth == 0 else indices[:, 0] if depth == 1 else indices)
        self._check_target(outputs.shape)
        if depth == 1 and outputs.ndim == 2:
            return SCORES[self._score](outputs, indices)
        if self._score == "output":
            rows_and_indices = (torch.arange(outputs.shape[0], device=outputs.device), *indices.unbind(1))
            return outputs if depth == 0 else outputs[rows_and_indices]
        raise ValueError(
            f"score={self._score!r} reads one class of outputs (N, C), got outputs of {tuple(outputs.shape)} and "
            f"{'no target. Pass target=' if depth == 0 else 'a target of several indices. Pass one index'}, or a "
            "callable as score."
        )

    def _check_target(self, shape: torch.Size) -> None:
        depth = self._indices.shape[1]
        if depth == 0 and shape[1:] not in {(), (1,)}:
            raise ValueError(
                f"target is needed where the model has several outputs, got None for outputs of {tuple(shape)}. "
                "Pass target=labels, or target=0 for the first output."
            )
        if depth > 0 and len(shape) - 1 != depth:
            raise ValueError(
                f"target must have one index for each dimension of the output after the batch, got "
                f"{depth} for outputs of {tuple(shape)}. Pass a tuple of indices, or None for outputs (N,)."
            )
        for (low, high), size in zip(self._range, shape[1:], strict=False):
            if low < 0 or high >= size:
                raise ValueError(
                    f"target must lie between 0 and {size - 1} for outputs of {tuple(shape)}, got "
                    f"{low if low < 0 else high}. Check that labels count from 0 and belong to this model."
                )


def _as_floats(numbers: Tensor, giver: str) -> Tensor:
    """Numbers that a score can be made of and an area read from: a softmax in half precision is off by 1e-3.

    Raises:
        TypeError: Complex numbers.
    """
    if numbers.is_complex():
        raise TypeError(f"{giver} must return real numbers, got {numbers.dtype}. Return their .real or .abs().")
    return numbers if numbers.is_floating_point() and numbers.dtype.itemsize >= 4 else numbers.float()


def _as_indices(target: Target, n_examples: int) -> Tensor:
    """Captum's forms of a target as indices ``(N or 1, D)``, on the CPU; ``(1, 0)`` without a target.

    Raises:
        ValueError: Neither an integer, nor a tuple of integers, nor one of either for each example.
    """
    if target is None:
        return torch.empty(1, 0, dtype=torch.int64)
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
