"""Modules of a network, chosen by name, glob pattern or type."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq.samplers._sites import module_names
from captum_uq.samplers._weights import names_of, tensors_of

Selector = str | type[nn.Module]


def as_selectors(modules: Selector | Sequence[Selector] | None) -> tuple[Selector, ...] | None:
    """One selector or several, as a tuple; None for all modules.

    Raises:
        TypeError: It is neither.
    """
    if modules is None:
        return None
    if isinstance(modules, (str, type)):
        return (modules,)
    single = isinstance(modules, nn.Module) or not isinstance(modules, Iterable)
    selectors: tuple[Any, ...] = (modules,) if single else tuple(modules)
    for wrong in selectors:
        if not isinstance(wrong, (str, type)):
            given = f"the module {type(wrong).__name__} itself" if isinstance(wrong, nn.Module) else repr(wrong)
            raise TypeError(
                f"modules= takes a name, a pattern or a type of module, or several of them, got {given}. Give its "
                "type, or its name as model.named_modules() tells it."
            )
    return selectors


def selected_modules(names: dict[str, nn.Module], selectors: Sequence[Selector] | None) -> set[str]:
    """Names of the modules that are selected, with everything inside them.

    Args:
        names: The modules by name.
        selectors: Names, glob patterns of names, or types; None for all.

    Returns:
        Those names.

    Raises:
        ValueError: A selector matches nothing.
    """
    if selectors is None:
        return set(names)
    chosen = set[str]()
    for selector in selectors:
        roots = [name for name, module in names.items() if _matches(selector, name, module)]
        if not roots:
            label = selector if isinstance(selector, str) else selector.__name__
            raise ValueError(f"modules={label!r} matches no module. The names are {list(names)[1:]}.")
        chosen |= {name for name in names for root in roots if _is_inside(name, root)}
    return chosen


def own_parameters(model: nn.Module, chosen: set[str]) -> dict[str, Tensor]:
    """The parameters that the chosen modules have themselves.

    Args:
        model: The network.
        chosen: Names of modules.

    Returns:
        The parameters, by their name in `tensors_of`: one that is tied to another, once and under the first name.

    Raises:
        ValueError: One is sparse: noise would fill it.
    """
    names, tensors = names_of(model), tensors_of(model)
    found: dict[str, Tensor] = {}
    for name, module in module_names(model).items():
        if name in chosen:
            for own, _ in module.named_parameters(prefix=name, recurse=False, remove_duplicate=False):
                found[names[own]] = tensors[names[own]]
    for name, tensor in found.items():
        if tensor.layout is not torch.strided:
            raise ValueError(
                f"Weights that draw are dense tensors, got {tensor.layout} for {name} of {type(model).__name__}. Leave "
                "it out by naming the modules that draw (modules=), or make it dense."
            )
    return found


def _matches(selector: Selector, name: str, module: nn.Module) -> bool:
    return fnmatch.fnmatchcase(name, selector) if isinstance(selector, str) else isinstance(module, selector)


def _is_inside(name: str, root: str) -> bool:
    return not root or name == root or name.startswith(f"{root}.")
