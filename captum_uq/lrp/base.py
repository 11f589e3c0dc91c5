"""What every rule of this package is: one method, behind the protocol of Captum's LRP."""

from __future__ import annotations

import functools
import weakref
from abc import abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._captum import PropagationRule
from captum_uq._inside import own_class
from captum_uq._tensors import times_written
from captum_uq.lrp._affine import affine_of
from captum_uq.lrp._producer import Producer
from captum_uq.lrp._step import Step, differentiable, propagated


@dataclass
class _Use:
    """One use of a layer under way: its inputs in the network's graph, and the leaves that it runs on."""

    inputs: tuple[Tensor, ...]
    leaves: tuple[Tensor, ...]
    repeats: int = 0


@dataclass
class Uses:
    """The uses of a layer in one call of Captum's LRP, kept where Captum keeps its own, ``layer.activations``.

    Attributes:
        inputs: The inputs of each use, from Captum's first pass where there is one before; None where the rule does
            not need them.
        open: The uses under way in the pass that goes backwards.
        count: How many uses that pass has had.
    """

    inputs: list[tuple[Tensor, ...] | None] = field(default_factory=list)
    open: list[_Use] = field(default_factory=list)
    count: int = 0
    _last: tuple[Callable[[], object], int | None] = (lambda: None, 0)

    def add(self, inputs: tuple[Tensor, ...] | None, output: Tensor) -> None:
        """Remember a use, once: a module of two names is hooked twice by Captum."""
        if not (self._last[0]() is output and self._last[1] == times_written(output)):
            self.inputs.append(inputs)
            self._last = weakref.ref(output), times_written(output)


def uses_of(module: nn.Module) -> Uses:
    """The uses of a layer in the call under way."""
    state: dict[Any, Any] = vars(module)["activations"]
    uses: Uses = state.setdefault("captum_uq", Uses())
    return uses


class LayerRule(PropagationRule):  # type: ignore[misc]  # Captum is not typed for us
    """A rule for one layer, given by `relevance` alone.

    It is a `PropagationRule` of Captum: ``layer.rule = ZPlusRule()`` works with ``captum.attr.LRP`` too, for one
    call, after which Captum deletes it; `captum_uq.lrp.LRP` and composites keep it. Unlike Captum's own rules it
    changes no weight, keeps no state between calls, and serves a layer that is used several times.
    """

    keeps_inputs = True
    """Whether the inputs are needed for the rule, and not their shape alone."""

    keeps_relevance = True
    """Whether what Captum's LayerLRP reads is left behind, the relevance of the inputs and of the output."""

    @abstractmethod
    def relevance(self, step: Step, relevance: Tensor) -> tuple[Tensor, ...]:
        """Relevance of the inputs of a layer.

        Args:
            step: One use of the layer.
            relevance: Relevance of its output, shape ``(N, *outputs)``.

        Returns:
            Relevance of each input, in the inputs' shapes.
        """

    def _manipulate_weights(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """No weight is changed."""

    def forward_hook_weights(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """In Captum's first pass: remember the inputs, which rules of Captum's own change in the second.

        Raises:
            TypeError: The layer takes or gives something else than tensors.
        """  # noqa: DOC502
        _check(self, module, inputs, outputs)
        uses_of(module).add(_remembered(self, inputs), outputs)

    def forward_pre_hook_activations(self, module: nn.Module, inputs: Any) -> Any:
        """In the pass that goes backwards: have the layer run on leaves, so that its graph is its own."""
        uses = uses_of(module)
        if uses.open and inputs[0] is uses.open[-1].leaves[0]:
            uses.open[-1].repeats += 1
            return inputs
        if not _are_tensors(inputs):  # `forward_hook` says so
            return inputs
        kept = uses.inputs.pop(0) if uses.inputs else _remembered(self, inputs)
        leaves = tuple(map(differentiable, kept)) if kept is not None else tuple(x.detach() for x in inputs)
        uses.open.append(_Use(inputs, leaves))
        return leaves

    def forward_hook(self, module: nn.Module, inputs: Any, outputs: Any) -> Any:
        """In that pass: the layer's output, whose backward pass is this rule.

        Raises:
            TypeError: The layer takes or gives something else than tensors.
        """  # noqa: DOC502
        _check(self, module, inputs, outputs)
        uses = uses_of(module)
        use = uses.open[-1]
        if use.repeats:
            use.repeats -= 1
            return outputs
        uses.open.pop()
        uses.count += 1
        return self.connect(self.step(module, use.leaves, outputs), use.inputs)

    def step(self, module: nn.Module, leaves: tuple[Tensor, ...], output: Tensor) -> Step:
        """One use of a layer."""
        function = functools.partial(_plain_forward, module, _given_by_name(module))
        affine = affine_of(module, output)
        known = affine is not None and affine.written_by_torch
        return Step(_name(module), leaves, output, affine if affine and known else function, module, affine)

    def connect(self, step: Step, inputs: tuple[Tensor, ...], value: Tensor | None = None) -> Tensor:
        """The output of a step in the network's graph, with this rule as its backward pass.

        Args:
            step: One use of the layer.
            inputs: Its inputs in the network's graph.
            value: The output, where it is not the step's own.

        Returns:
            The output, shape ``(N, *outputs)``.
        """
        value = step.result() if value is None else value
        output = propagated(self.answer(step), value, inputs)
        if step.affine is not None:
            Producer(self, step, inputs).mark(output)
        return output

    def answer(self, step: Step) -> Callable[[Tensor], tuple[Tensor, ...]]:
        """This rule for a step, leaving behind what Captum's LayerLRP reads."""

        def propagate(relevance: Tensor) -> tuple[Tensor, ...]:
            relevances = self.relevance(step, relevance)
            single = relevances[0] if len(relevances) == 1 else relevances
            if self.keeps_relevance:
                add_relevance(self.relevance_output, relevance)
                add_relevance(self.relevance_input, single)
            return relevances

        return propagate


def add_relevance(known: dict[torch.device, Any], relevance: Tensor | tuple[Tensor, ...]) -> None:
    """Relevance beside that which came before: an output may go on by several ways, a BatchNorm and past it."""
    parts = relevance if isinstance(relevance, tuple) else (relevance,)
    device = parts[0].device
    if device in known:
        before = known[device] if isinstance(relevance, tuple) else (known[device],)
        parts = tuple(old + new for old, new in zip(before, parts, strict=True))
    known[device] = parts if isinstance(relevance, tuple) else parts[0]


def propagate_gradient(
    output: Tensor, inputs: tuple[Tensor, ...], ratio: Tensor, step: Step | None = None
) -> tuple[Tensor, ...]:
    """``x_i sum_j ratio_j d output_j / d x_i`` for each input: what a share of every output's relevance gives it.

    The graph is kept: what many draws share is passed backwards once for each. Where each output is an input
    (``step.selects``), its relevance is that input's: the same product, of fewer numbers.
    """
    selects = step is not None and step.selects

    def factor(name: Hashable, value: Tensor, other: Tensor) -> Tensor:
        return value if step is None else step.lying_as(name, value, other)

    ratio = ratio * factor("output", output.detach(), ratio) if selects else ratio
    gradients = torch.autograd.grad(output, inputs, ratio, retain_graph=True, allow_unused=True)
    parts = [torch.zeros_like(x) if g is None else g.detach() for x, g in zip(inputs, gradients, strict=True)]
    if selects:
        return tuple(parts)
    own = step is not None and step.function is step.affine  # a product is a tensor of its own, which may be written to
    multiply = Tensor.mul_ if own else Tensor.mul
    return tuple(multiply(g, factor(i, x.detach(), g)) for i, (x, g) in enumerate(zip(inputs, parts, strict=True)))


def _remembered(rule: LayerRule, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """Copies of the inputs of a use, which the network may write to after it; None where the rule needs none."""
    return tuple(x.detach().clone() for x in inputs) if rule.keeps_inputs else None


def _check(rule: LayerRule, module: nn.Module, inputs: Any, outputs: Any) -> None:
    """Refuse what relevance cannot be passed through.

    Raises:
        TypeError: It takes or gives something else than tensors.
    """
    by_name = [name for name, x in _given_by_name(module).items() if isinstance(x, Tensor) and x.requires_grad]
    if by_name or not isinstance(outputs, Tensor) or not _are_tensors(inputs):
        took = [type(x).__name__ for x in inputs] + [f"{name}=" for name in by_name]
        raise TypeError(
            f"{rule!r} passes relevance from one output tensor to input tensors given by position, but "
            f"{_name(module)} took {took} and gave {type(outputs).__name__}. "
            "Call it with tensors by position (no return_indices=True), or give the module around it a rule."
        )


def _are_tensors(inputs: tuple[Any, ...]) -> bool:
    return bool(inputs) and all(isinstance(x, Tensor) for x in inputs)


def _given_by_name(module: nn.Module) -> dict[str, Any]:
    """Keyword arguments of the use of a layer that is under way, where its rule was attached."""
    given: dict[str, Any] = vars(module).get("_lrp_kwargs", {})
    return given


def _plain_forward(module: nn.Module, kwargs: dict[str, Any], *inputs: Tensor) -> Tensor:
    """The forward of a layer without its hooks."""
    return type(module).forward(module, *inputs, **kwargs)  # type: ignore[no-any-return]


def _name(module: nn.Module) -> str:
    """What an error calls a layer: its type and, where a composite told, its name."""
    kind, name = own_class(module).__name__, vars(module).get("_lrp_name")
    return f"{kind} {name!r}" if name else kind
