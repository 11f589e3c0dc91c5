"""Captum's LRP and LayerLRP with composites, and without their defects."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from captum import attr
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from captum_uq._captum import SUPPORTED_LAYERS_WITH_RULES, SUPPORTED_NON_LINEAR_LAYERS, PropagationRule, log_usage
from captum_uq._trees import leaves
from captum_uq.lrp._attach import attach
from captum_uq.lrp._layers import Layer, find_layers
from captum_uq.lrp._observe import ObserveRule
from captum_uq.lrp._one_forward import OneForward
from captum_uq.lrp.base import uses_of
from captum_uq.lrp.composites import Composite
from captum_uq.lrp.passing import PassRule
from captum_uq.lrp.presets import EpsilonComposite

_STATE = ("rule", "activations")


class LRP(OneForward, attr.LRP):  # type: ignore[misc]  # Captum is not typed for us
    """`captum.attr.LRP`, with a composite that says which layer takes which rule.

    Without a composite it gives what Captum gives, and: a rule that the user sets as ``layer.rule`` is still there
    after the call, and layers for which Captum has no rule (Flatten, Identity, every dropout, Conv1d, element-wise
    activations, ...) take the one that conserves relevance. Additions that a ``forward`` writes as ``a + b`` are
    conserved with a composite only, and with one, whose rules change no weight, the network runs forward once.

    Args:
        model: The network.
        composite: Such as `EpsilonComposite()`; None for Captum's own rules.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from captum_uq.lrp import LRP, ZPlusComposite
        >>> model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
        >>> LRP(model, composite=ZPlusComposite()).attribute(torch.ones(1, 3, requires_grad=True), target=0).shape
        torch.Size([1, 3])
    """

    folds_as = attr.LRP

    def __init__(self, model: nn.Module, composite: Composite | None = None) -> None:
        super().__init__(model)
        self.composite = _check_composite(composite)

    @log_usage()  # type: ignore[untyped-decorator]  # sets __wrapped__, which NoiseTunnel reads
    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        verbose: bool = False,
    ) -> Any:
        """As `captum.attr.LRP.attribute`; relevance sums to the output, shape ``(N, *F)``.

        Raises:
            TypeError: A layer has no rule, or an input is not of a floating dtype.
            ValueError: A lazy module has no weights yet.
            NotImplementedError: The network calls a function on activations that has no rule.
        """  # noqa: DOC502
        _check_floating(inputs)
        with _ruled(self.model, self.composite):
            return super().attribute(inputs, target, additional_forward_args, return_convergence_delta, verbose)

    def _get_layers(self, model: nn.Module) -> None:
        self.layers = _layers(model)

    def _clear_properties(self) -> None:
        """Captum deletes ``layer.activation``, which a user's module may have."""


class LayerLRP(OneForward, attr.LayerLRP):  # type: ignore[misc]  # Captum is not typed for us
    """`captum.attr.LayerLRP`, with a composite; ``layer`` may also be an activation or a module with others inside.

    Args:
        model: The network.
        layer: The layer, or a list of layers.
        composite: Such as `EpsilonComposite()`; None for Captum's own rules.
    """

    folds_as = attr.LayerLRP

    def __init__(
        self, model: nn.Module, layer: nn.Module | list[nn.Module], composite: Composite | None = None
    ) -> None:
        super().__init__(model, layer)
        self.composite = _check_composite(composite)

    @log_usage()  # type: ignore[untyped-decorator]
    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        verbose: bool = False,
    ) -> Any:
        """As `captum.attr.LayerLRP.attribute`: relevance of the layer's output, in its shape, or of its input.

        Raises:
            TypeError: A layer has no rule, or an input is not of a floating dtype.
            ValueError: The layer is used several times, no relevance reaches it, or a lazy module has no weights yet.
            NotImplementedError: The network calls a function on activations that has no rule.
        """  # noqa: DOC502
        _check_floating(inputs)
        asked = list(self.layer) if isinstance(self.layer, (list, tuple)) else [self.layer]
        with _ruled(self.model, self.composite, asked):
            return super().attribute(
                inputs, target, additional_forward_args, return_convergence_delta, attribute_to_layer_input, verbose
            )

    def _get_layers(self, model: nn.Module) -> None:
        self.layers = _layers(model)
        asked = self.layer if isinstance(self.layer, (list, tuple)) else [self.layer]
        self.layers += [layer for layer in asked if not any(layer is known for known in self.layers)]

    def _clear_properties(self) -> None:
        """Captum deletes ``layer.activation``, which a user's module may have."""

    def _get_single_output_relevance(self, layer: nn.Module, output: Tensor) -> Any:
        uses = uses_of(layer).count
        if uses > 1:
            raise ValueError(
                f"LayerLRP gives one relevance for a layer, and {type(layer).__name__} is used {uses} times in one "
                "forward. Ask for the module around one of the uses."
            )
        rule: Any = layer.rule
        if not (rule.relevance_input if self.attribute_to_layer_input else rule.relevance_output):
            raise ValueError(f"No relevance reaches {type(layer).__name__}: the target's output does not depend on it.")
        return super()._get_single_output_relevance(layer, output)


class _CaptumDefaults(EpsilonComposite):
    """What Captum has no rule for: nothing else is touched."""

    def missing(self, model: nn.Module) -> Iterator[tuple[Layer, PropagationRule]]:
        """The layers that Captum would refuse, with rules."""
        for layer in find_layers(model, lambda name, module: False):
            known = type(layer.module) in SUPPORTED_LAYERS_WITH_RULES
            known |= type(layer.module) in SUPPORTED_NON_LINEAR_LAYERS or hasattr(layer.module, "rule")
            rule = None if known else self.rule(layer)
            if rule is not None:
                yield layer, rule


@contextlib.contextmanager
def _ruled(model: nn.Module, composite: Composite | None, asked: list[nn.Module] | None = None) -> Iterator[None]:
    """The network with all its rules; afterwards its own rules are back, which Captum deletes."""
    names = {module: name for name, module in model.named_modules()}
    _check_have_run(names)
    before = [(module, {k: vars(module)[k] for k in _STATE if k in vars(module)}) for module in names]
    try:
        with contextlib.ExitStack() as undo:
            if composite is not None:
                mapping = undo.enter_context(composite.context(model))
                for rule in mapping.values() if asked is None else ():
                    vars(rule)["keeps_relevance"] = False  # of a large network that would be all activations once more
            else:
                for layer, rule in _CaptumDefaults().missing(model):
                    undo.callback(attach(layer.module, layer.name, rule))
            for module in asked or []:
                if _is_passed_over(module):
                    rule = PassRule() if type(module) in SUPPORTED_NON_LINEAR_LAYERS else ObserveRule()
                    undo.callback(attach(module, names.get(module, ""), rule, whole=False))
            yield
    finally:
        for module, state in before:
            for key in _STATE:
                vars(module).pop(key, None)
            vars(module).update(state)


def _is_passed_over(module: nn.Module) -> bool:
    """Whether Captum keeps no relevance of a module: one with others inside, or an activation of its own table."""
    return not hasattr(module, "rule") and type(module) not in SUPPORTED_LAYERS_WITH_RULES


def _layers(model: nn.Module) -> list[nn.Module]:
    """The modules that have a rule, each once; the model itself where it is a single layer."""
    found = dict.fromkeys(_leaves(model))
    return list(found)


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    children = list(module.children())
    if not children:
        yield module
    for child in children:
        yield from _leaves(child)


def _check_composite(composite: Any) -> Composite | None:
    if composite is not None and not isinstance(composite, Composite):
        raise TypeError(
            f"composite= takes a composite such as EpsilonComposite(), got {composite!r}. "
            "For one layer's rule set layer.rule, or give a composite rules={name: rule}."
        )
    return composite


def _check_floating(inputs: Any) -> None:
    """Refuse inputs to which no gradient, and no relevance, can go.

    Raises:
        TypeError: There is one.
    """
    kinds = [x.dtype for x in leaves(inputs) if not x.is_floating_point()]
    if kinds:
        raise TypeError(
            f"LRP passes relevance back to its inputs, which are numbers of a floating dtype; got {kinds[0]}. Of token "
            "ids explain the embedding: captum.attr.configure_interpretable_embedding_layer(model, name) makes it the "
            "network's input. Give what is not explained as additional_forward_args."
        )


def _check_have_run(names: Mapping[nn.Module, str]) -> None:
    """Refuse lazy modules, which are of another class once they have run.

    Raises:
        ValueError: There is one.
    """
    lazy = next((module for module in names if isinstance(module, LazyModuleMixin)), None)
    if lazy is not None:
        raise ValueError(
            f"LRP passes relevance through weights, and {type(lazy).__name__} {names[lazy]!r} has none yet. "
            "Run the network once."
        )
