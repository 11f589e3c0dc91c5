"""SWAG: a Gaussian fitted to the weights along a training run."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._rng import generator
from captum_uq.samplers._batch_norm import refit_batch_norm
from captum_uq.samplers._loaders import seeded
from captum_uq.samplers._moments import Moments
from captum_uq.samplers._numbers import is_number, is_whole
from captum_uq.samplers._weights import BoundWeights, SwappedWeights, parameters_of, standard_normal
from captum_uq.samplers.base import BoundSampler, NothingToDrawError, Sampler

_VERSION = 1


class SWAG(Sampler):
    """Draws of a network from SWAG: ``w = mean + scale * (sqrt(diag / 2) z1 + D z2 / sqrt(2 (K - 1)))``.

    Call `collect` from the training loop, once an epoch or every so many steps of SGD at a high constant rate; mean
    and diagonal are over all that was collected, ``D`` holds the last ``K <= max_rank`` deviations from the mean.

    BatchNorm's statistics belong to the weights: give ``batches``, some batches of training inputs, and they are
    computed anew for every draw, as the authors do. Without, draws keep the model's.

    Args:
        model: The network; None to find it in the attribution method.
        max_rank: How many deviations to keep, at least 2; 20 in the original.
        scale: Of the standard deviation of the draws, above 0.
        batches: Batches of inputs ``(N, *F)``, or of (inputs, labels), read once for each draw.

    Raises:
        ValueError: ``max_rank`` is no integer of at least 2, ``scale`` no number above 0, or ``batches`` can be read
            only once.

    References:
        Maddox et al., A Simple Baseline for Bayesian Uncertainty in Deep Learning, 2019, eq. 1 and algorithm 1.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> swag = SWAG(model)
        >>> for step in range(5):
        ...     _ = nn.init.normal_(model.weight)  # a step of training
        ...     swag.collect(model)
        >>> swag.n_collected, swag.network(0, seed=0).weight.shape
        (5, torch.Size([1, 2]))
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        *,
        max_rank: int = 20,
        scale: float = 1.0,
        batches: Iterable[Any] | None = None,
    ) -> None:
        super().__init__(model)
        if not is_whole(max_rank) or max_rank < 2:
            raise ValueError(f"SWAG keeps a whole number of deviations, at least 2, got max_rank={max_rank!r}.")
        if not is_number(scale) or not 0 < scale < math.inf:
            raise ValueError(f"SWAG needs a finite scale above 0, got scale={scale!r}.")
        if batches is not None and iter(batches) is batches:
            raise ValueError(
                "SWAG reads batches once for each draw, and a generator ends. Give a list or a DataLoader."
            )
        self.max_rank, self.scale, self.batches = int(max_rank), float(scale), batches
        self._moments: dict[str, Moments] = {}

    @property
    def n_collected(self) -> int:
        """How many networks were collected."""
        return next((moments.count for moments in self._moments.values()), 0)

    def collect(self, model: nn.Module | None = None) -> None:
        """Take in the weights as they are now.

        Args:
            model: The network in training; None for the sampler's own.

        Raises:
            ValueError: It has another architecture than those before it, or complex or sparse parameters.
        """  # noqa: DOC502 -- raised by the helpers
        network = self._model(model)
        parameters = parameters_of(network)
        _require_real_and_dense(parameters)
        if self._moments:
            self._require_same(parameters, network)
        with torch.no_grad():
            for name, parameter in parameters.items():
                self._moments.setdefault(name, Moments(self.max_rank)).add(parameter.detach())

    def _require_same(self, parameters: Mapping[str, Tensor], model: nn.Module) -> None:
        """Refuse another architecture: its weights would be averaged with these wherever torch can.

        Raises:
            ValueError: Names or shapes are not those that were collected.
        """
        own = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        collected = {name: tuple(moments.mean.shape) for name, moments in self._moments.items()}
        for name in sorted(own.keys() | collected.keys()):
            if own.get(name) != collected.get(name):
                raise ValueError(
                    f"SWAG is over the weights of one network, and collected the parameters of another network than "
                    f"this {type(model).__name__}: {name} is {collected.get(name, 'not there')} in what was collected, "
                    f"{own.get(name, 'not there')} here. Give the network it was collected from, or use a new SWAG()."
                )

    def bind(self, model: nn.Module) -> BoundSampler:
        """The draws of ``model``.

        Raises:
            NothingToDrawError: Fewer than two different networks were collected.
            ValueError: Another architecture was collected.
        """  # noqa: DOC502 -- the second is raised by the helper
        if not any(moments.spread() for moments in self._moments.values()):
            raise NothingToDrawError(
                f"{self!r} has nothing to draw: it looks for at least two different collected networks and has "
                f"{self.n_collected}. Call swag.collect(model) from the training loop, after each epoch."
            )
        self._require_same(parameters_of(model), model)
        return _BoundSWAG(self, model)

    def drawn(self, index: int, seed: int) -> dict[str, Tensor]:
        """The weights of a draw, by name, on the CPU."""
        return {name: self._drawn(moments, seed, index, name) for name, moments in self._moments.items()}

    def _drawn(self, moments: Moments, seed: int, index: int, name: str) -> Tensor:
        """Diagonal and low-rank part of one parameter; all parameters of a draw share ``z2``."""
        rank = len(moments.deviations)
        diagonal = moments.variance().sqrt() * standard_normal(moments.mean, seed, "SWAG", index, name)
        z2 = torch.as_tensor(generator(seed, "SWAG", index).standard_normal(rank)).to(moments.mean)
        low_rank = torch.tensordot(z2, torch.stack(moments.deviations), dims=1) / math.sqrt(max(rank - 1, 1))
        drawn: Tensor = moments.mean + self.scale * (diagonal + low_rank) / math.sqrt(2)
        return drawn

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was collected to a file of plain data; ``batches`` are not in it."""
        options = {"version": _VERSION, "max_rank": self.max_rank, "scale": self.scale}
        torch.save(options | {"moments": {name: m.as_dict() for name, m in self._moments.items()}}, path)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], model: nn.Module | None = None, *, batches: Iterable[Any] | None = None
    ) -> SWAG:
        """Read what `save` wrote; no code of the file is run.

        Args:
            path: The file.
            model: The network; None to find it in the attribution method.
            batches: As in `SWAG`.

        Returns:
            The sampler.

        Raises:
            ValueError: Another version wrote the file, or something else did.
        """
        data = torch.load(path, weights_only=True)
        if not isinstance(data, dict) or data.get("version") != _VERSION:
            raise ValueError(f"{os.fspath(path)!r} is no file of SWAG.save of version {_VERSION}.")
        swag = cls(model, max_rank=data["max_rank"], scale=data["scale"], batches=batches)
        swag._moments = {name: Moments(swag.max_rank, **moments) for name, moments in data["moments"].items()}
        return swag

    def __repr__(self) -> str:
        return f"SWAG({self.n_collected} collected, max_rank={self.max_rank}, scale={self.scale})"


def _require_real_and_dense(parameters: Mapping[str, Tensor]) -> None:
    """Refuse parameters that a Gaussian over real numbers is not over.

    Raises:
        ValueError: One is complex or sparse.
    """
    for name, parameter in parameters.items():
        if parameter.is_complex() or parameter.layout is not torch.strided:
            raise ValueError(
                f"SWAG fits a Gaussian to real weights that are dense tensors, got {name} of {parameter.dtype}, "
                f"{parameter.layout}. Collect state dicts along the training, and give them to WeightSamples."
            )


class _BoundSWAG(BoundWeights):
    """The draws, with BatchNorm's statistics where there are batches to compute them from."""

    def __init__(self, sampler: SWAG, model: nn.Module) -> None:
        super().__init__(model, sampler.drawn)
        self._sampler, self._model = sampler, model
        self._statistics: dict[tuple[int, int], dict[str, Tensor]] = {}

    def weights(self, index: int, seed: int) -> dict[str, Tensor]:
        """Parameters, and the buffers of BatchNorm that go with them."""
        parameters = dict(super().weights(index, seed))
        if self._sampler.batches is None:
            return parameters
        if (index, seed) not in self._statistics:
            batches = self._sampler.batches
            with seeded(batches, seed, "SWAG", index, "batches"), SwappedWeights(self.tensors, lambda: parameters):
                self._statistics[index, seed] = _refit(self._model, batches)
        return parameters | self._statistics[index, seed]


def _refit(model: nn.Module, batches: Iterable[Any]) -> dict[str, Tensor]:
    """BatchNorm's statistics over the batches.

    Raises:
        ValueError: A batch has too few rows to have a variance.
    """
    try:
        return refit_batch_norm(model, _checked(batches))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            "SWAG computes BatchNorm's statistics over batches=, which takes several rows in each of them. "
            f"{str(error).rstrip('.')}. Where it is the last batch, give DataLoader(..., drop_last=True)."
        ) from error


def _checked(batches: Iterable[Any]) -> Iterator[Tensor]:
    """The inputs of each batch.

    Raises:
        TypeError: A batch is something else.
    """
    for batch in batches:
        inputs = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
        if not isinstance(inputs, Tensor):
            raise TypeError(
                "batches= of SWAG are tensors of inputs (N, *F), or tuples (inputs, labels), which the network is "
                f"called with, got a {type(batch).__name__}. Pick them out, as in [batch['x'] for batch in loader]."
            )
        yield inputs
