"""One use of a layer, as a rule sees it; and the autograd node that lets the rule answer for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, nn

from captum_uq._layout import has_channels_last, lying_as
from captum_uq._shared_graph import is_shared
from captum_uq.lrp._affine import Affine

Made = TypeVar("Made")
Propagate = Callable[[Tensor], tuple[Tensor, ...]]
"""From the relevance of an output to those of the inputs."""


@dataclass(frozen=True)
class Step:
    """One use of a layer in one forward.

    Attributes:
        name: What an error calls the layer.
        inputs: What it was called with, outside any graph but requiring a gradient, ``(N, *F)`` each.
        output: What came out, with the graph from ``inputs``; None where it has yet to be computed.
        function: The layer as a function of its inputs.
        module: The layer; for a function the module that stands for it, where there is one.
        affine: The layer as a function of its inputs, weight and bias, where it has these.
        shared: Whether many relevances come to it.
    """

    name: str
    inputs: tuple[Tensor, ...]
    output: Tensor | None
    function: Callable[..., Tensor]
    module: nn.Module | None = None
    affine: Affine | None = None
    shared: bool = field(default_factory=is_shared)
    _known: dict[Hashable, Any] = field(default_factory=dict)

    def once(self, name: Hashable, make: Callable[[], Made]) -> Made:
        """What does not depend on the relevance: made once for all draws that share this use of the layer."""
        if not self.shared:
            return make()
        if name not in self._known:
            self._known[name] = make()
        made: Made = self._known[name]
        return made

    def lying_as(self, name: Hashable, value: Tensor, other: Tensor) -> Tensor:
        """An input or the output, in the memory format of another tensor: products of two formats are slow."""
        if not has_channels_last(other) or has_channels_last(value):
            return value
        return self.once(("lies", name), lambda: lying_as(value, other))

    @property
    def selects(self) -> bool:
        """Whether each output is an input, and none is two of them: a max-pool whose windows do not overlap."""
        pool = self.module
        if not isinstance(pool, (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)):
            return False
        size, stride = (side if isinstance(side, tuple) else (side,) for side in (pool.kernel_size, pool.stride))
        return pool.dilation in (1, (1,) * len(size)) and min(stride) >= max(size)

    def result(self) -> Tensor:
        """The output, with the graph from the inputs."""
        if self.output is not None:
            return self.output
        return self.once("result", lambda: self.function(*self.inputs))

    @property
    def known_weight(self) -> bool:
        """Whether the layer is what its weight and bias say."""
        affine = self.affine
        if affine is None or affine.written_by_torch:
            return affine is not None
        return self.once("known weight", lambda: affine.gives(self.result(), *self.inputs))

    def folded(self, affine: Affine) -> Step:
        """The step of a layer with another weight and bias."""
        return replace(self, output=None, function=affine, affine=affine, _known={})

    def followed(self, change: Callable[[Tensor], Tensor]) -> Step:
        """The step of a layer and a linear function of its output, as one layer of which the weight is not known."""

        def function(*inputs: Tensor) -> Tensor:
            ran = inputs[0] is self.inputs[0]  # of drawn weights only the forward under way knows
            return change(self.result() if ran else self.function(*inputs))

        return replace(self, output=None, function=function, affine=None, _known={})


class _Propagation(torch.autograd.Function):
    """The identity on a computed output, whose backward pass is a rule of LRP."""

    @staticmethod
    def forward(ctx: Any, propagate: Propagate, output: Tensor, *inputs: Tensor) -> Tensor:  # noqa: ARG004
        """Give the output, and remember who answers for it."""
        ctx.propagate = propagate
        return output.clone()

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor | None, ...]:
        """Relevance of the output to relevance of the inputs."""
        with torch.enable_grad():
            relevances = ctx.propagate(relevance.detach())
        return (None, None, *(r.detach() for r in relevances))


def propagated(propagate: Propagate, output: Tensor, inputs: tuple[Tensor, ...], *, in_place: bool = False) -> Tensor:
    """An output in the network's graph, whose relevance goes to the inputs by a rule.

    Args:
        propagate: The rule.
        output: The value, shape ``(N, *outputs)``.
        inputs: What it was made of, in the network's graph.
        in_place: Whether the value is written into the first input.

    Returns:
        The output.
    """
    result: Tensor = _Propagation.apply(propagate, output.detach(), *inputs)
    return inputs[0].copy_(result) if in_place else result  # autograd knows of what it is a view


def refuse_relevance(tensors: Iterable[Tensor], error: Exception) -> None:
    """Have relevance that reaches one of some tensors raise an error."""

    def refuse(_: Tensor) -> NoReturn:
        raise error

    for tensor in tensors:
        if tensor.requires_grad:
            tensor.register_hook(refuse)


def leaf(tensor: Tensor) -> Tensor:
    """A copy of a tensor, outside its graph, and ready for a gradient where it can have one."""
    return differentiable(tensor.detach().clone())


def differentiable(value: Tensor) -> Tensor:
    """A value outside any graph, made ready for a gradient where it can have one."""
    return value.requires_grad_(value.is_floating_point())
