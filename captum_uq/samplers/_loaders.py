"""The random numbers of a `torch.utils.data.DataLoader`: the global ones, or those of a generator of the user's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from captum_uq._rng import generator, isolated, seed_global


@contextlib.contextmanager
def seeded(loader: object, seed: int, *path: int | str) -> Iterator[None]:
    """What a loader shuffles by started from a seed and a path, and put back.

    Args:
        loader: The loader, or any iterable.
        seed: A non-negative integer.
        path: What the numbers are for.
    """
    own = list({id(each): each for each in _generators(loader)}.values())
    before = [each.get_state() for each in own]
    with isolated():
        seed_global(seed, *path)
        try:
            for place, each in enumerate(own):
                each.manual_seed(int(generator(seed, *path, place).integers(2**32)))
            yield
        finally:
            for each, state in zip(own, before, strict=True):
                each.set_state(state)


def _generators(loader: object) -> Iterator[torch.Generator]:
    """The generators of a loader and of the samplers inside it."""
    own = getattr(loader, "generator", None)
    if isinstance(own, torch.Generator):
        yield own
    for name in ("sampler", "batch_sampler"):
        inside = getattr(loader, name, None)
        if inside is not None and inside is not loader:
            yield from _generators(inside)
