"""Laplace approximations of laplace-torch as a sampler."""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_uq._rng import generator, isolated
from captum_uq.samplers._agreement import Agreement
from captum_uq.samplers._weights import BoundWeights, Weights, tensors_of
from captum_uq.samplers.base import BoundSampler, Sampler, evaluation_mode, original

_CHECKED_DRAWS = 20


class Laplace(Sampler):
    """Draws of a network from a Laplace approximation of its posterior.

    Prefer the last layer: draws of a whole network at a weak prior are often no better than chance, and their
    attributions explain nothing. `fit` measures how far draws agree with the network, and warns.

    Args:
        la: A fitted ``laplace.Laplace`` of laplace-torch 0.3 or later: of all weights, the last layer or a subnetwork,
            with any Hessian structure but ``"gp"``.
        model: The network; None to find it in the attribution method. It has the weights that ``la`` was fitted at.

    Attributes:
        fitted_agreement: What `fit` measured; None where it did not.

    Raises:
        TypeError: ``la`` is no such object, or was not fitted.

    References:
        Daxberger et al., Laplace Redux: Effortless Bayesian Deep Learning, 2021; Bykov et al. (B-LRP), 2020,
        section 3.1.
    """

    def __init__(self, la: Any, model: nn.Module | None = None) -> None:
        super().__init__(model)
        if not callable(getattr(la, "sample", None)) or not isinstance(getattr(la, "mean", None), Tensor):
            raise TypeError(
                f"Laplace takes a fitted laplace.Laplace with weights to sample, got {type(la).__name__}. Call its "
                "fit first; a functional one (gp) has no weights. Or use Laplace.fit(model, loader)."
            )
        self.la = la
        self.fitted_agreement: Agreement | None = None

    @classmethod
    def fit(
        cls,
        model: nn.Module,
        loader: Iterable[Any],
        *,
        likelihood: str = "classification",
        subset: str = "last_layer",
        hessian: str = "kron",
        prior_precision: float | None = None,
        **options: Any,
    ) -> Laplace:
        """Fit a posterior around a trained network, on a copy of it.

        Args:
            model: The network, at its maximum a posteriori weights; its last layer is an `nn.Linear`.
            loader: A `DataLoader` of the training data.
            likelihood: ``"classification"`` or ``"regression"``.
            subset: ``"last_layer"``, ``"all"`` or ``"subnetwork"``.
            hessian: ``"kron"``, ``"diag"``, ``"full"`` or ``"lowrank"``.
            prior_precision: Of the weights; None to maximise the marginal likelihood.
            options: Further options of ``laplace.Laplace``.

        Returns:
            The sampler, for ``model``. For a classification, with `fitted_agreement` on the first batch.

        Raises:
            ImportError: laplace-torch is not installed.
            TypeError: An option has a name of its own here.
            ValueError: There is no such likelihood, or the targets of a classification are no classes.
        """  # noqa: DOC502 -- raised by the helpers
        _check_options(likelihood, options)
        laplace = _laplace_torch()
        network = copy.deepcopy(original(model))
        evaluation_mode(network)
        la = laplace.Laplace(network, likelihood, subset_of_weights=subset, hessian_structure=hessian, **options)
        with isolated():  # a loader takes random numbers, even one that does not shuffle
            if likelihood == "classification":
                _check_classes(next(iter(loader)))
            la.fit(loader)
            if prior_precision is not None:
                la.prior_precision = prior_precision
            else:
                la.optimize_prior_precision()
            sampler = cls(la, model)
            if likelihood == "classification":
                inputs = next(iter(loader))[0].to(la._device)
                sampler.fitted_agreement = sampler.agreement(inputs, _CHECKED_DRAWS)
        return sampler

    def bind(self, model: nn.Module) -> BoundSampler:
        """The draws of ``model``.

        Raises:
            ValueError: The posterior is one over other weights.
        """
        names, tensors, mean = self._names(), tensors_of(model), self.la.mean.detach()
        sizes = [math.prod(tensors[name].shape) if name in tensors else 0 for name in names]
        if not all(sizes) or sum(sizes) != mean.numel():
            raise ValueError(
                f"The Laplace posterior has {mean.numel()} weights, {', '.join(names[:3])}, ...; "
                f"{type(model).__name__} has others. Give it the network that it was fitted to."
            )
        own = torch.cat([tensors[name].detach().flatten().to(mean) for name in names])
        if not torch.allclose(own, mean, rtol=1e-3, atol=1e-5):
            raise ValueError(
                f"The Laplace posterior is one around other weights than those of this {type(model).__name__}: it was "
                "fitted before they changed, or to another network. Fit it again."
            )

        def draw(index: int, seed: int) -> Weights:
            parts = self._sample(index, seed).split(sizes)
            return {name: part.view(tensors[name].shape) for name, part in zip(names, parts, strict=True)}

        return BoundWeights(model, draw)

    def _names(self) -> list[str]:
        """The parameters that the posterior is over, in its order."""
        last = getattr(self.la.model, "last_layer", None)
        if isinstance(last, nn.Module):
            prefix = self.la.model._last_layer_name
            return [f"{prefix}.{name}" if prefix else name for name, _ in last.named_parameters()]
        chosen = {id(parameter) for parameter in self.la.params}
        return [name for name, parameter in self.la.model.named_parameters() if id(parameter) in chosen]

    def _sample(self, index: int, seed: int) -> Tensor:
        """One vector of weights: drawn alone, because ``la.sample(5)`` is not a prefix of ``la.sample(9)``."""
        rng = torch.Generator(self.la.mean.device)
        rng.manual_seed(int(generator(seed, "Laplace", index, "torch").integers(2**32)))
        with torch.no_grad(), isolated(), _PrivateNormals(seed, index):
            sample: Tensor = self.la.sample(1, generator=rng)
        return sample[0]

    def __repr__(self) -> str:
        return f"Laplace({type(self.la).__name__}, {self.la.mean.numel()} weights)"


def _laplace_torch() -> Any:
    """The package, which is an extra.

    Raises:
        ImportError: It is not installed.
    """
    try:
        return importlib.import_module("laplace")
    except ImportError as error:
        raise ImportError("Laplace.fit needs laplace-torch: pip install 'captum-uq[laplace]'.") from error


def _check_options(likelihood: str, options: Mapping[str, Any]) -> None:
    """Refuse what laplace-torch would refuse without a way out.

    Raises:
        TypeError: An option has a name of its own here.
        ValueError: There is no such likelihood.
    """
    if likelihood not in ("classification", "regression", "reward_modeling"):
        raise ValueError(f"likelihood is 'classification' or 'regression', got {likelihood!r}.")
    for name, own in (("subset_of_weights", "subset"), ("hessian_structure", "hessian")):
        if name in options:
            raise TypeError(f"{name}= of laplace-torch is {own}= here: {own}={options[name]!r}.")


def _check_classes(batch: Any) -> None:
    """Refuse targets that are no classes.

    Raises:
        ValueError: They are numbers with a fraction.
    """
    targets = batch[1] if isinstance(batch, (tuple, list)) and len(batch) == 2 else None
    if isinstance(targets, Tensor) and targets.is_floating_point():
        raise ValueError(
            f"The targets of a classification are classes, whole numbers (N,), got {targets.dtype} of shape "
            f"{tuple(targets.shape)}. Of a regression: Laplace.fit(..., likelihood='regression')."
        )


class _PrivateNormals(TorchFunctionMode):
    """``torch.randn`` meanwhile gives numbers of a draw, the same on every device."""

    def __init__(self, seed: int, index: int) -> None:
        super().__init__()
        self._rng = generator(seed, "Laplace", index)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not torch.randn:
            return func(*args, **kwargs)
        size = args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
        numbers = torch.as_tensor(self._rng.standard_normal(tuple(size)))
        return numbers.to(device=kwargs.get("device"), dtype=kwargs.get("dtype") or torch.get_default_dtype())
