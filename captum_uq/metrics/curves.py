"""The result of a perturbation test: one curve for each example, and what is read off them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from captum_uq.metrics._inputs import as_labels, check_choice
from captum_uq.metrics._student import t_quantile

__all__ = ["PerturbationCurve", "auc"]


@dataclass(frozen=True, eq=False)
class PerturbationCurve:
    """Scores of ``N`` examples after ``0 .. K`` steps of flipping.

    Attributes:
        fractions: True share of the features flipped, shape ``(K + 1,)``; ``(N, K + 1)`` where a feature mask gives
            examples different numbers of features.
        scores: In the units of the score, shape ``(N, K + 1)``; ``(T, N, K + 1)`` for the maps of ``T`` draws.
        tie_fraction: Share of the features that share their relevance with another, shape ``(N,)`` or ``(T, N)``.
        mode: ``"deletion"`` or ``"insertion"``.
        order: ``"morf"``, ``"lerf"`` or ``"random"``.
        score: Name of the score.
        max_fraction: Share of the features flipped at the end, as it was asked for.
    """

    fractions: Tensor
    scores: Tensor
    tie_fraction: Tensor
    mode: str = "deletion"
    order: str = "morf"
    score: str = "output"
    max_fraction: float = 1.0

    def __len__(self) -> int:
        """Number of examples ``N``."""
        return int(self.scores.shape[-2])

    def __repr__(self) -> str:
        draws = f", draws={len(self.scores)}" if self.scores.ndim == 3 else ""
        return (
            f"PerturbationCurve(mode={self.mode!r}, order={self.order!r}, score={self.score!r}, n={len(self)}, "
            f"steps={self.scores.shape[-1] - 1}{draws}, auc={self.auc.mean():.4g}, {self.direction} is better)"
        )

    @property
    def direction(self) -> Literal["lower", "higher"]:
        """Which area is the better: lower for deletion, higher for insertion; the reverse for ``"lerf"``.

        A random order has the direction of ``"morf"``, but ``compare`` sets it against ``"lerf"`` too.
        """
        return "lower" if (self.mode == "deletion") != (self.order == "lerf") else "higher"

    @property
    def auc(self) -> Tensor:
        """Area under each curve, ``auc(curve)``, shape ``(N,)`` or ``(T, N)``."""
        return auc(self)

    def per_example(self) -> Tensor:
        """Curve of each example, averaged over draws where there are any, shape ``(N, K + 1)``."""
        return self.scores.mean(0) if self.scores.ndim == 3 else self.scores

    def mean(self) -> Tensor:
        """Mean curve over examples, shape ``(K + 1,)``."""
        return self.per_example().mean(0)

    def sem(self) -> Tensor:
        """Standard error of the mean curve over examples, ``s / sqrt(N)``.

        Returns:
            Shape ``(K + 1,)``, in the units of the score.

        Raises:
            ValueError: A single example.
        """
        if len(self) < 2:
            raise ValueError("a standard error needs at least 2 examples, got 1. Measure more, or read .mean() alone.")
        return self.per_example().std(0) / math.sqrt(len(self))

    def ci(self, level: float = 0.95) -> tuple[Tensor, Tensor]:
        """Confidence interval of the mean curve over examples, by Student's t, point by point.

        Args:
            level: Confidence, in (0, 1).

        Returns:
            The lower and the upper curve, shape ``(K + 1,)`` each.

        Raises:
            ValueError: A single example, or a level outside (0, 1).
        """  # noqa: DOC502 (raised by the helpers)
        half = t_quantile(level, len(self) - 1) * self.sem() if len(self) > 1 else self.sem()
        return self.mean() - half, self.mean() + half

    def select(self, examples: Tensor | Sequence[int] | slice) -> "PerturbationCurve":
        """Keep some examples.

        Args:
            examples: Indices, none included, a slice, or a bool mask of shape ``(N,)``.

        Returns:
            Their curves.

        Raises:
            ValueError: Neither, as a mask of draws and examples is, or floats.
        """
        examples = torch.as_tensor(range(len(self))[examples] if isinstance(examples, slice) else examples)
        if examples.shape == (0,) and examples.dtype != torch.bool:
            examples = examples.long()  # of an empty list torch makes floats
        mask = examples.dtype == torch.bool
        if examples.ndim != 1 or examples.dtype.is_floating_point or (mask and len(examples) != len(self)):
            raise ValueError(
                f"select takes indices, or a bool for each of the {len(self)} examples, got shape "
                f"{tuple(examples.shape)} of {examples.dtype}. Of a mask of draws and examples, (T, N), take .all(0)."
            )
        fractions = self.fractions[examples.to(self.fractions.device)] if self.fractions.ndim == 2 else self.fractions
        scores = self.scores[..., examples.to(self.scores.device), :]
        ties = self.tie_fraction[..., examples.to(self.tie_fraction.device)]
        return replace(self, fractions=fractions, scores=scores, tie_fraction=ties)

    def by_class(self, labels: Tensor | Sequence[int]) -> dict[int, "PerturbationCurve"]:
        """Split the examples by their class.

        Args:
            labels: One integer for each example, shape ``(N,)``.

        Returns:
            For each class that occurs, in rising order, the curves of its examples.

        Raises:
            ValueError: Not one integer for each example.
        """  # noqa: DOC502 (raised by the check)
        classes = as_labels(labels, len(self))
        return {int(label): self.select(classes == label) for label in classes.unique()}

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and lists, ready for JSON."""
        tensors = {"fractions": self.fractions, "scores": self.scores, "auc": self.auc, "mean": self.mean()}
        tensors["tie_fraction"] = self.tie_fraction
        facts = {"mode": self.mode, "order": self.order, "score": self.score, "direction": self.direction}
        return facts | {"max_fraction": self.max_fraction} | {name: tensor.tolist() for name, tensor in tensors.items()}

    def plot(self, ax: Any, label: str | None = None, level: float = 0.95) -> Any:
        """Draw the mean curve with its confidence band.

        Args:
            ax: Matplotlib axes, from ``plt.subplots()``; this module imports no plotting library.
            label: Name in the legend; the mean area is added to it.
            level: Confidence of the band, which needs at least 2 examples.

        Returns:
            ``ax``.
        """
        x = self.fractions if self.fractions.ndim == 1 else self.fractions.mean(0)
        name = f"area {self.auc.mean():.3g}" if label is None else f"{label} (area {self.auc.mean():.3g})"
        (line,) = ax.plot(x.tolist(), self.mean().tolist(), label=name)
        if len(self) > 1:
            low, high = self.ci(level)
            ax.fill_between(x.tolist(), low.tolist(), high.tolist(), color=line.get_color(), alpha=0.2, linewidth=0)
        ax.set_xlabel(f"fraction {'removed' if self.mode == 'deletion' else 'inserted'}")
        ax.set_ylabel(f"{self.score} ({self.direction} area is better)")
        return ax


def auc(curve: PerturbationCurve, convention: Literal["unit", "rise", "quantus"] = "unit") -> Tensor:
    """Area under each curve.

    Args:
        curve: Scores ``(N, K + 1)`` or ``(T, N, K + 1)``.
        convention: ``"unit"``: trapezoids over the true fractions, scaled so that what was flipped spans [0, 1]; a
            mean score, comparable between any numbers of steps. ``"rise"``: trapezoids over equal steps on [0, 1],
            as in RISE's code, an uneven step or not. ``"quantus"``: trapezoids of width 1 without step 0, as in
            Quantus, hence about ``K - 1`` times as large.

    Returns:
        Shape ``(N,)`` or ``(T, N)``, in the units of the score.

    Raises:
        TypeError: No curve.
        ValueError: An unknown convention.

    References:
        [1] Petsiuk et al., "RISE: Randomized input sampling for explanation of black-box models", 2018, section 4.1.
        [2] Hedstroem et al., "Quantus: An explainable AI toolkit", 2023.

    Example:
        >>> points = torch.tensor([0.0, 0.4, 0.8, 1.0])
        >>> curve = PerturbationCurve(points, torch.tensor([[4.0, 2.0, 1.0, 0.0]]), torch.zeros(1))
        >>> [round(auc(curve, convention).item(), 3) for convention in ("unit", "rise", "quantus")]
        [1.9, 1.667, 2.0]
    """  # noqa: DOC502 (raised by the check)
    check_choice("convention", convention, ("unit", "rise", "quantus"))
    if not isinstance(curve, PerturbationCurve):
        raise TypeError(
            f"auc takes a PerturbationCurve, got {type(curve).__name__}. Pass what pixel_flipping returned."
        )
    if convention == "quantus":
        return torch.trapezoid(curve.scores[..., 1:], dx=1.0)
    if convention == "rise":
        return torch.trapezoid(curve.scores, dx=1.0 / (curve.scores.shape[-1] - 1))
    return torch.trapezoid(curve.scores, curve.fractions / curve.fractions[..., -1:])
