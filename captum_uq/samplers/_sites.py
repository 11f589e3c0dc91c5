"""Where in a network random numbers are drawn: its sites, found by running it.

A *scope* is one forward of the whole network; a *site* is a module whose own code draws random numbers; a *use*
is one call of a module within a scope. ``(site, use, position)`` names every random number of a network, whatever
the method that runs it.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from captum_uq._inside import own_class
from captum_uq._rng import generator
from captum_uq._trees import batch_size, leaves
from captum_uq.samplers._forward import around_forward
from captum_uq.samplers._random_calls import WAY_OUT, RandomCall, deliver, device_of, read
from captum_uq.samplers._random_mode import RandomMode, visible_dropout, visible_kernels
from captum_uq.samplers._repeated import RepeatedWork
from captum_uq.samplers.base import DrawError

Uses = dict[str, list[list[RandomCall]]]
"""For each module, for each of its uses, the random calls of its own code."""


def scope_key(forward_func: Callable[..., Any], args: Any, kwargs: Any) -> Hashable:
    """What a forward looks like: through the module or a function around it, the arguments' number of rows aside."""
    tensors = list(leaves((args, kwargs)))
    size = batch_size(tensors)
    shapes = tuple((*_row_shape(leaf, size), leaf.is_floating_point()) for leaf in tensors)
    return isinstance(forward_func, nn.Module), shapes


def _row_shape(leaf: Tensor, size: int) -> tuple[int, ...]:
    return (1, *leaf.shape[1:]) if leaf.dim() and leaf.shape[0] == size else tuple(leaf.shape)


def module_names(model: nn.Module) -> dict[str, nn.Module]:
    """The modules by name, where compiling a part of the network does not change a name.

    A compiled part stands behind its wrapper under the wrapper's own name, and comes after it.
    """
    names = ((name.split("."), module) for name, module in model.named_modules())
    return {".".join(part for part in parts if part != "_orig_mod"): module for parts, module in names}


class Recorder(RandomMode):
    """Writes down the random calls of a forward, for every module and scope.

    Args:
        model: The network.
        work: What was computed in an earlier forward on the same row, and need not be again.
    """

    def __init__(self, model: nn.Module, work: RepeatedWork) -> None:
        super().__init__()
        self.scopes: dict[Hashable, Uses] = {}
        self._model = model
        self._open: list[Uses] = []
        self._frames: list[tuple[str, list[RandomCall]]] = []
        self._rng = generator(0, "probe")
        self._work = work

    @property
    def place(self) -> str:
        """Name of the module whose own code runs."""
        return self._frames[-1][0] if self._frames else ""

    def record(self, run: Callable[[], object]) -> dict[Hashable, Uses]:
        """Run the network, and tell for each scope what it drew."""
        with ExitStack() as stack:
            for name, module in module_names(self._model).items():
                around = functools.partial(self.scope, module) if module is self._model else self._around(name)
                stack.callback(around_forward(module, around))
            with torch.no_grad(), visible_kernels(), visible_dropout(self._model), self:
                run()
        return self.scopes

    @contextlib.contextmanager
    def scope(self, forward_func: Callable[..., Any], args: Any, kwargs: Any) -> Iterator[None]:
        """A forward of the network."""
        self._open.append({})
        self.scopes[scope_key(forward_func, args, kwargs)] = self._open[-1]
        with self._site(""):
            yield
        self._open.pop()

    def _around(self, name: str) -> Callable[[Any, Any], AbstractContextManager[None]]:
        return lambda args, kwargs: self._site(name)

    @contextlib.contextmanager
    def _site(self, name: str) -> Iterator[None]:
        """A call of a module: random operations are its own until it calls another."""
        calls: list[RandomCall] = []
        if self._open:
            self._open[-1].setdefault(name, []).append(calls)
        self._frames.append((name, calls))
        yield
        self._frames.pop()

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of an operation that draws nothing."""
        return self._work(func, args, kwargs)

    def random(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Write the call down; give it a value of a generator of our own.

        Raises:
            DrawError: It shuffles rows.
        """
        name, calls = self._frames[-1] if self._frames else ("", [])
        call = read(func, args, kwargs, Place(self._model, name))
        if call.kind == "permutation" and call.shape == (1,):
            raise DrawError(
                f"One draw is one network for every row, but {Place(self._model, name)} shuffles the rows of a batch. "
                f"{WAY_OUT}"
            )
        calls.append(call)
        return deliver(func, args, kwargs, call.value(call.sample(self._rng).to(device_of(args, kwargs))))


class Place(NamedTuple):
    """A module as an error names it; looked up only when the error is written."""

    model: nn.Module
    name: str

    def __str__(self) -> str:
        kind = own_class(module_names(self.model).get(self.name, self.model)).__name__
        return f"{kind} {self.name!r}" if self.name else f"the forward of {kind}"


def describe(model: nn.Module, name: str) -> str:
    """A module as an error names it."""
    return str(Place(model, name))


def drawing(scopes: dict[Hashable, Uses]) -> set[str]:
    """The sites: names of the modules that draw something in some scope."""
    return {name for uses in scopes.values() for name, calls in uses.items() if any(calls)}


def random_calls(scopes: dict[Hashable, Uses]) -> Iterator[RandomCall]:
    """Every random call of every scope."""
    for uses in scopes.values():
        for calls in uses.values():
            yield from itertools.chain(*calls)
