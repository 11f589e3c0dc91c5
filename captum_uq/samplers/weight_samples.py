"""Weights sampled elsewhere: SG-MCMC, SWAG, variational inference, a library of posteriors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq.samplers._members import Matcher, member_at, require_difference, stored_values
from captum_uq.samplers._weights import BoundWeights
from captum_uq.samplers.base import BoundSampler, NothingToDrawError, Sampler
from captum_uq.samplers.from_callable import FromCallable

State = Mapping[str, Tensor]


class WeightSamples(Sampler):
    """Draws of a network from samples of its weights.

    Samples may hold some of the weights only, as those of a last layer; the others keep the model's values.

    Args:
        samples: State dicts (an iterable, read once); or one dict of stacked weights, shape ``(T, *shape)`` each, as
            the posteriors package gives, or the pair that `torch.func.stack_module_state` gives; or a function
            ``fn(index, generator)`` that returns a state dict, drawn from the `torch.Generator` it is given.
        model: The network; None to find it in the attribution method.

    Raises:
        TypeError: The samples are none of these.
        ValueError: Stacked weights of different lengths.
        NothingToDrawError: There are fewer than two samples.

    References:
        Bykov et al. (B-LRP), 2020, section 3.1: any approximate posterior over the weights.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> sampler = WeightSamples({"weight": torch.arange(6.0).reshape(3, 1, 2)}, model)
        >>> sampler.max_draws, sampler.network(2).weight.tolist()
        (3, [[4.0, 5.0]])
    """

    def __init__(
        self,
        samples: Iterable[State] | State | tuple[State, State] | Callable[[int, torch.Generator], State],
        model: nn.Module | None = None,
    ) -> None:
        super().__init__(model)
        self._function = None
        if callable(samples) and not isinstance(samples, (Mapping, nn.Module)):
            self._function = FromCallable(samples, model, partial=True, name=f"WeightSamples({_name(samples)})")
            self.stream = FromCallable  # whose random numbers it gives, for a Compose
            return
        stacked = _stacked(samples)
        self.samples = _listed(samples) if stacked is None else _unstacked(stacked)
        if len(self.samples) < 2:
            raise NothingToDrawError(
                f"WeightSamples has nothing to draw: it looks for at least two samples, got {len(self.samples)}."
            )
        self.max_draws = self.default_draws = len(self.samples)

    def bind(self, model: nn.Module) -> BoundSampler:
        """The samples, for ``model``.

        Raises:
            TypeError: A sample holds something else than a tensor for a weight.
            ValueError: A sample has names or shapes that the model has not.
            NothingToDrawError: All samples are equal.
        """  # noqa: DOC502 -- raised by the helpers
        if self._function is not None:
            return self._function.bind(model)
        match = Matcher(model)
        samples = [match.matched(state, f"Weight sample {t}", partial=True) for t, state in enumerate(self.samples)]
        require_difference(samples, self)
        return BoundWeights(model, lambda index, seed: member_at(samples, index, self))

    def __repr__(self) -> str:
        return f"WeightSamples({len(self.samples)} samples)" if self._function is None else repr(self._function)


def _name(function: object) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _stacked(samples: Any) -> State | None:
    """One dict of stacked weights; None for several samples.

    Torch gives two, of parameters and of buffers: no name is in both, as it would be in two samples.
    """
    if isinstance(samples, tuple) and len(samples) == 2 and all(isinstance(part, Mapping) for part in samples):
        parameters, buffers = samples
        return None if parameters.keys() & buffers.keys() else stored_values({**parameters, **buffers})
    return stored_values(samples) if isinstance(samples, Mapping) else None


def _listed(samples: Any) -> list[State]:
    if not isinstance(samples, Iterable) or isinstance(samples, (str, nn.Module, Tensor)):
        raise TypeError(
            "WeightSamples takes state dicts, one dict of stacked weights (T, *shape), what "
            "torch.func.stack_module_state gives, or a function fn(index, generator), got "
            f"{type(samples).__name__}."
        )
    return [stored_values(state) for state in samples]


def _unstacked(stacked: State) -> list[State]:
    """One state dict for each entry of the first dimension, in memory of its own: a view's alignment moves sums.

    Raises:
        TypeError: Some are no tensors.
        ValueError: The weights do not have the same number of samples.
    """
    for name, value in stacked.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"Stacked weights are tensors (T, *shape), got a {type(value).__name__} for {name}. Give "
                "torch.as_tensor of it, and leave out what is no weight."
            )
    lengths = {name: len(value) if value.dim() else 0 for name, value in stacked.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(
            f"Stacked weights have shape (T, *shape) with one T for all, got first dimensions {lengths}. "
            "For a single state dict, give a list of several."
        )
    count = next(iter(lengths.values()))
    return [{name: value[t].clone() for name, value in stacked.items()} for t in range(count)]
