"""Do the draws still predict what the network predicts?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from captum_uq._warn import warn

_MOSTLY = 0.5
_ENOUGH_DRAWS = 10
"""Of fewer draws the share says little: one that is 3/4 falls below a half for 2 in 100 sets of 10, for 10 of 5."""


class DisagreementWarning(UserWarning):
    """Most draws predict something else than the network that is explained."""


@dataclass(frozen=True)
class Agreement:
    """How often draws predict what the deterministic network predicts.

    Attributes:
        per_draw: Share of the inputs on which each draw agrees, shape ``(T,)``.
        accuracy_per_draw: Accuracy of each draw, shape ``(T,)``; None without labels.
        deterministic_accuracy: Accuracy of the network as it stands; None without labels.
    """

    per_draw: Tensor
    accuracy_per_draw: Tensor | None = None
    deterministic_accuracy: float | None = None

    @property
    def share(self) -> float:
        """Share of draws and inputs that agree, in [0, 1]."""
        return float(self.per_draw.mean())

    @property
    def accuracy(self) -> float | None:
        """Mean accuracy of the draws; None without labels."""
        return None if self.accuracy_per_draw is None else float(self.accuracy_per_draw.mean())

    def __float__(self) -> float:
        return self.share

    def __repr__(self) -> str:
        known = "" if self.accuracy is None else f", accuracy={self.accuracy:.3f} of {self.deterministic_accuracy:.3f}"
        return f"Agreement({self.share:.3f} over {len(self.per_draw)} draws{known})"


def are_probabilities(*outputs: Tensor) -> bool:
    """Whether the outputs of one network, in its draws and as it stands, are probabilities and no logits.

    Args:
        outputs: Outputs of a classifier, ``(..., C)`` each. All are asked: what lies in [0, 1] here may not lie there.

    Returns:
        Whether none is negative and they sum to 1 over the last axis; of one output, whether none is above 1.
    """
    return all(map(_are_probabilities, outputs))


def _are_probabilities(outputs: Tensor) -> bool:
    if not outputs.is_floating_point() or bool((outputs < 0).any()):
        return False
    if outputs.shape[-1] == 1:
        return bool((outputs <= 1).all())
    sums = outputs.sum(-1, dtype=torch.float64 if outputs.dtype == torch.float64 else torch.float32)
    return bool(((sums - 1).abs() <= max(1e-4, torch.finfo(outputs.dtype).eps)).all())


def classes_of(outputs: Tensor, probabilities: bool | None = None) -> Tensor:
    """The predicted class of every row.

    Args:
        outputs: Outputs of a classifier, ``(..., C)``; one output is the score of class 1.
        probabilities: Whether that is its probability, and not its logit; None to tell by these outputs.

    Returns:
        Classes, ``(...)``.
    """
    if outputs.shape[-1] > 1:
        return outputs.argmax(-1)
    probabilities = are_probabilities(outputs) if probabilities is None else probabilities
    return (outputs[..., 0] > (0.5 if probabilities else 0.0)).long()


def agreement(
    outputs: Tensor, deterministic: Tensor, labels: Tensor | None = None, probabilities: bool | None = None
) -> Agreement:
    """Compare the draws' predictions with the deterministic network's.

    Args:
        outputs: Outputs of each draw, ``(T, N, C)``.
        deterministic: Outputs of the network as it stands, ``(N, C)``.
        labels: True classes, ``(N,)``.
        probabilities: Whether the outputs are probabilities; None to tell by them.

    Returns:
        The shares.

    Raises:
        ValueError: The outputs are not those of a classifier, or the labels not one for each input.
    """
    if outputs.dim() != 3 or deterministic.shape != outputs.shape[1:]:
        raise ValueError(
            f"Agreement compares classes, so it needs outputs (T, N, C) and (N, C), got {tuple(outputs.shape)} and "
            f"{tuple(deterministic.shape)}. For a regression, look at the variance of the predictions."
        )
    probabilities = are_probabilities(outputs, deterministic) if probabilities is None else probabilities
    predicted, expected = classes_of(outputs, probabilities), classes_of(deterministic, probabilities)
    per_draw = (predicted == expected).float().mean(1)
    if labels is None:
        return Agreement(per_draw)
    labels = torch.as_tensor(labels, device=predicted.device)
    if labels.shape != expected.shape:
        raise ValueError(f"labels are one class for each of {len(expected)} inputs, got shape {tuple(labels.shape)}.")
    return Agreement(per_draw, (predicted == labels).float().mean(1), float((expected == labels).float().mean()))


def warn_if_low(result: Agreement, sampler: object) -> None:
    """Warn, once a message as warnings go, where most draws predict something else.

    Args:
        result: The shares.
        sampler: Whose draws they are.
    """
    if result.share < _MOSTLY:
        warn(
            f"Only {result.share:.0%} of the predictions of {sampler!r} are those of the network itself: its draws "
            "are mostly other classifiers, and their attributions explain other decisions. Make it weaker: a larger "
            "prior precision or the last layer only (Laplace), a smaller std or rate (NoiseGrad, DropConnect, "
            "MCDropout). A network that is not trained, or undecided, cannot agree: train it, or take other inputs.",
            DisagreementWarning,
        )


def warn_if_disagreeing(outputs: Tensor | None, deterministic: Tensor | None, sampler: object) -> None:
    """Warn of a result whose draws mostly predict other classes, where there are classes and draws enough to tell.

    Args:
        outputs: Outputs of each draw, ``(T, N, C)``; anything else, and None, is no matter of classes.
        deterministic: Outputs of the network as it stands, ``(N, C)``.
        sampler: Whose draws they are.
    """
    if outputs is None or deterministic is None or outputs.dim() != 3 or outputs.shape[1:] != deterministic.shape:
        return
    if len(outputs) >= _ENOUGH_DRAWS and outputs.shape[-1] > 1:
        warn_if_low(agreement(outputs, deterministic), sampler)
