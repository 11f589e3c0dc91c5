"""The rules of LRP for linear layers in the middle of a network: epsilon, z+ and gamma.

``x`` is a layer's input, ``w`` its weights, ``b`` its bias, ``z_j = sum_i x_i w_ij + b_j`` its output and ``R``
relevance; ``+`` and ``-`` mark positive and negative parts.

References:
    [1] Bach et al., On pixel-wise explanations for non-linear classifier decisions by LRP, 2015.
    [2] Montavon et al., Explaining nonlinear classification decisions with deep Taylor decomposition, 2017.
    [3] Montavon et al., Layer-wise relevance propagation: an overview, 2019.
    [4] Andeol et al., Learning domain invariant representations by joint Wasserstein distance minimization, 2021.
    [5] Fischer and Schneider, On feature relevance uncertainty (MCRP), 2020.
    [6] Bykov et al., How much can I trust you? (B-LRP), 2020.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from captum_uq._layout import lying_as
from captum_uq.lrp._affine import Affine, negative, positive
from captum_uq.lrp._step import Step
from captum_uq.lrp.base import LayerRule, propagate_gradient

TINY = 1e-12
"""Keeps 0/0 at 0 in rules whose papers have no epsilon."""


def stabilized(z: Tensor, epsilon: float | Tensor) -> Tensor:
    """``z + epsilon sign(z)`` with ``sign(0) = 1``, as in eq. 58 of [1]."""
    return torch.where(z < 0, z - epsilon, z + epsilon)


def require_affine(step: Step, rule: LayerRule) -> Affine:
    """The weight and bias of a layer.

    Raises:
        TypeError: It has none that the rules know.
    """
    if step.affine is None:
        raise TypeError(
            f"{rule!r} is a rule for Linear and convolutional layers, and {step.name} is neither. "
            "Give it EpsilonRule() if it is linear in its inputs, PassRule() if it acts on each element by itself."
        )
    return step.affine


def check_not_negative(name: str, value: float) -> float:
    """The value.

    Raises:
        ValueError: It is no number of 0 or more.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} is a number of 0 or more, got {value!r}.")
    return value


class EpsilonRule(LayerRule):
    """LRP-epsilon, for any layer that is linear in its inputs; LRP-0 with ``epsilon=0``.

    ``R_i = sum_j x_i w_ij / (z_j + epsilon sign(z_j)) R_j`` (eq. 58 of Bach et al. 2015).

    Args:
        epsilon: What dampens small outputs.
        relative: Whether ``epsilon`` is in units of the root mean square of ``z`` over each example's outputs, as
            B-LRP's LRP-CMP has it.

    Raises:
        ValueError: ``epsilon`` is negative.

    References:
        Bach et al., 2015, eq. 58; Montavon et al., 2019, section 10.2; Bykov et al. (B-LRP), 2020.
    """

    def __init__(self, epsilon: float = 1e-9, *, relative: bool = False) -> None:
        self.epsilon = check_not_negative("epsilon", epsilon)
        self.relative = relative

    def relevance(self, step: Step, relevance: Tensor) -> tuple[Tensor, ...]:
        """Relevance of the inputs."""
        z = step.result()
        name = self.epsilon, self.relative
        denominator = step.once(name, lambda: lying_as(self._denominator(z.detach()), relevance))
        dampened = self.epsilon > 0 and not self.relative
        ratio = relevance / denominator if dampened else _divide(relevance, denominator)
        return propagate_gradient(z, step.inputs, ratio, step)

    def _denominator(self, z: Tensor) -> Tensor:
        if not self.relative:
            return stabilized(z, self.epsilon)
        scale = z.square().mean(dim=tuple(range(1, z.dim())), keepdim=True).sqrt()
        return stabilized(z, self.epsilon * scale)

    def __repr__(self) -> str:
        return f"EpsilonRule({self.epsilon:g}{', relative=True' if self.relative else ''})"


class ZPlusRule(LayerRule):
    """z+: only what raises an output receives its relevance, for inputs of any sign; no bias.

    ``R_i = sum_j (x_i+ w_ij+ + x_i- w_ij-) / (sum_i' x_i'+ w_i'j+ + x_i'- w_i'j-) R_j``; for inputs of 0 or more this
    is eq. 1 of Fischer and Schneider (MCRP). An average takes the inputs' positive parts for ``x w``; a sum of
    activations the positive terms, or all where none is positive.

    An output that nothing raises has no relevance in front of a ReLU. SiLU and GELU pass some on: a negative one then
    shares it among what lowers it, by ``x_i w_ij``; one that is positive by its bias alone passes nothing on.

    References:
        Montavon et al., 2017; Fischer and Schneider (MCRP), 2020, eq. 1.
    """

    def relevance(self, step: Step, relevance: Tensor) -> tuple[Tensor, ...]:
        """Relevance of the inputs."""
        if len(step.inputs) > 1:
            return _share_by_terms(step, relevance)
        high = positive(step.inputs[0]).detach().requires_grad_()
        if step.affine is None:
            raised = step.function(high)
            parts = propagate_gradient(raised, (high,), _share(relevance, raised))
            return (_with_lowered(parts[0], step, step.function, relevance, raised),)
        affine, low = step.affine, negative(step.inputs[0]).detach().requires_grad_()
        inputs: tuple[Tensor, ...] = (high,)
        raised = affine(high, positive(affine.weight))
        if low.any():  # not after a ReLU: half the work
            inputs, raised = (high, low), raised + affine(low, negative(affine.weight))
        parts = propagate_gradient(raised, inputs, _share(relevance, raised))
        unbiased = functools.partial(affine, weight=affine.weight)
        return (_with_lowered(sum(parts[1:], parts[0]), step, unbiased, relevance, raised),)

    def __repr__(self) -> str:
        return "ZPlusRule()"


class GammaRule(LayerRule):
    """LRP-gamma: positive weights count ``1 + gamma`` times.

    ``R_i = sum_j x_i (w_ij + gamma w_ij+) / (sum_i' x_i' (w_i'j + gamma w_i'j+) + b_j + gamma b_j+) R_j``. As it stands
    it is meant for inputs of 0 or more (Montavon et al., 2019); ``signed=True`` is its generalisation, which favours
    what raises a positive output and what lowers a negative one, and equals it for such inputs under a ReLU.

    Args:
        gamma: How much positive weights are favoured.
        bias: ``"scaled"``: ``b + gamma b+``, as the papers' code has it; ``"kept"``: ``b``; ``"zero"``: no bias.
        signed: Whether inputs and outputs may have any sign.

    Raises:
        ValueError: ``gamma`` is negative, or ``bias`` unknown.

    References:
        Montavon et al., 2019, section 10.2; Andeol et al., 2021 (``signed``); Bykov et al. (B-LRP), 2020.
    """

    def __init__(self, gamma: float = 0.25, *, bias: str = "scaled", signed: bool = False) -> None:
        self.gamma = check_not_negative("gamma", gamma)
        if bias not in ("scaled", "kept", "zero"):
            raise ValueError(f"bias is 'scaled', 'kept' or 'zero', got {bias!r}.")
        self.bias = bias
        self.signed = signed

    def relevance(self, step: Step, relevance: Tensor) -> tuple[Tensor, ...]:
        """Relevance of the inputs."""
        affine = require_affine(step, self)
        if not self.signed:
            z = affine(step.inputs[0], self._favour(affine.weight, 1), self._bias(affine.bias, 1))
            return propagate_gradient(z, step.inputs, _divide(relevance, stabilized(z.detach(), TINY)))
        z = step.result().detach()
        raised = self._signed(step.inputs[0], affine, relevance * (z > 0), 1)
        lowered = relevance * (z < 0)
        if not lowered.any():  # under a ReLU: half the work
            return (raised,)
        return (raised + self._signed(step.inputs[0], affine, lowered, -1),)

    def _signed(self, x: Tensor, affine: Affine, relevance: Tensor, sign: int) -> Tensor:
        """Relevance of outputs of one sign, to which contributions of this sign count more."""
        high, low = (part(x).detach().requires_grad_() for part in (positive, negative))
        z = affine(high, self._favour(affine.weight, sign), self._bias(affine.bias, sign))
        z = z + affine(low, self._favour(affine.weight, -sign))
        parts = propagate_gradient(z, (high, low), _divide(relevance, stabilized(z.detach(), TINY)))
        return parts[0] + parts[1]

    def _favour(self, weight: Tensor, sign: int) -> Tensor:
        return weight + self.gamma * (positive(weight) if sign > 0 else negative(weight))

    def _bias(self, bias: Tensor | None, sign: int) -> Tensor | None:
        if bias is None or self.bias == "zero":
            return None
        return bias if self.bias == "kept" else self._favour(bias, sign)

    def __repr__(self) -> str:
        return f"GammaRule({self.gamma:g}, bias={self.bias!r}{', signed=True' if self.signed else ''})"


def _share_by_terms(step: Step, relevance: Tensor) -> tuple[Tensor, ...]:
    """Relevance of the terms of a sum: to the positive ones, or to all where none is positive."""
    with torch.no_grad():
        terms = [
            step.function(*(x if index == term else torch.zeros_like(x) for index, x in enumerate(step.inputs)))
            for term in range(len(step.inputs))
        ]
        raised = sum(map(positive, terms), torch.zeros_like(relevance))
        ratio = _divide(relevance, torch.where(raised > 0, raised, sum(terms, torch.zeros_like(relevance))))
    z = step.result()
    given = (ratio * torch.where(raised > 0, term > 0, True) for term in terms)
    pairs = zip(step.inputs, given, strict=True)
    return tuple(propagate_gradient(z, (x,), part)[0] for x, part in pairs)


def _with_lowered(
    given: Tensor, step: Step, function: Callable[[Tensor], Tensor], relevance: Tensor, raised: Tensor
) -> Tensor:
    """Relevance of the inputs, and that of negative outputs that nothing raises shared among what lowers them.

    Args:
        given: Relevance that the inputs have already, ``(N, *F)``.
        step: One use of the layer.
        function: The layer without its bias.
        relevance: Of the outputs, ``(N, *outputs)``.
        raised: What raises each output.

    Returns:
        The relevance of the inputs, ``(N, *F)``.
    """
    left = relevance * ~_shareable(raised.detach())
    if not left.any():
        return given
    left = left * (step.result().detach() < 0)
    inputs = step.inputs[0].detach().requires_grad_()
    lowered = function(inputs)
    return given + propagate_gradient(lowered, (inputs,), _divide(left, lowered.detach()))[0]


def _divide(relevance: Tensor, z: Tensor) -> Tensor:
    """``R / z``; an output of 0 passes nothing on (LRP-0)."""
    return torch.where(z == 0, 0.0, relevance / z)


def _share(relevance: Tensor, total: Tensor) -> Tensor:
    """``R / total`` for a total of 0 or more; nothing where there is nothing to share among."""
    total = total.detach()
    return torch.where(_shareable(total), relevance / total, 0.0)


def _shareable(total: Tensor) -> Tensor:
    """Where a total can be divided by: a stabilizer would take relevance from small ones."""
    return torch.gt(total, torch.finfo(total.dtype).tiny ** 0.5)
