"""What a method of Captum shows of itself: its model, its forward function, the arguments of one call."""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from captum.attr import LRP, Attribution, LayerLRP
from torch import Tensor, nn

from captum_uq._trees import leaves, tree_map
from captum_uq.samplers._forward import replace_forward
from captum_uq.samplers.base import as_tuple

_DEPTH = 3
"""How many functions deep a model is looked for: predict -> helper -> model."""


def find_model(method: Attribution) -> nn.Module | None:
    """The network behind a method: its ``model``, or what its ``forward_func`` is, is bound to, or refers to.

    Args:
        method: Any attribution method.

    Returns:
        The module, or None where none is found.

    Raises:
        ValueError: The forward function refers to several networks.
    """
    if isinstance(getattr(method, "model", None), nn.Module):
        return method.model  # type: ignore[no-any-return]
    found = list(dict.fromkeys(_modules_in(getattr(method, "forward_func", None), _DEPTH)))
    if len(found) < 2:
        return found[0] if found else None
    inside = {id(part) for module in found for part in module.modules() if part is not module}
    outermost = [module for module in found if id(module) not in inside]
    if len(outermost) > 1:
        raise ValueError(
            "The forward function refers to several networks, "
            f"{', '.join(type(module).__name__ for module in outermost)}: which one is random is not for us to guess. "
            "Give the sampler one, as in MCDropout(model)."
        )
    return outermost[0] if outermost else None


def _modules_in(value: Any, depth: int) -> Iterator[nn.Module]:
    """The modules that a forward function reaches."""
    if isinstance(value, nn.Module):
        yield value
    elif depth and isinstance(value, functools.partial):
        yield from _modules_in((value.func, *value.args, *value.keywords.values()), depth)
    elif depth and isinstance(value, types.MethodType):
        yield from _modules_in((value.__self__, value.__func__), depth - 1)
    elif depth and isinstance(value, types.FunctionType):
        yield from _modules_in((*_names_seen_by(value), *(value.__defaults__ or ())), depth - 1)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _modules_in(item, depth)
    elif depth and not isinstance(value, (type, types.ModuleType, Tensor)) and callable(value):
        yield from _modules_in(list(getattr(value, "__dict__", {}).values()), depth - 1)


def _names_seen_by(function: types.FunctionType) -> tuple[Any, ...]:
    """What a function's closure and the globals it names hold."""
    try:
        seen = inspect.getclosurevars(function)
    except ValueError:  # a name of the closure is not bound yet
        return ()
    return (*seen.nonlocals.values(), *seen.globals.values())


@contextlib.contextmanager
def forward_in_scope(method: Attribution, scope: Callable[[Any], Any]) -> Iterator[None]:
    """Have the method call its forward function in scope, where that is a function around the model.

    A module tells of its calls by hooks; ``model.forward`` or ``predict(x)`` do not.

    Args:
        method: Any attribution method; the methods that it is made of are changed with it.
        scope: Makes of the function one that opens a scope (`BoundSampler.scope`).
    """
    forward_func = getattr(method, "forward_func", None)
    if forward_func is None or isinstance(forward_func, nn.Module):
        yield
        return
    with replaced_forward_func(method, scope(_looked_up(forward_func))):
        yield


def _looked_up(forward_func: Callable[..., Any]) -> Callable[..., Any]:
    """``model.forward`` as it is at every call: the one that was given knows nothing of what a sampler puts there."""
    module = getattr(forward_func, "__self__", None)
    if not isinstance(module, nn.Module) or forward_func != module.forward:
        return forward_func
    return functools.wraps(forward_func)(lambda *args, **kwargs: module.forward(*args, **kwargs))


@contextlib.contextmanager
def wrapped_forward(method: Attribution, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """Have the method call its network, or the function around it, through another function.

    Args:
        method: Any attribution method.
        wrap: Makes of a forward the one that is run in its place; hooks of a module stay around it.
    """
    forward_func = method.forward_func
    if not isinstance(forward_func, nn.Module):
        with replaced_forward_func(method, wrap(forward_func)):
            yield
        return
    undo = replace_forward(forward_func, wrap)
    try:
        yield
    finally:
        undo()


@contextlib.contextmanager
def replaced_forward_func(method: Attribution, other: Callable[..., Any]) -> Iterator[None]:
    """Have the method, and the methods that it is made of, call another function in place of its forward function.

    Args:
        method: Any attribution method.
        other: What is called instead.
    """
    forward_func = method.forward_func
    places = list(_places(method, forward_func))
    try:
        for owner, name in places:
            setattr(owner, name, other)
        yield
    finally:
        for owner, name in places:
            setattr(owner, name, forward_func)


def _places(method: Attribution, forward_func: Any) -> Iterator[tuple[Attribution, str]]:
    """Where a method and those inside it keep the forward function."""
    for name, value in list(vars(method).items()):
        if value is forward_func:
            yield method, name
        elif isinstance(value, Attribution):
            yield from _places(value, forward_func)


def propagates_relevance(method: Attribution) -> bool:
    """Whether a method is Captum's LRP, or is made of it."""
    return isinstance(method, (LRP, LayerLRP)) or any(
        propagates_relevance(value) for value in vars(method).values() if isinstance(value, Attribution)
    )


@dataclass(frozen=True)
class Call:
    """One call of a method's ``attribute``.

    Attributes:
        method: The method.
        args: Positional arguments.
        kwargs: Keyword arguments.
    """

    method: Attribution
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def run(self) -> Any:
        """What Captum returns."""
        return self.method.attribute(*self.args, **self.kwargs)

    @functools.cached_property
    def arguments(self) -> dict[str, Any]:
        """What was given, by position or by name; nothing where that is wrong: Captum says it better."""
        try:
            given = _signature(self.method).bind_partial(*self.args, **self.kwargs).arguments
        except TypeError:
            return {}
        return {**given.pop("kwargs", {}), **given}

    def argument(self, name: str) -> Any:
        """The value of an argument; None where it is not given."""
        return self.arguments.get(name)

    @property
    def forward_arguments(self) -> tuple[Any, ...] | None:
        """What the forward function is called with on the inputs; None for a method that takes other inputs."""
        inputs = as_tuple(self.argument("inputs"))
        if not inputs or not all(isinstance(tensor, Tensor) for tensor in inputs):
            return None
        return (*inputs, *as_tuple(self.argument("additional_forward_args")))

    def predict(self) -> Tensor | None:
        """What the network gives for the inputs, ``(N, *outputs)``; None where that is no tensor."""
        arguments = tree_map(torch.clone, self.forward_arguments or ())  # a network may write into its inputs
        with torch.no_grad():
            outputs = self.method.forward_func(*arguments)
        return outputs if isinstance(outputs, Tensor) else None

    def with_argument(self, name: str, value: Any) -> Call:
        """The same call with another value of an argument that it was given."""
        if name in self.kwargs:
            return replace(self, kwargs=self.kwargs | {name: value})
        bound = _signature(self.method).bind_partial(*self.args, **self.kwargs)
        bound.arguments[name] = value
        return replace(self, args=bound.args, kwargs=bound.kwargs)

    def with_plain_baselines(self) -> Call:
        """The same call with baselines outside any graph: ``baselines=inputs * 0`` would be passed backwards twice."""
        baselines = self.argument("baselines")
        if not any(leaf.grad_fn is not None for leaf in leaves(baselines)):
            return self
        return self.with_argument("baselines", tree_map(Tensor.detach, baselines))

    def accepts(self, name: str) -> bool:
        """Whether the method's ``attribute`` has an argument of this name."""
        return name in _signature(self.method).parameters


def _signature(method: Attribution) -> inspect.Signature:
    """How a method's ``attribute`` is called."""
    attribute = method.attribute
    if getattr(attribute, "__func__", None) is not getattr(type(method), "attribute", None):
        return inspect.signature(attribute)
    kind: Any = type(method)
    return _signature_of(kind)


@functools.lru_cache(maxsize=256)
def _signature_of(method: Any) -> inspect.Signature:
    """How ``attribute`` of the methods of a class is called; reading it takes as long as a small network's forward."""
    whole = inspect.signature(method.attribute)
    return whole.replace(parameters=list(whole.parameters.values())[1:])
