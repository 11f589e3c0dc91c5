"""The composites of the papers."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from captum_uq._captum import PropagationRule
from captum_uq.lrp._layers import CONVOLUTION, Layer
from captum_uq.lrp.base import LayerRule
from captum_uq.lrp.box import BoxRule
from captum_uq.lrp.composites import Composite, Rules
from captum_uq.lrp.rules import EpsilonRule, GammaRule, ZPlusRule

IMAGENET_LOW = torch.tensor([-2.117904, -2.035714, -1.804444]).reshape(1, 3, 1, 1)
"""Black after ImageNet's normalisation, ``(0 - mean) / std``, shape ``(1, 3, 1, 1)``."""

IMAGENET_HIGH = torch.tensor([2.248908, 2.428571, 2.64]).reshape(1, 3, 1, 1)
"""White after ImageNet's normalisation, ``(1 - mean) / std``, shape ``(1, 3, 1, 1)``."""

_CAPTUMS = 1e-9
"""Epsilon of Captum's LRP."""


class EpsilonComposite(Composite):
    """LRP-epsilon in every layer.

    With the epsilon of Captum's LRP, 1e-9, it is Captum's bit for bit where that is right.

    Args:
        epsilon: What dampens small outputs of linear layers; pools and additions take it up to 1e-9, to conserve.
        max_pool: ``"winner"`` or ``"average"``, which B-LRP's code has.
        rules: See `Composite`.
        addition: See `Composite`.

    References:
        Bach et al., 2015, eq. 58; Bykov et al. (B-LRP), 2020, section 3.1: ``epsilon=1e-9``, ``max_pool="average"``.
    """

    def __init__(
        self,
        epsilon: float = 1e-9,
        max_pool: str = "winner",
        *,
        rules: Rules | None = None,
        addition: LayerRule | None = None,
    ) -> None:
        self._rule = EpsilonRule(epsilon)
        self.tiny = min(epsilon, _CAPTUMS)
        super().__init__(rules=rules, max_pool=max_pool, addition=addition)

    def linear_rule(self, layer: Layer) -> PropagationRule:
        """LRP-epsilon."""
        return copy.copy(self._rule)

    def _options(self) -> list[str]:
        return [f"{self._rule.epsilon:g}", *super()._options()]


class ZPlusComposite(Composite):
    """z+ in every linear layer and every addition: MCRP's rule.

    Args:
        max_pool: ``"winner"`` or ``"average"``.
        rules: See `Composite`.
        addition: Rule of the sum of two activations; None for z+.

    References:
        Fischer and Schneider (MCRP), 2020, eq. 1; Montavon et al., 2017.
    """

    def __init__(
        self, max_pool: str = "winner", *, rules: Rules | None = None, addition: LayerRule | None = None
    ) -> None:
        super().__init__(rules=rules, max_pool=max_pool, addition=addition or ZPlusRule())

    def linear_rule(self, layer: Layer) -> PropagationRule:
        """z+."""
        return ZPlusRule()


class EpsilonPlus(Composite):
    """z+ in convolutional layers, LRP-epsilon in linear ones.

    Args:
        epsilon: What dampens small outputs of linear layers.
        max_pool: ``"winner"`` or ``"average"``.
        rules: See `Composite`.
        addition: See `Composite`.

    References:
        Kohlbrenner et al., Towards best practice in explaining neural network decisions with LRP, 2020.
    """

    def __init__(
        self,
        epsilon: float = 1e-9,
        max_pool: str = "winner",
        *,
        rules: Rules | None = None,
        addition: LayerRule | None = None,
    ) -> None:
        super().__init__(rules=rules, max_pool=max_pool, addition=addition)
        self._epsilon = EpsilonRule(epsilon)

    def linear_rule(self, layer: Layer) -> PropagationRule:
        """By kind."""
        return ZPlusRule() if layer.kind == CONVOLUTION else copy.copy(self._epsilon)


class EpsilonGammaBox(Composite):
    """zB in the first layer, LRP-gamma in the other convolutional layers, LRP-epsilon in linear ones.

    Args:
        low: Smallest possible input, see `BoxRule`.
        high: Largest possible input.
        epsilon: What dampens small outputs of linear layers.
        gamma: How much positive weights are favoured; of the rule for inputs of any sign.
        max_pool: ``"winner"`` or ``"average"``.
        rules: See `Composite`.
        addition: See `Composite`.

    References:
        Montavon et al., 2019, section 10.3; Andeol et al., 2021.
    """

    def __init__(
        self,
        low: float | Tensor,
        high: float | Tensor,
        epsilon: float = 1e-9,
        gamma: float = 0.25,
        max_pool: str = "winner",
        *,
        rules: Rules | None = None,
        addition: LayerRule | None = None,
    ) -> None:
        super().__init__(rules=rules, max_pool=max_pool, addition=addition)
        self._box, self._gamma = BoxRule(low, high), GammaRule(gamma, signed=True)
        self._epsilon = EpsilonRule(epsilon)

    def linear_rule(self, layer: Layer) -> PropagationRule:
        """By depth and kind."""
        if layer.depth == 0:
            return copy.copy(self._box)
        return copy.copy(self._gamma if layer.kind == CONVOLUTION else self._epsilon)


class LRPCMP(Composite):
    """B-LRP's LRP-CMP: zB at the pixels, then LRP-gamma, LRP-epsilon and LRP-0 by depth; average-pooling.

    Layers are counted over linear and convolutional ones, in the order of registration, the first being 0.

    Args:
        low: Smallest possible input, see `BoxRule`; ImageNet's unless told otherwise.
        high: Largest possible input.
        gamma: How much positive weights, and biases, are favoured.
        epsilon: Dampening, in units of the root mean square of an example's outputs.
        gamma_until: LRP-gamma in layers before this one; None for the first half of the convolutional layers, the
            larger where they are odd: 7 of VGG-16's 13, 8 of VGG-19's 16, which is its third block's end.
        epsilon_until: LRP-epsilon in layers before this one, LRP-0 from there on; None for the number of
            convolutional layers, so that LRP-0 is for the classifier.
        max_pool: ``"average"`` or ``"winner"``.
        rules: See `Composite`.
        addition: See `Composite`.

    Raises:
        ValueError: ``gamma_until`` is more than ``epsilon_until``.

    References:
        Bykov et al. (B-LRP), 2020, section 3.2; Kohlbrenner et al., 2020; Montavon et al., 2019, section 10.3.
    """

    def __init__(
        self,
        low: float | Tensor = IMAGENET_LOW,
        high: float | Tensor = IMAGENET_HIGH,
        gamma: float = 0.25,
        epsilon: float = 0.25,
        gamma_until: int | None = None,
        epsilon_until: int | None = None,
        max_pool: str = "average",
        *,
        rules: Rules | None = None,
        addition: LayerRule | None = None,
    ) -> None:
        super().__init__(rules=rules, max_pool=max_pool, addition=addition)
        if gamma_until is not None and epsilon_until is not None and gamma_until > epsilon_until:
            raise ValueError(
                f"LRP-gamma comes before LRP-epsilon, got gamma_until={gamma_until} and epsilon_until={epsilon_until}."
            )
        self._box, self._gamma = BoxRule(low, high), GammaRule(gamma)
        self._epsilon = EpsilonRule(epsilon, relative=True)
        self.gamma_until, self.epsilon_until = gamma_until, epsilon_until

    def linear_rule(self, layer: Layer) -> PropagationRule:
        """By depth."""
        epsilon_until = layer.convolutions if self.epsilon_until is None else self.epsilon_until
        gamma_until = (layer.convolutions + 1) // 2 if self.gamma_until is None else self.gamma_until
        if layer.depth == 0:
            return copy.copy(self._box)
        if layer.depth < gamma_until:
            return copy.copy(self._gamma)
        return copy.copy(self._epsilon) if layer.depth < epsilon_until else EpsilonRule(0.0)
