"""A rule attached to a module, so that Captum sees it and cannot lose it; undone without trace."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from captum_uq._captum import PropagationRule
from captum_uq._inside import ORIGINAL

_LEFT_BEHIND = ("rule", "activations", "_lrp_rule", "_lrp_name", "_lrp_kwargs")


class _Ruled:
    """What an attached rule adds to a module's class.

    Captum deletes ``layer.rule`` when a call ends, takes its own way through modules whose type is exactly ReLU,
    Dropout or Tanh, and looks for layers inside modules that have others inside. On a subclass with a property it
    does none of these.
    """

    @property
    def rule(self) -> PropagationRule:
        return vars(self)["_lrp_rule"]

    @rule.setter
    def rule(self, rule: PropagationRule) -> None:
        vars(self)["_lrp_rule"] = rule

    @rule.deleter
    def rule(self) -> None:
        """Captum's way of ending a call; the composite's context ends the rule."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Captum's hooks do not see what is given by name."""
        vars(self)["_lrp_kwargs"] = kwargs
        return super().__call__(*args, **kwargs)  # type: ignore[misc]  # of the module

    def __delattr__(self, name: str) -> None:
        """Not an ``activation`` inside the module, which Captum takes for something of its own (0.9, LRP)."""
        if name != "activation":
            super().__delattr__(name)


class _Whole(_Ruled):
    """A module that is one layer, whatever is inside it."""

    def children(self) -> Iterator[nn.Module]:
        """None that Captum would look for layers in."""
        return iter(())


def attach(module: nn.Module, name: str, rule: PropagationRule, *, whole: bool = True) -> Callable[[], None]:
    """Give a module a rule.

    Args:
        module: The layer.
        name: Its name, for errors.
        rule: The rule.
        whole: Whether the module is one layer; False for a rule beside those of the modules inside.

    Returns:
        What undoes it.
    """
    kind, before = type(module), {key: vars(module)[key] for key in _LEFT_BEHIND if key in vars(module)}
    module.__class__ = _ruled_class(kind, _Whole if whole else _Ruled)  # type: ignore[arg-type]  # a class of modules is hashable
    vars(module).update(_lrp_rule=rule, _lrp_name=name)

    def undo() -> None:
        module.__class__ = kind
        for key in _LEFT_BEHIND:
            vars(module).pop(key, None)
        vars(module).update(before)

    return undo


def own_rule(module: nn.Module) -> PropagationRule | None:
    """The rule that the user gave a module as ``layer.rule``; None where there is none."""
    rule: PropagationRule | None = vars(module).get("rule")
    return rule


@functools.cache
def _ruled_class(kind: type[nn.Module], ours: type) -> type[nn.Module]:
    return type(kind.__name__, (ours, kind), {"__module__": __name__, ORIGINAL: kind})
