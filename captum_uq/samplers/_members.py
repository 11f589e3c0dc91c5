"""Stored networks: their weights matched, by name and shape, with the weights of the model that stands for them."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from captum_uq._inside import as_written
from captum_uq._tensors import address, same_values
from captum_uq.samplers._options import Options, first_difference, options_inside
from captum_uq.samplers._weights import names_of, tensors_of, written_tensors
from captum_uq.samplers.base import NothingToDrawError, Sampler, original

Member = nn.Module | Mapping[str, Tensor]
"""A network, or its state dict."""

_WAY_OUT = (
    "A draw is the method's own model with other weights, so all have its architecture. Give networks of one "
    "architecture, or explain each by itself and merge the results."
)

_EXTRA_STATE = "_extra_state"
"""What ends the name under which `torch.nn.Module.get_extra_state` puts what is no weight into a state dict."""


_ALIKE: weakref.WeakKeyDictionary[nn.Module, weakref.WeakSet[nn.Module]] = weakref.WeakKeyDictionary()
"""The modules that were found to have the options of a network: to compare them in every call takes a millisecond."""


class Matcher:
    """Matches stored networks with the one that stands for all, whose names are looked up once.

    Args:
        model: That network.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._names = model, names_of(model)
        self._shapes = {name: tensor.shape for name, tensor in tensors_of(model).items()}
        self._alike = _ALIKE.setdefault(model, weakref.WeakSet([model]))

    def matched(self, member: Member, label: str, *, partial: bool = False) -> dict[str, Tensor]:
        """The values of a stored network for the tensors of the model.

        Args:
            member: The stored one.
            label: What errors call it.
            partial: Whether it may leave tensors out, which then keep the model's values.

        Returns:
            Values by their name in `tensors_of`, on the stored network's memory.

        Raises:
            TypeError: It holds something else than a tensor for one of them.
            ValueError: Its names or shapes are not the model's, it holds different values for tied tensors, or is a
                module with other modules or options inside.
        """  # noqa: DOC502 -- some are raised by the helpers
        values = self._tensors_among(stored_values(member), label)
        self._check_names(set(values), label, partial and not isinstance(member, nn.Module))
        result: dict[str, Tensor] = {}
        for name, value in values.items():
            own = self._names[name]
            if value.shape != self._shapes[own]:
                raise ValueError(
                    f"{label} is not a {self._kind} like the model: {name} has shape {tuple(value.shape)}, "
                    f"the model's {tuple(self._shapes[own])}. {_WAY_OUT}"
                )
            if own in result and not _same(result[own], value):
                raise ValueError(
                    f"{label} holds different values for {own} and {name}, which are one tensor in the model."
                )
            result[own] = value
        if isinstance(member, nn.Module):
            self._check_options(member, label)
        return result

    def _tensors_among(self, values: Mapping[str, Any], label: str) -> dict[str, Tensor]:
        """The tensors; what else a state dict holds is left out where the model has no tensor of that name.

        Raises:
            TypeError: It has.
        """
        others = [name for name, value in values.items() if not isinstance(value, Tensor)]
        for name in others:
            if name in self._names:
                raise TypeError(
                    f"The weights of a stored network are tensors, but {label} holds a {type(values[name]).__name__} "
                    f"for {name}, and the model's own would stay. Give torch.as_tensor of it."
                )
        return {name: value for name, value in values.items() if name not in others} if others else dict(values)

    @functools.cached_property
    def _options(self) -> dict[str, Options]:
        return options_inside(self._model)

    def _check_options(self, member: nn.Module, label: str) -> None:
        """Refuse a module that computes otherwise: its draw would be another network than it is.

        Raises:
            ValueError: It has another module, or another option, than the model.
        """
        if member in self._alike:
            return
        theirs = options_inside(original(member))
        if theirs == self._options:
            self._alike.add(member)
            return
        raise ValueError(
            f"{label} is not a {self._kind} like the model: {first_difference(theirs, self._options)}. A draw is the "
            "method's own model with other weights, so it would not be that network. Explain each by itself and merge "
            "the results; where the difference does not matter, give member.state_dict()."
        )

    @property
    def _kind(self) -> str:
        return type(self._model).__name__

    @functools.cached_property
    def _state(self) -> set[str]:
        """What a state dict of the model holds: not every buffer need be in it."""
        return {as_written(name) for name in self._model.state_dict()} & self._names.keys()

    def _check_names(self, names: set[str], label: str, partial: bool) -> None:
        if names == self._names.keys():
            return
        missing = sorted(set() if partial else self._state - names)
        unknown = sorted(names - self._names.keys())
        if missing or unknown:
            what = f"lacks {missing[:3]}" if missing else f"has {unknown[:3]} besides"
            raise ValueError(f"{label} is not a {self._kind} like the model: it {what}. {_WAY_OUT}")


def stored_values(member: Member) -> dict[str, Any]:
    """Parameters and buffers of a network under every name they have, or what a state dict holds.

    Raises:
        TypeError: It is neither, or a state dict lies within another dict, as in a checkpoint.
    """
    if isinstance(member, nn.Module):
        return {name: tensor.data for name, tensor in written_tensors(original(member))}
    if not isinstance(member, Mapping):
        raise TypeError(f"A stored network is a torch.nn.Module or a state dict, got {type(member).__name__}.")
    values = dict[str, Any]()
    for name, value in member.items():
        if isinstance(value, Tensor):
            values[as_written(name)] = value.detach()
        elif not str(name).endswith(_EXTRA_STATE):
            if isinstance(value, (Mapping, nn.Module)):
                raise TypeError(
                    f"A stored network is a torch.nn.Module or a state dict, got a dict with a {type(value).__name__} "
                    f"in it, {name!r}. Give what lies there: checkpoint[{name!r}]."
                )
            values[name] = value
    return values


def copied(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values in memory of their own."""
    return {name: value.clone() for name, value in values.items()}


def require_difference(members: Iterable[Mapping[str, Tensor]], sampler: Sampler) -> None:
    """Refuse networks that are all the same.

    Args:
        members: Matched values; read until one differs from the first.
        sampler: Whose they are, for the error.

    Raises:
        NothingToDrawError: No two differ.
    """
    networks = iter(members)
    first = next(networks)
    if not any(_differ(first, other) for other in networks):
        raise NothingToDrawError(
            f"{sampler!r} has nothing to draw: it looks for networks that differ in some weight, and all of its are "
            "equal. Give networks trained or drawn independently."
        )


def member_at(members: Sequence[Any], index: int, sampler: Sampler) -> Any:
    """The stored network of draw ``index``.

    Raises:
        ValueError: There is no such draw.
    """
    if not 0 <= index < len(members):
        raise ValueError(
            f"{sampler!r} has {len(members)} draws, 0 to {len(members) - 1}; draw {index} is none of them."
        )
    return members[index]


def _differ(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    weights = [name for name, value in one.items() if value.is_floating_point() or value.is_complex()]
    return one.keys() != other.keys() or not all(_same(one[name], other[name]) for name in weights)


def _same(one: Tensor, other: Tensor) -> bool:
    return address(one) == address(other) or same_values(one.cpu(), other.cpu())
