"""A network whose random numbers are recorded once and replayed in every draw."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from captum_uq._model_state import ModelState, preserved
from captum_uq._tensors import times_written
from captum_uq._trees import batch_size, first_row, leaves, tree_map
from captum_uq.samplers._folded import FoldedDraws
from captum_uq.samplers._held import HeldDraw
from captum_uq.samplers._masks import is_mask, is_masking
from captum_uq.samplers._probed import (
    is_torchs,
    nothing_drawn,
    of_eval_mode,
    of_whole_batch,
    other_input,
    require_one_distribution,
    rows_differ,
)
from captum_uq.samplers._python_random import no_python_randomness
from captum_uq.samplers._random_calls import WAY_OUT
from captum_uq.samplers._rates import function_rates, override_rates
from captum_uq.samplers._relevance import is_plain, pass_relevance
from captum_uq.samplers._repeated import RepeatedWork
from captum_uq.samplers._sites import Recorder, Uses, describe, drawing, module_names, random_calls, scope_key
from captum_uq.samplers.base import BoundSampler, DrawError, NothingToDrawError, Rows, evaluation_mode

_ROW_CHECKS = 4
"""Draws in which two equal rows are compared: in one alone, a small mask may treat them alike by chance."""


class ReplayedNetwork(BoundSampler):
    """The sites of one network, and its draws.

    Args:
        model: The network.
        active: Names of the modules that may be in train mode.
        rate: Rate of every dropout; None to keep the network's own.
    """

    def __init__(self, model: nn.Module, active: set[str], rate: float | None) -> None:
        self.model = model
        self.rate = rate
        self.names = module_names(model)
        self.masking = {name for name, module in self.names.items() if is_masking(module)}
        self.scopes: dict[Hashable, Uses] = {}
        self.current: Any = None  # the recorder or the draw that answers a scope opened by a function
        self.ambiguous = False
        self.writes_inputs = False
        self._active = active
        self._checked: set[Hashable] = set()
        self._pristine = ModelState(model)

    @property
    def sites(self) -> set[str]:  # type: ignore[override]  # known only after the probe
        """Names of the modules that draw; none before a probe."""
        return drawing(self.scopes)

    @property
    def hidden_sites(self) -> list[str]:  # type: ignore[override]  # known only after the probe
        """Modules that draw in their own code, beside the modules or parameters they have."""
        return [describe(self.model, name) for name in sorted(self.sites) if not is_plain(self.names[name])]

    def watched(self) -> set[str]:
        """Names of the modules that draw, or that the probe did not see run; none before a probe."""
        seen = {name for uses in self.scopes.values() for name in uses}
        return self.sites | (self._active - seen) if self.scopes else set()

    def draw(self, index: int, seed: int) -> AbstractContextManager[object]:
        """The network as draw ``index``, in place."""
        return HeldDraw(self, index, seed)

    def folded(self, indices: Sequence[int], seed: int, rows: Rows) -> AbstractContextManager[object]:
        """The network as many draws at once, in place."""
        return FoldedDraws(self, indices, seed, rows)

    @contextlib.contextmanager
    def undrawn(self) -> Iterator[None]:
        """The sites that Captum's LRP has no rule for pass relevance on, as they do in a draw."""
        with contextlib.ExitStack() as stack:
            for name in self.sites:
                if type(self.names[name]) is not nn.Dropout:
                    stack.callback(pass_relevance(self.names[name]))
            yield

    def scope(self, forward_func: Callable[..., Any]) -> Callable[..., Any]:
        """``forward_func``, telling the draw when it begins and ends."""

        @functools.wraps(forward_func)
        def scoped(*args: Any, **kwargs: Any) -> Any:
            handler = self.current
            if handler is None:
                return forward_func(*args, **kwargs)
            with handler.scope(scoped, args, kwargs) as changed:
                args, kwargs = changed or (args, kwargs)
                return forward_func(*args, **kwargs)

        return scoped

    def probe(self, forward_func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Find the sites and what they draw, by running the network on one row.

        Raises:
            NothingToDrawError: Nothing random was found.
        """
        whole, (args, kwargs), work = (args, kwargs), first_row((args, kwargs)), RepeatedWork()
        with self._bare():
            with no_python_randomness(self.model):
                scopes = self._first_record(work, forward_func, args, kwargs, whole)
            found = drawing(scopes)
            if not all(is_torchs(self.names[name]) for name in self._active - found):
                work.again()  # without the others in train mode, in which they may have called other modules
                scopes = self._record(found, work, forward_func, args, kwargs)
            if not drawing(scopes | self.scopes):
                raise NothingToDrawError(self._nothing())
            if any(call.by_element for call in random_calls(scopes)):
                others = tree_map(other_input, (args, kwargs))
                require_one_distribution(self.model, scopes, self._record(found, RepeatedWork(), forward_func, *others))
        self.scopes |= scopes

    def prepare(self, forward_func: Callable[..., Any], args: Any, kwargs: Any) -> Uses:
        """The scope that begins with these arguments, made sure that its rows meet the same network."""
        key = scope_key(forward_func, args, kwargs)
        if key not in self.scopes:
            self.probe(forward_func, args, kwargs)
        if key not in self._checked and batch_size(leaves((args, kwargs))) > 1:
            self._checked.add(key)
            if self._only_masks(self.scopes[key]):
                return self.scopes[key]
            self._check_rows(forward_func, *first_row((args, kwargs), copies=2))
        return self.scopes[key]

    def _only_masks(self, uses: Uses) -> bool:
        """Whether all that is drawn are masks that any number of rows share: then no row can meet another network."""
        return all(
            not any(calls) or (name in self.masking and all(is_mask(each) for each in calls))
            for name, calls in uses.items()
        )

    def _first_record(
        self, work: RepeatedWork, forward_func: Callable[..., Any], args: Any, kwargs: Any, whole: tuple[Any, Any]
    ) -> dict[Hashable, Uses]:
        """The random calls of one forward with all modules in train mode that may be.

        Raises:
            DrawError: The network runs in eval mode alone, or on the whole batch alone.
        """
        try:
            return self._record(self._active, work, forward_func, args, kwargs)
        except DrawError:
            raise
        except Exception as error:
            runs = self._runs(forward_func, args, kwargs)
            if not runs and self._runs(forward_func, *tree_map(torch.clone, whole)):
                raise DrawError(of_whole_batch(self.model, error)) from error
            if not runs or not self._active:
                raise
            raise DrawError(of_eval_mode(self.model, error)) from error

    def _runs(self, forward_func: Callable[..., Any], args: Any, kwargs: Any) -> bool:
        """Whether the network runs in eval mode."""
        evaluation_mode(self.model)
        with torch.no_grad(), contextlib.suppress(Exception):
            forward_func(*args, **kwargs)
            return True
        return False

    def _record(
        self, training: set[str], work: RepeatedWork, forward_func: Callable[..., Any], args: Any, kwargs: Any
    ) -> dict[Hashable, Uses]:
        """The random calls of one forward with these modules in train mode."""
        evaluation_mode(self.model)
        for name in training:
            self.names[name].training = True
        undo, recorder = override_rates([self.names[name] for name in training], self.rate), Recorder(self.model, work)
        before, self.current = self.current, recorder
        args, kwargs = tree_map(torch.clone, (args, kwargs))
        versions = [times_written(leaf) for leaf in leaves((args, kwargs))]
        try:
            with function_rates(self.rate, lambda: recorder.place in training):
                return recorder.record(lambda: forward_func(*args, **kwargs))
        finally:
            self.writes_inputs |= None in versions or versions != [times_written(x) for x in leaves((args, kwargs))]
            self.current = before
            undo()

    def _check_rows(self, forward_func: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """Run two equal rows: the same network must give them the same output.

        Raises:
            DrawError: It does not.
        """
        for index in range(_ROW_CHECKS):
            self.ambiguous = False
            with self._bare(), torch.no_grad():
                evaluation_mode(self.model)
                with HeldDraw(self, index, 0):
                    output = forward_func(*args, **kwargs)
            if not self.ambiguous:
                return
            if rows_differ(output):
                raise DrawError(
                    f"One draw is one network for every row, but a random tensor of {type(self.model).__name__} does "
                    f"not keep the rows of a batch together. {WAY_OUT}"
                )

    @contextlib.contextmanager
    def _bare(self) -> Iterator[None]:
        """The model as it was before any method or draw touched it, for the length of a block."""
        now = ModelState(self.model)
        try:
            self._pristine.restore()
            with preserved(self.model, buffers=True):
                yield
        finally:
            now.restore()

    def _nothing(self) -> str:
        every = len(self._active) == len(self.names)
        return nothing_drawn(self.model, [] if every else sorted(self._active))
