"""Several sources of uncertainty at once."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from torch import nn

from captum_uq._rng import generator
from captum_uq.samplers._members import StoredNetworks
from captum_uq.samplers._weights import BoundWeights
from captum_uq.samplers.base import BoundSampler, Rows, Sampler


class Compose(StoredNetworks):
    """Draws of a network by several samplers together: dropout within each member, weight noise plus input noise.

    Within a draw the samplers work in turn, each on the network that those before it left: `NoiseGrad` after
    `Ensemble` moves the member's weights. Samplers without end give their draw ``t`` to draw ``t``. Those that have
    a number of draws go through every combination in turn and start again: with an ensemble of 5 and dropout, draw
    7 is member 2 under dropout masks 7, and numbers of draws that are multiples of 5 weigh the members equally.

    Args:
        samplers: At least two samplers.

    Raises:
        TypeError: One is not a sampler.
        ValueError: There are fewer than two, or they are made for different models.

    Example:
        >>> from captum_uq.samplers import Ensemble, MCDropout
        >>> members = [nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1)) for _ in range(5)]
        >>> Compose(Ensemble(members), MCDropout())
        Compose(Ensemble(5 members), MCDropout())
    """

    def __init__(self, *samplers: Sampler) -> None:
        wrong = next((sampler for sampler in samplers if not isinstance(sampler, Sampler)), None)
        if wrong is not None:
            raise TypeError(f"Compose takes samplers, as in Compose(Ensemble(nets), MCDropout()), got {wrong!r}.")
        if len(samplers) < 2:
            raise ValueError(f"Compose takes at least two samplers, got {len(samplers)}. One needs no Compose.")
        models = list(dict.fromkeys(sampler.model for sampler in samplers if sampler.model is not None))
        if len(models) > 1:
            raise ValueError(f"The samplers of a Compose draw from one model, got {len(models)}. Give it to one only.")
        super().__init__(models[0] if models else None)
        self.samplers = samplers
        counts = [sampler.max_draws for sampler in samplers]
        finite = math.prod(count for count in counts if count is not None)
        self.max_draws = None if None in counts else finite
        self.default_draws = finite if None not in counts else -(-type(self).default_draws // finite) * finite
        self.deterministic = all(sampler.deterministic for sampler in samplers)  # type: ignore[misc]
        perturbs = any(sampler.kind == "perturbation" for sampler in samplers)
        self.kind = "perturbation" if perturbs else "posterior"  # type: ignore[misc]  # a fact of these samplers

    def bind(self, model: nn.Module) -> BoundSampler:
        """All of them at work on ``model``."""
        return _BoundTogether(self.samplers, [sampler.bind(model) for sampler in self.samplers])

    def _model(self, model: nn.Module | None) -> nn.Module:
        """The model of whichever sampler knows one."""
        for sampler in self.samplers if model is None and self.model is None else ():
            try:
                return sampler._model(None)
            except ValueError:
                continue
        return super()._model(model)

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.samplers))})"


class _BoundTogether(BoundSampler):
    """Bound samplers that draw in turn."""

    def __init__(self, samplers: Sequence[Sampler], parts: Sequence[BoundSampler]) -> None:
        self._counts = [sampler.max_draws for sampler in samplers]
        kinds = [type(sampler) for sampler in samplers]
        self._repeats = [kinds[:k].count(kind) for k, kind in enumerate(kinds)]
        self._parts = parts

    @property
    def hidden_sites(self) -> list[str]:  # type: ignore[override]  # known only after the probe
        """Those of all parts."""
        return [site for part in self._parts for site in part.hidden_sites]

    def probe(self, forward_func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Show the call to all parts."""
        for part in self._parts:
            part.probe(forward_func, args, kwargs)

    def draw(self, index: int, seed: int) -> AbstractContextManager[object]:
        """All draws of this index, one inside the other."""
        places = zip(self._parts, self._indices(index), self._repeats, strict=True)
        return _Nested([functools.partial(part.draw, own, _reseeded(seed, repeat)) for part, own, repeat in places])

    def folded(self, indices: Sequence[int], seed: int, rows: Rows) -> AbstractContextManager[object] | None:
        """The network of many draws, of all parts; None where one part does not fold.

        Weights that are drawn from those that another part has put there do not.
        """
        if sum(isinstance(part, BoundWeights) for part in self._parts) > 1:
            return None
        own = zip(*map(self._indices, indices), strict=True)
        places = zip(self._parts, own, self._repeats, strict=True)
        contexts = [part.folded(of_part, _reseeded(seed, repeat), rows) for part, of_part, repeat in places]
        folded = [context for context in contexts if context is not None]
        if len(folded) < len(contexts):
            return None
        return _Nested([functools.partial(_itself, context) for context in folded])

    def undrawn(self) -> AbstractContextManager[object]:
        """The network as it stands, for all parts."""
        return _Nested([part.undrawn for part in self._parts])

    def scope(self, forward_func: Callable[..., Any]) -> Callable[..., Any]:
        """``forward_func`` in the scopes of all parts."""
        for part in self._parts:
            forward_func = part.scope(forward_func)
        return forward_func

    def _indices(self, index: int) -> list[int]:
        """The draw of each part: finite ones count through their combinations, the first fastest."""
        indices, rest = [], index
        for count in self._counts:
            indices.append(index if count is None else rest % count)
            rest = rest if count is None else rest // count
        return indices


def _reseeded(seed: int, repeat: int) -> int:
    """Two samplers of one kind draw independently; the first draws what it draws alone."""
    return seed if not repeat else int(generator(seed, "Compose", repeat).integers(2**63))


def _itself(context: AbstractContextManager[object]) -> AbstractContextManager[object]:
    return context


class _Nested(AbstractContextManager[None]):
    """Contexts entered one inside the other, made when their turn comes."""

    def __init__(self, contexts: Sequence[Callable[[], AbstractContextManager[object]]]) -> None:
        self._contexts = contexts
        self._stack = ExitStack()

    def __enter__(self) -> None:
        with ExitStack() as stack:
            for context in self._contexts:
                stack.enter_context(context())
            self._stack = stack.pop_all()

    def __exit__(self, *exception: object) -> None:
        self._stack.close()
