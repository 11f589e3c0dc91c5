"""What modules are beside their weights: their classes, and the options that they were made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from captum_uq._inside import own_class
from captum_uq.samplers._sites import module_names

Options = tuple[str, dict[str, Any]]
"""The class of a module, by its name, and its plain options."""

_OF_NO_OUTPUT = frozenset({"training", "inplace", "momentum", "p", "name", "name_or_path", "path", "seed", "epoch"})
"""What is nothing to the outputs of a network in eval mode: how it was trained, and where it is from."""

_PLAIN = frozenset({bool, int, float, str, type(None)})


def options_inside(model: nn.Module) -> dict[str, Options]:
    """For every module of a network, itself included, what it computes with beside weights.

    A class goes by its name: to parametrise a layer gives it a class of its own, and a notebook makes one anew.
    """
    return {name: (_class_name(module), _plain(vars(module))) for name, module in module_names(model).items()}


def _class_name(module: nn.Module) -> str:
    kind = own_class(module)
    return f"{kind.__module__}.{kind.__qualname__}"


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if type(value) in _PLAIN and _tells(name)}


def _tells(name: str) -> bool:
    """Whether an attribute of this name may be an option that outputs depend on; rates of dropout are none."""
    return name[:1] != "_" and name not in _OF_NO_OUTPUT and "drop" not in name


def first_difference(theirs: Mapping[str, Options], own: Mapping[str, Options]) -> str:
    """In words, the first module of two networks that is not the same, and in what; empty where there is none."""
    for name in [*own, *theirs]:
        where = f"the module {name!r}" if name else "it"
        if name not in theirs or name not in own:
            return f"{where} is {'lacking' if name not in theirs else 'there besides'}"
        (kind, options), (own_kind, own_options) = theirs[name], own[name]
        if kind != own_kind:
            return f"{where} is a {kind}, the model's a {own_kind}"
        for option in [*own_options, *options]:
            value, expected = options.get(option, _MISSING), own_options.get(option, _MISSING)
            if value != expected:
                return f"{where} has {option}={value!r}, the model's {option}={expected!r}"
    return ""


class _Missing:
    def __repr__(self) -> str:
        return "(none)"


_MISSING = _Missing()
