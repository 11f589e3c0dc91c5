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

import math

import torch
from torch import Tensor

from captum_uq._layout import lying_as
from captum_uq.lrp._affine import Affine, Change, negative, positive, unchanged
from captum_uq.lrp._shares import TINY, Shares, above, apart, by_sign, least_shared, mask, not_zero, stabilized
from captum_uq.lrp._step import Step
from captum_uq.lrp.base import LayerRule, propagate_gradient


def require_affine(step: Step, rule: LayerRule) -> Affine:
    """The weight and bias of a layer.

    Raises:
        TypeError: It has none that the rules know.
    """
    affine = affine_if_linear(step, rule)
    if affine is None:
        raise TypeError(
            f"{rule!r} is a rule for Linear and convolutional layers, and {step.name} is neither. "
            "Give it EpsilonRule() if it is linear in its inputs, PassRule() if it acts on each element by itself."
        )
    return affine


def affine_if_linear(step: Step, rule: LayerRule) -> Affine | None:
    """The weight and bias of a layer; None for one without.

    Raises:
        TypeError: Its class has a forward of its own, which gives something else than they do.
    """
    if step.affine is None or step.known_weight:
        return step.affine
    raise TypeError(
        f"{rule!r} reads a layer's weight and bias, and the forward of {step.name} gives something else than they do. "
        "Give it a rule that only runs it: rules={name or type: EpsilonRule()}."
    )


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
        divisor = step.once(name, lambda: lying_as(self._divisor(z.detach()), relevance))
        return propagate_gradient(z, step.inputs, relevance / divisor, step)

    def _divisor(self, z: Tensor) -> Tensor:
        if not self.relative:
            return stabilized(z, self.epsilon) if self.epsilon else not_zero(z)
        wide = z.to(torch.promote_types(z.dtype, torch.float32))  # squares of float16 end at 65504
        scale = wide.square().mean(dim=tuple(range(1, z.dim())), keepdim=True).sqrt().to(z.dtype)
        return not_zero(stabilized(z, self.epsilon * scale))

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
        if len(step.inputs) > 1 and affine_if_linear(step, self) is None:
            return _share_by_terms(step, relevance)
        raised = step.once("raised", lambda: self._raised(step, relevance))
        given = raised.of(relevance)
        return (_with_lowered(sum(given[1:], given[0]), step, raised.total.detach(), relevance),)

    def _raised(self, step: Step, relevance: Tensor) -> Shares:
        """What raises each output, and its divisor."""
        affine = affine_if_linear(step, self)
        if affine is None:
            inputs: tuple[Tensor, ...] = (apart(positive(step.inputs[0]), relevance),)
            total = step.function(*inputs)
        else:
            inputs, total = by_sign(affine, step.inputs[0], relevance, positive, None, negative)
        return Shares(inputs, total, above(total.detach(), least_shared(total)))

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
        if not self.signed:
            return step.once("all", lambda: self._of_any_sign(step, relevance)).of(relevance)
        z = step.result().detach()
        given = step.once("raised", lambda: self._of_sign(step, z, relevance, 1)).of(relevance)
        lowered = relevance * step.once("negative", lambda: mask(z < 0, relevance))
        if lowered.any():  # not under a ReLU: half the work
            given = (*given, *step.once("lowered", lambda: self._of_sign(step, z, relevance, -1)).of(lowered))
        return (sum(given[1:], given[0]),)

    def _of_any_sign(self, step: Step, relevance: Tensor) -> Shares:
        """Every output."""
        affine, x = require_affine(step, self), apart(step.inputs[0], relevance)
        total = affine(x, self._favouring(1), self._of_bias(1))
        return Shares((x,), total, not_zero(stabilized(total.detach(), TINY)))

    def _of_sign(self, step: Step, z: Tensor, relevance: Tensor, sign: int) -> Shares:
        """Outputs of one sign, to which contributions of this sign count more."""
        affine = require_affine(step, self)
        favoured, other = self._favouring(sign), self._favouring(-sign)
        inputs, total = by_sign(affine, step.inputs[0], relevance, favoured, self._of_bias(sign), other)
        divisor = not_zero(stabilized(total.detach(), TINY))
        return Shares(inputs, total, divisor.masked_fill_(z * sign <= 0, math.inf))

    def _favouring(self, sign: int) -> Change:
        part = positive if sign > 0 else negative
        return lambda weight: weight + self.gamma * part(weight)

    def _of_bias(self, sign: int) -> Change | None:
        return {"scaled": self._favouring(sign), "kept": unchanged, "zero": None}[self.bias]

    def __repr__(self) -> str:
        return f"GammaRule({self.gamma:g}, bias={self.bias!r}{', signed=True' if self.signed else ''})"


def _share_by_terms(step: Step, relevance: Tensor) -> tuple[Tensor, ...]:
    """Relevance of the terms of a sum: to the positive ones, or to all where none is positive."""
    divisor, shared = step.once("terms", lambda: _terms(step))
    ratio, z = relevance / divisor, step.result()
    return tuple(propagate_gradient(z, (x,), ratio * own)[0] for x, own in zip(step.inputs, shared, strict=True))


@torch.no_grad()
def _terms(step: Step) -> tuple[Tensor, list[Tensor]]:
    """What the relevance of a sum is divided by, and for each term which of it is shared."""
    terms = [
        step.function(*(x if index == term else torch.zeros_like(x) for index, x in enumerate(step.inputs)))
        for term in range(len(step.inputs))
    ]
    raised = sum(map(positive, terms), torch.zeros_like(terms[0]))
    divisor = not_zero(torch.where(raised > 0, raised, sum(terms, torch.zeros_like(raised))))
    return divisor, [mask((raised <= 0) | (term > 0), raised) for term in terms]


def _with_lowered(given: Tensor, step: Step, raised: Tensor, relevance: Tensor) -> Tensor:
    """Relevance of the inputs, and that of negative outputs that nothing raises shared among what lowers them.

    Args:
        given: Relevance that the inputs have already, ``(N, *F)``.
        step: One use of the layer.
        raised: What raises each output, ``(N, *outputs)``.
        relevance: Of the outputs, ``(N, *outputs)``.

    Returns:
        The relevance of the inputs, ``(N, *F)``.
    """
    left = relevance * step.once("left", lambda: mask(raised <= least_shared(raised), relevance))
    if not left.any():  # under a ReLU
        return given
    left = left * step.once("negative", lambda: mask(step.result() < 0, relevance))
    return given + step.once("lowered", lambda: _lowered(step, relevance)).of(left)[0]


def _lowered(step: Step, relevance: Tensor) -> Shares:
    """Every output without its bias."""
    x = apart(step.inputs[0], relevance)
    total = step.function(x) if step.affine is None else step.affine(x, unchanged)
    return Shares((x,), total, not_zero(total.detach()))
