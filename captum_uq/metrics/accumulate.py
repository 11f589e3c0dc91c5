"""Curves over a loader, batch by batch: what is kept is ``K + 1`` numbers for each example, never its input."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from captum_uq.metrics._inputs import as_labels
from captum_uq.metrics._pairing import by_name, facts_of
from captum_uq.metrics.curves import PerturbationCurve

__all__ = ["CurveAccumulator"]

Curves = PerturbationCurve | Mapping[str, PerturbationCurve]


class CurveAccumulator:
    """Joins the curves of many batches into those of the whole data set, and of each class.

    Random numbers belong to examples, not to batches, so the result does not depend on how the loader cuts them.
    Scores are moved to the CPU: 132 bytes an example at 32 steps in float32, so that the examples stay paired for
    ``compare``.

    Example:
        >>> from captum_uq.metrics import pixel_flipping
        >>> weights = torch.tensor([[1.0, 2.0, 3.0]])
        >>> total = CurveAccumulator()
        >>> for batch, labels in [(torch.ones(2, 3), [0, 1]), (torch.zeros(1, 3), [1])]:
        ...     curve = pixel_flipping(lambda x: x @ weights.T, batch, weights.expand_as(batch), n_steps=3)
        ...     total.update(curve, labels)
        >>> total.compute().mean()
        tensor([4.0000, 2.0000, 0.6667, 0.0000])
        >>> {label: len(curve) for label, curve in total.by_class().items()}
        {0: 1, 1: 2}
    """

    def __init__(self) -> None:
        self._batches: list[dict[str, PerturbationCurve]] = []
        self._labels: list[Tensor] = []
        self._single = True

    def __len__(self) -> int:
        """Number of examples seen."""
        return sum(len(next(iter(batch.values()))) for batch in self._batches)

    def update(self, curves: Curves, labels: Tensor | Sequence[int] | None = None) -> None:
        """Add a batch.

        Args:
            curves: The curves of the batch: one, or several by name as ``summary_curves`` returns them.
            labels: Class of each example, shape ``(N,)``; give them for every batch or for none.

        Raises:
            TypeError: Something that is no curve.
            ValueError: Names, steps or options unlike those of the batches before; labels for some batches only, or
                not one integer for each example.
        """  # noqa: DOC502 (raised by the checks)
        batch = by_name(curves, "update", "")
        self._check(batch, labels)
        self._single = isinstance(curves, PerturbationCurve)
        classes = None if labels is None else as_labels(labels, len(next(iter(batch.values()))))
        self._batches.append({name: _to_cpu(curve) for name, curve in batch.items()})
        if classes is not None:
            self._labels.append(classes)

    def compute(self) -> PerturbationCurve | dict[str, PerturbationCurve]:
        """Join what came so far.

        Returns:
            The curves of all examples, in the form in which they were given.

        Raises:
            ValueError: Nothing came.
        """  # noqa: DOC502 (raised by the joining)
        joined = self._joined()
        return joined[""] if self._single else joined

    def by_class(self) -> dict[int, PerturbationCurve] | dict[int, dict[str, PerturbationCurve]]:
        """Join what came so far, class by class.

        Returns:
            For each class in rising order what ``compute`` returns, of its examples.

        Raises:
            ValueError: Nothing came, or no labels.
        """
        joined = self._joined()
        if not self._labels:
            raise ValueError("by_class needs labels, update was called without. Pass update(curves, labels).")
        split = {name: curve.by_class(torch.cat(self._labels)) for name, curve in joined.items()}
        if self._single:
            return split[""]
        classes = next(iter(split.values()))
        return {label: {name: split[name][label] for name in split} for label in classes}

    def _joined(self) -> dict[str, PerturbationCurve]:
        if not self._batches:
            raise ValueError("there is no curve to join, update was never called. Call it for every batch.")
        return {name: _join([batch[name] for batch in self._batches]) for name in self._batches[0]}

    def _check(self, batch: dict[str, PerturbationCurve], labels: object) -> None:
        """Refuse a batch that does not go with those before it.

        Raises:
            ValueError: It does not.
        """
        before = self._batches[0] if self._batches else batch
        ours, theirs = ({name: facts_of(curve) for name, curve in curves.items()} for curves in (batch, before))
        if ours != theirs or not batch:
            raise ValueError(
                f"a batch must have the names, steps and options of those before it: got {ours}, after {theirs}. Use "
                "one accumulator for each setting."
            )
        sizes = {name: len(curve) for name, curve in batch.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"the curves of a batch are of the same examples, got {sizes}. Measure all on one batch.")
        if self._batches and (labels is None) != (not self._labels):
            raise ValueError(
                f"labels are given for every batch or for none, got {'none' if labels is None else 'some'} after "
                f"{'some' if self._labels else 'none'}. Use one accumulator for each setting."
            )


def _to_cpu(curve: PerturbationCurve) -> PerturbationCurve:
    fractions, scores, ties = (t.detach().cpu() for t in (curve.fractions, curve.scores, curve.tie_fraction))
    return replace(curve, fractions=fractions, scores=scores, tie_fraction=ties)


def _join(curves: list[PerturbationCurve]) -> PerturbationCurve:
    first = curves[0]
    fractions = first.fractions
    if any(c.fractions.shape != fractions.shape or not torch.equal(c.fractions, fractions) for c in curves):
        fractions = torch.cat([c.fractions.expand(len(c), -1) for c in curves])
    scores = torch.cat([c.scores for c in curves], dim=-2)
    ties = torch.cat([c.tie_fraction for c in curves], dim=-1)
    return replace(first, fractions=fractions, scores=scores, tie_fraction=ties)
