"""One draw held in place: every site of the network gives, at every forward, the values of this draw."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from captum_uq._rng import generator
from captum_uq._trees import tree_map
from captum_uq.samplers._forward import Forward, around_forward, replace_forward
from captum_uq.samplers._masks import fits_mask, scaled_mask
from captum_uq.samplers._random_calls import RandomCall, deliver, device_of, read, tile
from captum_uq.samplers._random_mode import RandomMode, visible_dropout, visible_kernels
from captum_uq.samplers._rates import function_rates, override_rates
from captum_uq.samplers._relevance import pass_relevance
from captum_uq.samplers._sites import Place, Uses
from captum_uq.samplers.base import DrawError


class Network(Protocol):
    """What a held draw asks of the network it is held in."""

    model: nn.Module
    rate: float | None
    names: dict[str, nn.Module]
    masking: set[str]
    scopes: dict[Hashable, Uses]
    current: Any
    ambiguous: bool
    writes_inputs: bool

    def prepare(self, forward_func: Callable[..., Any], args: Any, kwargs: Any) -> Uses:
        """The scope that begins with these arguments."""

    def watched(self) -> set[str]:
        """Names of the modules that draw, or that the probe did not see run."""


class HeldDraw:
    """A context inside which the model is one fixed network.

    It holds no generator-based context between forwards, so `Sampler.network` can enter it for good.

    Args:
        network: The network with its sites.
        index: Which draw.
        seed: Seed of the draws.
    """

    def __init__(self, network: Network, index: int, seed: int) -> None:
        self._network = network
        self._path = (seed, index)
        self._watched: set[str] = set()
        self._known_scopes = -1
        self._variates: dict[Hashable, Tensor] = {}
        self._scopes: list[_Scope] = []
        self._last: Uses = {}
        self._undo = ExitStack()

    def __enter__(self) -> HeldDraw:
        network = self._network
        self._undo.callback(setattr, network, "current", network.current)
        network.current = self
        self._undo.callback(around_forward(network.model, functools.partial(self.scope, network.model)))
        self._watch()
        return self

    def __exit__(self, *exception: object) -> None:
        self._undo.close()

    def _watch(self) -> None:
        """Be there when a module runs that draws, or of which it is not known."""
        if self._known_scopes == len(self._network.scopes):
            return
        self._known_scopes = len(self._network.scopes)
        for name in sorted(self._network.watched() - self._watched):
            self._undo.callback(override_rates([self._network.names[name]], self._network.rate))
            if name:
                self._be_at(name)
            self._watched.add(name)

    def _be_at(self, name: str) -> None:
        """Answer for a module from now on."""
        module = self._network.names[name]
        if name in self._network.masking:
            self._undo.callback(replace_forward(module, lambda inner: functools.partial(self._masked, name, inner)))
        else:
            self._undo.callback(around_forward(module, functools.partial(self._around, name)))
        self._undo.callback(pass_relevance(module))

    @contextlib.contextmanager
    def scope(self, forward_func: Callable[..., Any], args: Any, kwargs: Any) -> Iterator[tuple[Any, Any] | None]:
        """A forward of the network: its modules' uses are counted from here.

        Yields:
            The arguments on memory of their own, where the network writes into them when it draws.
        """
        scope = _Scope(self._network.prepare(forward_func, args, kwargs))
        self._watch()
        self._last = scope.uses
        self._scopes.append(scope)
        try:
            root = self._site("", *self._calls("")) if any(scope.uses[""]) else contextlib.nullcontext()
            with visible_kernels(), root:
                yield tree_map(torch.clone, (args, kwargs)) if self._network.writes_inputs else None
        finally:
            self._scopes.pop()
        for name, calls in scope.uses.items():
            if name and any(calls) and scope.counts[name] != len(calls):
                raise self._control_flow(name, f"was called {scope.counts[name]} times, in the probe {len(calls)}")

    def _around(self, name: str, args: Any, kwargs: Any) -> AbstractContextManager[Any]:
        return self._site(name, *self._calls(name))

    def _masked(self, name: str, inner: Forward, input: Tensor) -> Tensor:
        """A plain dropout module multiplies by its mask: no operation need be watched for."""
        use, calls = self._calls(name)
        if not fits_mask(calls, input):
            with self._site(name, use, calls):
                return inner(input)  # type: ignore[no-any-return]
        return self._apply_mask(input, name, use, calls[0])

    def _apply_mask(self, activations: Tensor, name: str, use: int, call: RandomCall) -> Tensor:
        key = (name, use, call.shape, activations.dtype, activations.device)
        if key not in self._variates:
            self._variates[key] = scaled_mask(call, self.variate(name, use, 0, call, activations.device), activations)
        return activations * self._variates[key]

    @contextlib.contextmanager
    def _site(self, name: str, use: int, calls: list[RandomCall]) -> Iterator[None]:
        """One use of a site: in train mode, its random operations answered by the draw."""
        module = self._network.model if not name else self._network.names[name]
        replay = Replay(self, name, use, calls)
        before, module.training = module.training, True
        try:
            with visible_dropout(module), function_rates(self._network.rate), replay:
                yield
        finally:
            module.training = before
        if replay.position != len(replay.calls):
            expected = len(replay.calls)
            raise self._control_flow(name, f"drew {replay.position} random tensors, in the probe {expected}")

    def _calls(self, name: str) -> tuple[int, list[RandomCall]]:
        """Which use of a module this is, and its random calls."""
        if not self._scopes:  # a checkpointed part runs again in the backward pass; a part is called by itself
            recorded = self._known(name)
            if len(recorded) > 1:
                raise self._control_flow(name, "is used several times and ran outside the network's forward")
            return 0, recorded[0]
        scope = self._scopes[-1]
        recorded, use = scope.uses.get(name, []), scope.counts[name]
        scope.counts[name] += 1
        if recorded and use >= len(recorded):
            raise self._control_flow(name, f"was called more often than in the probe ({len(recorded)} times)")
        return use, recorded[use] if recorded else []

    def _known(self, name: str) -> list[list[RandomCall]]:
        """The uses of a module in the last scope, or in one that the probe saw."""
        scopes = (self._last, *self._network.scopes.values())
        return next((uses[name] for uses in scopes if name in uses), [[]])

    def variate(self, name: str, use: int, position: int, call: RandomCall, device: torch.device) -> Tensor:
        """The standard variate of one random call in this draw, for one row."""
        key = (name, use, position, call.shape, device)
        if key not in self._variates:
            rng = generator(*self._path, name, use, position)
            self._variates[key] = call.sample(rng).to(device)
        return self._variates[key]

    def random(self, replay: Replay, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The value of a random operation in this draw.

        Raises:
            DrawError: It is not what the probe saw.
        """
        where = Place(self._network.model, replay.name)
        call = read(func, args, kwargs, where)
        if replay.position >= len(replay.calls):
            raise self._control_flow(replay.name, "drew more random tensors than in the probe")
        recorded = replay.calls[replay.position]
        if not call.same_distribution(recorded):
            raise DrawError(
                f"One draw is one network, but {where} draws from a distribution that changes with the input. "
                "Leave the module out (modules=) or give it a fixed rate."
            )
        variate = self._variate(replay, call, recorded, device_of(args, kwargs))
        replay.position += 1
        return deliver(func, args, kwargs, call.value(variate))

    def _variate(self, replay: Replay, call: RandomCall, recorded: RandomCall, device: torch.device) -> Tensor:
        """The standard variate of a random call for every row."""
        row = self.variate(replay.name, replay.use, replay.position, recorded, device)
        tiled = tile(row, call.shape, Place(self._network.model, replay.name))
        self._network.ambiguous |= _rows_are_mixed(call.shape, recorded.shape)
        return tiled

    def _control_flow(self, name: str, what: str) -> DrawError:
        return DrawError(
            f"One draw is one network, but {Place(self._network.model, name)} {what}: control flow changes the "
            "number of random calls with the input. Leave the module out (modules=), or draw unconditionally."
        )


class _Scope:
    """One forward of the network."""

    def __init__(self, uses: Uses) -> None:
        self.uses = uses
        self.counts: Counter[str] = Counter()


class Replay(RandomMode):
    """Answers the random operations of one use of a site."""

    def __init__(self, draw: HeldDraw, name: str, use: int, calls: list[RandomCall]) -> None:
        super().__init__()
        self.draw, self.name, self.use, self.calls = draw, name, use, calls
        self.position = 0

    def random(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.draw.random(self, func, args, kwargs)


def _rows_are_mixed(shape: tuple[int, ...], row: tuple[int, ...]) -> bool:
    """Whether the dimension that grew held more than the rows, so that their order must be checked."""
    return any(a != b and b > 1 for a, b in zip(shape, row, strict=True))
