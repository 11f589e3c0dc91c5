"""Perturbed rows, and their scores: examples and steps share forward passes."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from captum_uq.metrics._forward import Forward
from captum_uq.metrics._scores import ScoreReader
from captum_uq.metrics.fills import Fill

__all__ = ["PerturbFunction", "Perturbation", "score_rows"]

PerturbFunction = Callable[[Any, Any], Any]
_BLOCK_BYTES = 2**22  # rows of small inputs are built for several forward passes at a time


@dataclass(frozen=True)
class Perturbation:
    """Everything that tells what row ``(example, step)`` looks like.

    Attributes:
        inputs: Tensors of shape ``(N, *F)``.
        ranks: For each input the place of each element in the order of flipping, shape ``(N, *S)``.
        counts: Number of features flipped after each step, shape ``(N or 1, K + 1)``.
        insertion: Whether flipped features turn from the fill to the input, not the other way.
        fills: For each input what stands for its features; or a function ``(rows, flipped) -> rows`` for all.
        values: For each input what its fill made for it, shape broadcastable to ``(N, *F)``.
        tuples: Whether a function takes tuples, as where the inputs came as one.
    """

    inputs: tuple[Tensor, ...]
    ranks: tuple[Tensor, ...]
    counts: Tensor
    insertion: bool
    fills: tuple[Fill, ...] | PerturbFunction
    values: tuple[Tensor, ...]
    tuples: bool

    def rows(self, examples: Tensor, steps: Tensor) -> tuple[Tensor, ...]:
        """Build some rows; a row depends on its example and step alone.

        Args:
            examples: Example of each row, shape ``(R,)``.
            steps: Step of each row, shape ``(R,)``.

        Returns:
            For each input the perturbed rows, shape ``(R, *F)``.
        """
        shared = self.counts.shape[0] == 1
        counts = self.counts[0].index_select(0, steps) if shared else self.counts[examples, steps]
        originals = tuple(x[examples] for x in self.inputs)  # their own, in the inputs' memory format
        flipped = tuple(self._flipped(_of(rank, examples), counts) for rank in self.ranks)
        if not isinstance(self.fills, tuple):
            return _call_user(self.fills, originals, flipped, self.tuples)
        parts = zip(self.fills, originals, flipped, self.values, strict=True)
        return tuple(fill.apply(rows, where, _of(values, examples)) for fill, rows, where, values in parts)

    def _flipped(self, ranks: Tensor, counts: Tensor) -> Tensor:
        counts = counts.view(-1, *[1] * (ranks.ndim - 1))
        return ranks >= counts if self.insertion else ranks < counts


def _of(tensor: Tensor, examples: Tensor) -> Tensor:
    """Rows of some examples; what all examples share broadcasts."""
    return tensor.index_select(0, examples) if tensor.shape[0] > 1 else tensor


def _call_user(
    fill: PerturbFunction, rows: tuple[Tensor, ...], flipped: tuple[Tensor, ...], tuples: bool
) -> tuple[Tensor, ...]:
    masks = tuple(mask.expand_as(row) for mask, row in zip(flipped, rows, strict=True))
    made = fill(rows, masks) if tuples else fill(rows[0], masks[0])  # it may write into them
    several = made if isinstance(made, tuple) else (made,)
    got = [(tuple(t.shape), t.dtype) if isinstance(t, Tensor) else type(t).__name__ for t in several]
    wanted = [(tuple(t.shape), t.dtype) for t in rows]
    if got != wanted:
        raise ValueError(
            f"perturb_func must return rows of the shape and dtype it was given, {wanted}, got {got}. "
            "Its arguments are perturb_func(rows, flipped); keep what is not flipped."
        )
    return several


def score_rows(
    forward: Forward,
    perturbation: Perturbation,
    reader: ScoreReader,
    max_examples_per_batch: int,
    show_progress: bool,
) -> Tensor:
    """Score every step of every example in as few forward passes as the limit allows.

    Args:
        forward: The model.
        perturbation: The rows.
        reader: The score.
        max_examples_per_batch: Rows in a forward pass.
        show_progress: Whether a bar counts the rows.

    Returns:
        Shape ``(N, K + 1)``.
    """
    n_points = perturbation.counts.shape[1]
    n_rows = forward.n_examples * n_points
    scores = []
    with tqdm(total=n_rows, desc="Perturbed rows") if show_progress else nullcontext() as bar:
        for rows, examples in _passes(perturbation, n_rows, max_examples_per_batch):
            scores.append(reader.read(forward(rows, examples), examples).detach())  # of a function with a graph inside
            if bar is not None:
                bar.update(len(examples))
    joined = torch.cat(scores) if len(scores) > 1 else scores[0]
    return joined.view(forward.n_examples, n_points)


def _passes(perturbation: Perturbation, n_rows: int, limit: int) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
    """Rows of each forward pass, and their examples; those of small inputs are built for several passes at a time."""
    n_points, device = perturbation.counts.shape[1], perturbation.inputs[0].device
    row_bytes = sum(x.nbytes // x.shape[0] for x in perturbation.inputs)
    size = limit * max(1, _BLOCK_BYTES // (limit * row_bytes))
    for start in range(0, n_rows, size):
        row = torch.arange(start, min(start + size, n_rows), device=device)
        examples = row // n_points
        block = *perturbation.rows(examples, row % n_points), examples
        for part in zip(*(tensor.split(limit) for tensor in block), strict=True):
            yield part[:-1], part[-1]
