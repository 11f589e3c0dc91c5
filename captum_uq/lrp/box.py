"""The rule of the layer that sees the pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_uq.lrp._affine import negative, positive, unchanged
from captum_uq.lrp._shares import TINY, Shares, above, apart
from captum_uq.lrp._step import Step
from captum_uq.lrp.base import LayerRule
from captum_uq.lrp.rules import require_affine


class BoxRule(LayerRule):
    """zB, for the layer that sees the pixels, which lie in a box; no bias.

    ``R_i = sum_j (x_i w_ij - l_i w_ij+ - h_i w_ij-) / (sum_i' ...) R_j`` with every ``x_i`` in ``[l_i, h_i]``.

    Args:
        low: Smallest possible input ``l``, a number or a tensor that broadcasts to the input, such as one number for
            each channel, shape ``(1, C, 1, 1)``.
        high: Largest possible input ``h``.

    Raises:
        ValueError: ``low`` is not below ``high``.

    References:
        Montavon et al., 2017, section 4.2; Montavon et al., 2019, table 10.1.
    """

    def __init__(self, low: float | Tensor, high: float | Tensor) -> None:
        if not bool((torch.as_tensor(low) <= torch.as_tensor(high)).all()):
            raise ValueError(f"A box has low <= high everywhere, got low={_brief(low)} and high={_brief(high)}.")
        self.low = low
        self.high = high

    def relevance(self, step: Step, relevance: Tensor) -> tuple[Tensor, ...]:
        """Relevance of the inputs.

        Raises:
            ValueError: The inputs lie outside the box, or the bounds do not fit them.
        """  # noqa: DOC502
        own, at_low, at_high = step.once("box", lambda: self._shares(step, relevance)).of(relevance)
        return (own + at_low + at_high,)

    def _shares(self, step: Step, relevance: Tensor) -> Shares:
        affine, x = require_affine(step, self), apart(step.inputs[0], relevance)
        low, high = (self._bound(bound, x, step.name) for bound in (self.low, self.high))
        self._check(x.detach(), low, high, step.name)
        z = affine(x, unchanged) - affine(low, positive) - affine(high, negative)
        # nothing where there is nothing to share among but what is left of a difference
        return Shares((x, low, high), z, above(z.detach(), 0).add_(TINY))

    def _bound(self, bound: float | Tensor, x: Tensor, name: str) -> Tensor:
        try:
            full = torch.as_tensor(bound, dtype=x.dtype, device=x.device).detach().expand_as(x)
        except RuntimeError:
            raise ValueError(
                f"BoxRule's bounds have shape {tuple(torch.as_tensor(bound).shape)}, which does not broadcast to the "
                f"input of {name}, {tuple(x.shape)}. Give numbers, or one for each channel, (1, C, 1, 1)."
            ) from None
        return full.clone().requires_grad_()

    def _check(self, x: Tensor, low: Tensor, high: Tensor, name: str) -> None:
        slack = 1e-4 * (high - low).detach().abs().max()
        if bool((x < low - slack).any()) or bool((x > high + slack).any()):
            raise ValueError(
                f"BoxRule holds for inputs in its box, {_brief(self.low)} to {_brief(self.high)}, and {name} was given "
                f"{x.min():.4g} to {x.max():.4g}. Give the least and largest value that a pixel can have after the "
                "normalisation."
            )

    def __repr__(self) -> str:
        return f"BoxRule({_brief(self.low)}, {_brief(self.high)})"


def _brief(bound: float | Tensor) -> str:
    values = torch.as_tensor(bound).flatten().tolist()
    shown = [f"{value:.4g}" for value in values]
    return shown[0] if len(shown) == 1 else f"[{', '.join(shown if len(shown) <= 4 else [*shown[:3], '...'])}]"
