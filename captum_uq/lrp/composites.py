"""Composites: which layer of a network takes which rule."""

from __future__ import annotations

import contextlib
import copy
import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from captum_uq._captum import PropagationRule
from captum_uq._inside import own_class
from captum_uq._model_state import preserved_gradients
from captum_uq.lrp._attach import attach, own_rule
from captum_uq.lrp._layers import (
    ADDITION,
    AVERAGE_POOL,
    BATCH_NORM,
    CONVOLUTION,
    LINEAR,
    MAX_POOL,
    PASS,
    Layer,
    find_layers,
)
from captum_uq.lrp._no_rule import NoRule
from captum_uq.lrp._shares import TINY
from captum_uq.lrp.base import LayerRule
from captum_uq.lrp.batchnorm import BatchNormRule
from captum_uq.lrp.passing import PassRule
from captum_uq.lrp.pooling import AveragePoolRule
from captum_uq.lrp.residual import Functions
from captum_uq.lrp.rules import EpsilonRule
from captum_uq.samplers._forward import around_forward

Rules = Mapping[str | type[nn.Module], PropagationRule]
"""Rules by name, glob pattern of names, or type of module."""


class RuleMapping(dict[str, PropagationRule]):
    """The rule of each layer by the layer's name; ``print(mapping)`` shows it as a table.

    Args:
        layers: The layers.
        rules: Their rules, in the same order.
        title: The first line of the table.
    """

    def __init__(self, layers: list[Layer], rules: list[PropagationRule], title: str) -> None:
        super().__init__({layer.name: rule for layer, rule in zip(layers, rules, strict=True)})
        self.layers = layers
        self._title = title

    def __str__(self) -> str:
        rows = [(name, own_class(layer.module).__name__) for name, layer in zip(self, self.layers, strict=True)]
        wide = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
        lines = (
            f"  {n:<{wide[0]}}  {k:<{wide[1]}}  {rule!r}" for (n, k), rule in zip(rows, self.values(), strict=True)
        )
        return "\n".join((self._title, *lines))


class Composite(ABC):
    """Gives each layer of a network its rule of LRP.

    A rule is looked for in this order: the user's own ``layer.rule``; ``rules`` by name, then by type; what the
    composite says for linear layers; for other layers what conserves relevance: `PassRule` for element-wise
    activations, dropout and reshaping, `EpsilonRule` for average-pools and additions, ``max_pool`` for max-pools,
    `BatchNormRule`. Additions that a ``forward`` writes as ``a + b`` are found while the network runs. A layer
    without a rule raises once relevance reaches it.

    Args:
        rules: Rules of the user's own, by name (or glob pattern) or by type; a module with others inside becomes one
            layer.
        max_pool: ``"winner"``: relevance of a max-pool goes to the largest value; ``"average"``: to all, in proportion.
        addition: Rule of the sum of two activations; None for the composite's own.

    Raises:
        ValueError: ``max_pool`` is unknown.
        TypeError: A rule is not a rule.

    Example:
        >>> from captum_uq.lrp import EpsilonPlus
        >>> composite = EpsilonPlus()
        >>> print(composite.mapping(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))))
        EpsilonPlus() on Sequential
          0  Conv2d   ZPlusRule()
          1  ReLU     PassRule()
          2  Flatten  PassRule()
          3  Linear   EpsilonRule(1e-09)
    """

    def __init__(
        self, *, rules: Rules | None = None, max_pool: str = "winner", addition: LayerRule | None = None
    ) -> None:
        if max_pool not in ("winner", "average"):
            raise ValueError(f"max_pool is 'winner' or 'average', got {max_pool!r}.")
        for key, rule in (rules or {}).items():
            if not isinstance(rule, PropagationRule):
                raise TypeError(f"rules={{{key!r}: ...}} takes a rule such as ZPlusRule(), got {rule!r}.")
        self.rules = dict(rules or {})
        self.max_pool = max_pool
        self.addition = EpsilonRule(self.tiny) if addition is None else addition

    tiny: float = TINY
    """Epsilon of pools and additions, which only keeps 0/0 at 0."""

    @abstractmethod
    def linear_rule(self, layer: Layer) -> PropagationRule:
        """The rule of a linear or convolutional layer."""

    def rule(self, layer: Layer) -> PropagationRule | None:
        """The rule of a layer by its kind; None where there is none."""
        if layer.kind in (LINEAR, CONVOLUTION):
            return self.linear_rule(layer)
        if layer.kind == MAX_POOL:
            return self._max_pool_rule()
        if layer.kind == ADDITION:
            return self.addition
        others = {AVERAGE_POOL: lambda: EpsilonRule(self.tiny), BATCH_NORM: BatchNormRule, PASS: PassRule}
        make = others.get(layer.kind or "")
        return None if make is None else make()

    def mapping(self, model: nn.Module) -> RuleMapping:
        """The rule of every layer of a network.

        Args:
            model: The network.

        Returns:
            The rules by name, in the order of registration; print it to see them. A layer without one has ``no rule``.

        Raises:
            TypeError: The network is TorchScript.
            ValueError: A name in ``rules`` matches nothing.
        """  # noqa: DOC502
        if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
            raise TypeError(
                "LRP passes relevance through modules that run as written. Use the network before TorchScript."
            )
        self._check_names(model)
        layers = find_layers(model, lambda name, module: self._given(name, module) is not None)
        rules = [self._rule_of(layer) for layer in layers]
        return RuleMapping(layers, rules, f"{self!r} on {type(model).__name__}")

    @contextlib.contextmanager
    def context(self, model: nn.Module) -> Iterator[RuleMapping]:
        """The network with its rules, for the length of a ``with`` block, also for Captum's own LRP.

        Args:
            model: The network. It must be in eval mode where it has BatchNorm.

        Yields:
            The rules. On leaving, by return or by exception, everything is undone.

        Example:
            >>> import torch
            >>> from captum.attr import LRP
            >>> from captum_uq.lrp import EpsilonComposite
            >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
            >>> with EpsilonComposite().context(model):
            ...     LRP(model).attribute(torch.ones(1, 2, 2, requires_grad=True), target=0).shape
            torch.Size([1, 2, 2])
        """
        mapping = self.mapping(model)
        functions = Functions(self.addition, self._max_pool_rule())
        with contextlib.ExitStack() as undo:
            for layer, rule in zip(mapping.layers, mapping.values(), strict=True):
                undo.callback(attach(layer.module, layer.name, rule))
            ruled = {id(layer.module) for layer in mapping.layers}
            for name, module in model.named_modules():
                where = f"{own_class(module).__name__} {name!r}" if name else own_class(module).__name__
                undo.callback(functions.watch(module, where, id(module) in ruled))
            undo.callback(around_forward(model, functions.around))
            undo.enter_context(_constants(list(model.parameters())))
            yield mapping

    def _max_pool_rule(self) -> LayerRule:
        return AveragePoolRule() if self.max_pool == "average" else EpsilonRule(self.tiny)

    def _given(self, name: str, module: nn.Module) -> PropagationRule | None:
        """The user's own rule for a module, on it or in ``rules``: by name first, then by type."""
        if own_rule(module) is not None:
            return own_rule(module)
        by_name = [r for key, r in self.rules.items() if isinstance(key, str) and fnmatch.fnmatchcase(name, key)]
        by_type = [r for key, r in self.rules.items() if isinstance(key, type) and isinstance(module, key)]
        return next(iter((*by_name, *by_type)), None)

    def _rule_of(self, layer: Layer) -> PropagationRule:
        """The rule of one layer, its own: what it leaves behind for Captum's LayerLRP is this layer's."""
        return copy.copy(
            self._given(layer.name, layer.module)
            or self.rule(layer)
            or NoRule(
                f"{type(self).__name__} has no rule for {layer}. Give it one by name or by type, "
                f"rules={{{layer.name!r}: ...}}: PassRule() if it acts on each element by itself, EpsilonRule() if it "
                "is linear in all its inputs together, not in each for itself. A softmax at the end is best left out: "
                "explain the logits."
            )
        )

    def _check_names(self, model: nn.Module) -> None:
        names = [name for name, _ in model.named_modules()]
        for key in self.rules:
            if isinstance(key, str) and not fnmatch.filter(names, key):
                raise ValueError(f"rules={{{key!r}: ...}} matches no module. The names are {names[1:]}.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._options())})"

    def _options(self) -> list[str]:
        return [f"max_pool={self.max_pool!r}"] if self.max_pool != "winner" else []


@contextlib.contextmanager
def _constants(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Parameters, and what a forward makes of them, depend on no input: relevance passes through what does."""
    with preserved_gradients(parameters):
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
