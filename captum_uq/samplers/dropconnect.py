"""DropConnect: draws of a network by dropping weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from captum_uq.samplers._numbers import is_number
from captum_uq.samplers._select import Selector, as_selectors, own_parameters, selected_modules
from captum_uq.samplers._sites import describe, module_names
from captum_uq.samplers._weights import BoundNoise, fill_mask
from captum_uq.samplers.base import BoundSampler, NothingToDrawError, Sampler

KINDS: tuple[type[nn.Module], ...] = (nn.Linear, nn.Bilinear, _ConvNd)
"""The layers whose weights are random: fully connected and convolutional ones, of any dimension."""


class DropConnect(Sampler):
    """Draws of a network by Monte Carlo DropConnect: each weight is 0 with probability ``p``.

    The weights that stay are scaled by ``1 / (1 - p)``, so the mean over draws is the network's own weight. Biases
    are kept. The network needs no layer for it: the weights of its Linear and convolutional layers are masked.

    Args:
        model: The network; None to find it in the attribution method.
        p: The rate, in [0, 1).
        modules: Which modules may draw: names, glob patterns of names, or types. A module counts with everything
            inside it. None for all.

    Raises:
        ValueError: ``p`` is not such a rate.

    References:
        Wan et al., Regularization of Neural Networks using DropConnect, 2013; Mobiny et al., DropConnect is
        effective in modeling uncertainty of Bayesian deep networks, 2021.

    Example:
        >>> model = nn.Linear(4, 1, bias=False)
        >>> _ = nn.init.ones_(model.weight)
        >>> DropConnect(model, p=0.5).network(1, seed=0).weight.tolist()
        [[0.0, 0.0, 2.0, 2.0]]
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        *,
        p: float = 0.5,
        modules: Selector | Sequence[Selector] | None = None,
    ) -> None:
        super().__init__(model)
        if not is_number(p) or not 0 <= p < 1:
            raise ValueError(f"A DropConnect rate is a number in [0, 1), got p={p!r}: at 1 no weight would be left.")
        self.p = float(p)
        self.modules = as_selectors(modules)

    def bind(self, model: nn.Module) -> BoundSampler:
        """The draws of ``model``.

        Raises:
            NothingToDrawError: It has no such weights, they are all 0, or ``p`` is 0.
        """
        weights = layer_weights(model, self.modules)
        if not self.p or not any(bool(weight.any()) for weight in weights.values()):
            raise NothingToDrawError(
                f"{self!r} found nothing to draw in {type(model).__name__}: it looks for weights of Linear and "
                f"convolutional layers that are not 0, and a rate above 0. It found {len(weights)} such layers. "
                "Choose other modules= or p=, or use NoiseGrad, which takes every parameter."
            )

        return BoundNoise(model, weights, self._masked)

    def _masked(self, out: Tensor, weight: Tensor, index: int, seed: int, name: str) -> None:
        """The weight times 0 or ``1 / (1 - p)``."""
        fill_mask(out, self.p, seed, "DropConnect", index, name).mul_(weight).mul_(1 / (1 - self.p))

    def __repr__(self) -> str:
        return f"DropConnect(p={self.p!r}{shown(self.modules)})"


def layer_weights(model: nn.Module, modules: Sequence[Selector] | None) -> dict[str, Tensor]:
    """The weights, without biases, of the selected Linear and convolutional layers.

    Args:
        model: The network.
        modules: Which modules may draw; None for all.

    Returns:
        The weights by name; those tied to another once.

    Raises:
        ValueError: A layer computes its weight from other parameters.
    """
    names = module_names(model)
    layers = {name for name in selected_modules(names, modules) if isinstance(names[name], KINDS)}
    for name in sorted(layers):
        if "weight" not in names[name]._parameters:
            raise ValueError(
                f"{describe(model, name)} computes its weight from other parameters (a parametrization, weight norm), "
                "so there is no weight to change. Remove the parametrization, or leave the module out (modules=)."
            )
    kept = {id(names[name].weight) for name in layers}
    return {name: weight for name, weight in own_parameters(model, layers).items() if id(weight) in kept}


def shown(modules: Sequence[Selector] | None) -> str:
    """The selectors as a `repr` shows them."""
    return "" if modules is None else f", modules={[getattr(m, '__name__', m) for m in modules]!r}"
