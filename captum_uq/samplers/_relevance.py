"""How a held dropout module carries relevance: the repair of Captum's LRP under dropout."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import nn

from captum_uq._captum import EpsilonRule
from captum_uq._inside import ORIGINAL


def pass_relevance(module: nn.Module) -> Callable[[], None]:
    """Let Captum's LRP carry relevance through a held dropout module.

    For an ``nn.Dropout`` Captum multiplies relevance by mask / (1 - p): it then sums to a multiple of the output.
    The held module is a diagonal linear layer, whose rule is epsilon, and is shown to Captum as such.

    Args:
        module: A site; one with modules or parameters inside is left as it is.

    Returns:
        What undoes it.
    """
    before = type(module)
    if not is_plain(module) or issubclass(before, _PassesRelevance):
        return lambda: None
    module.__class__ = _held_class(before)  # type: ignore[arg-type]  # a class of modules is hashable

    def undo() -> None:
        module.__class__ = before
        vars(module).pop("_held_rule", None)

    return undo


def is_plain(module: nn.Module) -> bool:
    """Whether a module has no modules and no parameters inside, as dropout has none."""
    inside = next(module.children(), None) is not None or next(module.parameters(), None) is not None
    return not inside and not isinstance(module, torch.jit.ScriptModule)


class _PassesRelevance:
    """A ``rule`` that survives Captum's ``del layer.rule``; the user's own comes first."""

    @property
    def rule(self) -> EpsilonRule:
        state = vars(self)
        if state.get("rule") is None:
            return state.setdefault("_held_rule", EpsilonRule())
        return state["rule"]

    @rule.setter
    def rule(self, rule: EpsilonRule) -> None:
        vars(self)["rule"] = rule

    @rule.deleter
    def rule(self) -> None:
        vars(self).pop("rule", None)


@functools.cache
def _held_class(kind: type[nn.Module]) -> type[nn.Module]:
    return type(f"Held{kind.__name__}", (_PassesRelevance, kind), {"__module__": kind.__module__, ORIGINAL: kind})
