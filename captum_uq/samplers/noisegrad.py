"""Multiplicative Gaussian noise on weights: NoiseGrad, and Gaussian dropout as variational inference reads it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from captum_uq.samplers._numbers import is_number, is_spread
from captum_uq.samplers._select import Selector, as_selectors, own_parameters, selected_modules
from captum_uq.samplers._sites import module_names
from captum_uq.samplers._weights import BoundNoise, fill_normal
from captum_uq.samplers.base import BoundSampler, NothingToDrawError, Sampler
from captum_uq.samplers.dropconnect import layer_weights, shown


class NoiseGrad(Sampler):
    """Draws of a network by noise on its weights: ``w * (1 + std * z)``, ``z`` standard normal.

    A perturbation: it tells how an explanation moves when the network is moved, not what the data leave open.

    Args:
        model: The network; None to find it in the attribution method.
        std: Standard deviation of the factors, above 0; 0.2 in the original.
        modules: Which modules may draw: names, glob patterns of names, or types. A module counts with everything
            inside it. None for all: every parameter, biases and norms included.

    Raises:
        ValueError: ``std`` is not a finite number of at least 0.

    References:
        Bykov et al., NoiseGrad: Enhancing Explanations by Introducing Stochasticity to Model Weights, 2022, eq. 4.

    Example:
        >>> import torch
        >>> model = nn.Linear(1000, 1, bias=False)
        >>> _ = nn.init.ones_(model.weight)
        >>> drawn = NoiseGrad(model, std=0.2).network(0, seed=0).weight
        >>> round(drawn.mean().item(), 1), round(drawn.std().item(), 1)
        (1.0, 0.2)
    """

    kind: ClassVar[str] = "perturbation"

    def __init__(
        self,
        model: nn.Module | None = None,
        *,
        std: float = 0.2,
        modules: Selector | Sequence[Selector] | None = None,
    ) -> None:
        super().__init__(model)
        if not is_spread(std):
            raise ValueError(f"A standard deviation is a finite number of at least 0, got std={std!r}.")
        self.std = float(std)
        self.modules = as_selectors(modules)

    def bind(self, model: nn.Module) -> BoundSampler:
        """The draws of ``model``.

        Raises:
            NothingToDrawError: It has no parameter that is not 0, or ``std`` is 0.
        """
        weights = self._weights(model)
        if not self.std or not any(bool(weight.any()) for weight in weights.values()):
            raise NothingToDrawError(
                f"{self!r} found nothing to draw in {type(model).__name__}: it looks for parameters that are not 0 "
                f"and a standard deviation above 0, and found {len(weights)} parameters. Choose another std= or "
                "modules=."
            )

        return BoundNoise(model, weights, self._noisy)

    def _weights(self, model: nn.Module) -> dict[str, Tensor]:
        """The parameters that draw, by name."""
        return own_parameters(model, selected_modules(module_names(model), self.modules))

    def _noisy(self, out: Tensor, weight: Tensor, index: int, seed: int, name: str) -> None:
        noise = fill_normal(out, seed, "NoiseGrad", index, name)
        torch.addcmul(weight, weight, noise, value=self.std, out=out)

    def __repr__(self) -> str:
        return f"NoiseGrad(std={self.std!r}{shown(self.modules)})"


class VariationalDropout(NoiseGrad):
    """Draws of a network by Gaussian dropout in weight space: ``w * N(1, p / (1 - p))``.

    It is `NoiseGrad` as variational inference reads it: the posterior of each weight is ``N(w, alpha w^2)``, with
    the mean and the variance of DropConnect at rate ``p`` (``alpha = p / (1 - p)``). Weights of Linear and
    convolutional layers draw, biases are kept.

    Args:
        model: The network; None to find it in the attribution method.
        p: The dropout rate that ``alpha`` corresponds to, in [0, 1).
        modules: Which modules may draw, as in `NoiseGrad`.

    Raises:
        ValueError: ``p`` is not such a rate.

    References:
        Kingma et al., Variational Dropout and the Local Reparameterization Trick, 2015, section 3.
    """

    kind: ClassVar[str] = "posterior"

    def __init__(
        self,
        model: nn.Module | None = None,
        *,
        p: float = 0.5,
        modules: Selector | Sequence[Selector] | None = None,
    ) -> None:
        if not is_number(p) or not 0 <= p < 1:
            raise ValueError(f"A dropout rate is a number in [0, 1), got p={p!r}: at 1 the variance is infinite.")
        self.p = float(p)
        super().__init__(model, std=math.sqrt(self.p / (1 - self.p)), modules=modules)

    def _weights(self, model: nn.Module) -> dict[str, Tensor]:
        return layer_weights(model, self.modules)

    def __repr__(self) -> str:
        return f"VariationalDropout(p={self.p!r}{shown(self.modules)})"
