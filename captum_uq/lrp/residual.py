"""Additions and other functions that a network calls outside its modules, found while it runs.

Captum's LRP sees modules only. Where a ``forward`` adds two activations, plain autograd gives each the whole relevance,
and it doubles without a word. Here every function that meets relevance is known, or raises when relevance reaches it.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_uq._tensors import viewed
from captum_uq._trees import leaves
from captum_uq.lrp._shares import TINY
from captum_uq.lrp._step import Step, leaf, propagated, refuse_relevance
from captum_uq.lrp.base import LayerRule
from captum_uq.lrp.passing import PassRule
from captum_uq.lrp.rules import EpsilonRule

_SUMS = {"add", "add_", "sub", "sub_", "subtract", "__rsub__", "rsub"}
_SCALES = {"mul", "mul_", "multiply", "div", "div_", "divide", "true_divide", "neg", "negative"}
_AVERAGES = {"mean", "sum", "avg_pool1d", "avg_pool2d", "avg_pool3d"} | {f"adaptive_avg_pool{d}d" for d in (1, 2, 3)}
_MAXIMA: dict[str, type[nn.Module]] = {
    **{f"max_pool{d}d": kind for d, kind in ((1, nn.MaxPool1d), (2, nn.MaxPool2d), (3, nn.MaxPool3d))},
    "adaptive_max_pool1d": nn.AdaptiveMaxPool1d,
    "adaptive_max_pool2d": nn.AdaptiveMaxPool2d,
    "adaptive_max_pool3d": nn.AdaptiveMaxPool3d,
}
_ELEMENTWISE = {
    *("relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "elu_", "celu", "selu", "gelu", "silu", "mish"),
    *("sigmoid", "sigmoid_", "tanh", "tanh_", "softplus", "softsign", "hardtanh", "hardswish", "hardsigmoid", "prelu"),
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "feature_dropout"),
}
_RESHAPES = {
    *("view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze", "t"),
    *("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "flip", "roll", "rot90"),
    *("cat", "concat", "concatenate", "stack", "hstack", "vstack", "split", "chunk", "unbind", "tensor_split"),
    *("expand", "expand_as", "broadcast_to", "repeat", "repeat_interleave", "tile"),
    *("__getitem__", "__get__", "select", "narrow", "index_select", "gather", "take_along_dim", "unfold"),
    *("clone", "contiguous", "detach", "requires_grad_", "to", "float", "double", "half", "type", "type_as", "cpu"),
    *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "pad", "as_subclass", "positive", "cuda"),
    *("copy_", "fill_", "zero_"),
}
"""Their gradient passes every element's relevance on as it is."""


class Functions(TorchFunctionMode):
    """Passes relevance through the functions that a network calls outside layers with a rule.

    Args:
        addition: Rule of sums of activations.
        max_pool: Rule of max-pooling called as a function.
    """

    def __init__(self, addition: LayerRule, max_pool: LayerRule) -> None:
        super().__init__()
        self._addition, self._max_pool = addition, max_pool
        self._inside: list[str] = []
        self._suspended = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._suspended or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        name = getattr(func, "__name__", None) or str(func)
        if name in _RESHAPES:
            return func(*args, **kwargs)
        tensors = [x for x in (*args, *kwargs.values()) if _is_activation(x)]
        rule = self._rule(name, tensors) if tensors else None
        if rule is None or (_in_place(name) and tensors[0] is not args[0]):
            return self._refused(name, func(*args, **kwargs))
        return self._connected(rule, name, func, args, kwargs)

    def _rule(self, name: str, tensors: list[Tensor]) -> LayerRule | None:
        """The rule of a function; None where there is none."""
        if name in _SUMS:
            return self._addition if len(tensors) > 1 else PassRule()
        if name in _SCALES:
            return PassRule() if len(tensors) == 1 else None
        if name in _AVERAGES:
            return EpsilonRule(TINY)
        if name in _MAXIMA:
            return self._max_pool
        return PassRule() if name in _ELEMENTWISE else None

    def _connected(self, rule: LayerRule, name: str, func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
        """The output of a function, whose backward pass is a rule."""
        slots: list[Tensor] = []
        hollow_args, hollow_kwargs = _hollow(args, slots), _hollow(kwargs, slots)
        passes = isinstance(rule, PassRule)

        def function(*inputs: Tensor) -> Tensor:
            inputs = (inputs[0].clone(), *inputs[1:]) if _in_place(name) and not passes else inputs
            result: Tensor = func(*_filled(hollow_args, inputs), **_filled(hollow_kwargs, inputs))
            return result

        own = tuple(x.detach() if passes else leaf(x) for x in slots)
        output = function(*own)
        pool = _pool(name, args, kwargs) if name in _MAXIMA else None
        step = Step(f"{name} in {self._where()}", own, output, function, pool)
        return propagated(functools.partial(rule.relevance, step), output, tuple(slots), in_place=_in_place(name))

    def _refused(self, name: str, result: Any) -> Any:
        """The result of a function without a rule, which raises if relevance reaches it."""
        error = NotImplementedError(
            f"LRP has no rule for {name!r}, which the forward of {self._where()} calls on activations: relevance would "
            "not be conserved. Write it as a module and give that a rule, or give the module around it one: "
            "rules={type or name: PassRule()} where it acts on each element by itself."
        )
        refuse_relevance(_written(result) if _in_place(name) else leaves(result), error)
        return result

    def _where(self) -> str:
        return self._inside[-1] if self._inside else "the model"

    @contextlib.contextmanager
    def around(self, args: Any, kwargs: Any) -> Iterator[None]:
        """One forward of the network."""
        with self:
            yield

    def watch(self, module: nn.Module, name: str, ruled: bool) -> Callable[[], None]:
        """Know when a module runs: functions inside a layer with a rule are the rule's.

        Args:
            module: The module.
            name: What an error calls it.
            ruled: Whether it is a layer with a rule.

        Returns:
            What undoes it.
        """

        def enter(*_: object) -> None:
            self._suspended += ruled
            self._inside.append(name)

        def leave(*_: object) -> None:
            self._suspended -= ruled
            self._inside.pop()

        before = module.register_forward_pre_hook(enter, prepend=True)
        after = module.register_forward_hook(leave, always_call=True)

        def undo() -> None:
            before.remove()
            after.remove()

        return undo


def _is_activation(value: Any) -> bool:
    """Whether relevance may pass through a value: what depends on the inputs, and no parameter."""
    return isinstance(value, Tensor) and value.requires_grad and not isinstance(value, nn.Parameter)


def _written(result: Any) -> Iterator[Tensor]:
    """What an operation in place wrote to: of a view the whole too, which relevance may reach by itself."""
    for tensor in leaves(result):
        yield tensor
        whole = viewed(tensor)
        if whole is not None:
            yield whole


def _in_place(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def _hollow(value: Any, slots: list[Tensor]) -> Any:
    """Arguments with a number in place of each activation, which goes to ``slots``."""
    if _is_activation(value):
        slots.append(value)
        return _Slot(len(slots) - 1)
    if isinstance(value, dict):
        return {key: _hollow(item, slots) for key, item in value.items()}
    return tuple(_hollow(item, slots) for item in value) if isinstance(value, tuple) else value


def _filled(value: Any, inputs: tuple[Tensor, ...]) -> Any:
    if isinstance(value, _Slot):
        return inputs[value]
    if isinstance(value, dict):
        return {key: _filled(item, inputs) for key, item in value.items()}
    return tuple(_filled(item, inputs) for item in value) if isinstance(value, tuple) else value


class _Slot(int):
    """The place of an activation among a function's inputs."""


def _pool(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> nn.Module:
    """The module that a call of a max-pool stands for."""
    options = {key: value for key, value in kwargs.items() if key != "input"}
    given = args[1:] if args and isinstance(args[0], Tensor) else args
    if _MAXIMA[name] in (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d) and len(given) > 4:
        given, options = given[:4], {**options, "ceil_mode": given[4]}
    return _MAXIMA[name](*given, **options)
