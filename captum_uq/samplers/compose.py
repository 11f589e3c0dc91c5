"""Several sources of uncertainty at once."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import nn

from captum_uq._rng import generator
from captum_uq.samplers._sites import describe
from captum_uq.samplers._weights import BoundNoise, BoundWeights, SwappedWeights
from captum_uq.samplers.base import BoundSampler, DrawError, Rows, Sampler


class Compose(Sampler):
    """Draws of a network by several samplers together: dropout within each member, weight noise plus input noise.

    Within a draw the samplers work in turn, each on the network that those before it left: `NoiseGrad` after
    `Ensemble` moves the member's weights. Samplers without end give their draw ``t`` to draw ``t``. Those that have
    a number of draws go through every combination in turn and start again: with an ensemble of 5 and dropout, draw
    7 is member 2 under dropout masks 7, and numbers of draws that are multiples of 5 weigh the members equally.
    Samplers of one kind draw independently of each other, those of a Compose within this one too; two of dropout have
    modules of their own (``modules=``). Stored weights (`Ensemble`, `WeightSamples`, `SWAG`, `Laplace`) come before
    noise on them, which they would replace.

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
        """All of them at work on ``model``.

        Raises:
            ValueError: One gives weights of its own to tensors that one before it has drawn.
        """  # noqa: DOC502 -- raised by the helper
        samplers = self._each()
        parts = [sampler.bind(model) for sampler in samplers]
        _refuse_lost_draws(samplers, parts)
        return _BoundTogether(model, samplers, parts, self._indices)

    def _each(self) -> list[Sampler]:
        """The samplers, those of a Compose among them one by one."""
        return [one for it in self.samplers for one in (it._each() if isinstance(it, Compose) else [it])]

    def _indices(self, index: int) -> list[int]:
        """The draw of each sampler: finite ones count through their combinations, the first fastest."""
        indices, rest = list[int](), index
        for sampler in self.samplers:
            count = sampler.max_draws
            own = index if count is None else rest % count
            rest = rest if count is None else rest // count
            indices += sampler._indices(own) if isinstance(sampler, Compose) else [own]
        return indices

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
    """Bound samplers that draw in turn.

    Args:
        model: The network.
        samplers: The samplers.
        parts: They at work on it.
        indices: Tells which draw each is at.
    """

    def __init__(
        self,
        model: nn.Module,
        samplers: Sequence[Sampler],
        parts: Sequence[BoundSampler],
        indices: Callable[[int], list[int]],
    ) -> None:
        self._model, self._samplers, self._parts, self._indices = model, samplers, parts, indices
        self._repeats = _repeats(samplers)

    @property
    def hidden_sites(self) -> list[str]:  # type: ignore[override]  # known only after the probe
        """Those of all parts."""
        return [site for part in self._parts for site in part.hidden_sites]

    def probe(self, forward_func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Show the call to all parts.

        Raises:
            DrawError: Two of them would hold the random numbers of one module.
        """
        taken = dict[str, Sampler]()
        for sampler, part in zip(self._samplers, self._parts, strict=True):
            part.probe(forward_func, args, kwargs)
            both = sorted(taken.keys() & part.sites)
            if both:
                raise DrawError(
                    f"Within a Compose one sampler holds what a module draws, but both {taken[both[0]]!r} and "
                    f"{sampler!r} hold {describe(self._model, both[0])}. Give each modules of its own (modules=)."
                )
            taken |= dict.fromkeys(part.sites, sampler)

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


def _repeats(samplers: Sequence[Sampler]) -> list[int]:
    """For each sampler a number that no other has whose random numbers bear the same name."""
    kinds, taken = [type(sampler) for sampler in samplers], list[tuple[object, int]]()
    for k, sampler in enumerate(samplers):
        name, repeat = _stream(sampler), kinds[:k].count(kinds[k])
        while (name, repeat) in taken:
            repeat += 1
        taken.append((name, repeat))
    return [repeat for _, repeat in taken]


def _stream(sampler: Sampler) -> object:
    """What a sampler's random numbers are named after: its class, or the one that this derives from."""
    kinds = [kind for kind in type(sampler).__mro__ if issubclass(kind, Sampler) and not inspect.isabstract(kind)]
    return getattr(sampler, "stream", kinds[-1])


def _refuse_lost_draws(samplers: Sequence[Sampler], parts: Sequence[BoundSampler]) -> None:
    """Refuse weights that take the place of drawn ones: of those draws nothing would be left, nor would it show.

    Raises:
        ValueError: A sampler gives values to tensors that one before it has drawn, whatever these hold.
    """
    for k, part in enumerate(parts):
        if isinstance(part, BoundNoise) or not isinstance(part, BoundWeights):  # noise is on what is there
            continue
        for earlier, sampler in zip(parts[:k], samplers[:k], strict=True):
            if lost := _replaced(part, earlier.weights(0, 0) or ()):
                raise ValueError(
                    "Within a Compose each sampler works on the network that those before it left, but "
                    f"{samplers[k]!r} replaces {lost[0]}, which {sampler!r} draws before it: those draws would be "
                    f"lost. Put what replaces weights first, as in Compose({samplers[k]!r}, {sampler!r}), and of two "
                    "that do take one."
                )


def _replaced(part: BoundWeights, drawn: Iterable[str]) -> list[str]:
    """Those of some tensors to which a sampler gives values that do not depend on what they hold.

    Values that are all 0 do not tell: a mask may make them so.
    """
    held = {name: tensor.data for name, tensor in part.tensors.items() if tensor.is_floating_point()}
    names = held.keys() & set(drawn)
    found = {name: value.clone() for name, value in part.weights(0, 0).items() if name in names and value.any()}
    with SwappedWeights(part.tensors, lambda: {name: held[name] + held[name].abs() + 1 for name in found}):
        again = part.weights(0, 0) if found else {}
    return [name for name, value in found.items() if name in again and torch.equal(value, again[name])]


def _reseeded(seed: int, repeat: int) -> int:
    """Two samplers whose random numbers bear one name draw independently; the first draws what it draws alone."""
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
