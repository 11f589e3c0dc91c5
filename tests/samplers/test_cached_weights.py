"""Weights that torch has cast or computed before: a draw meets its own, and the network its own afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from captum.attr import Saliency
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from captum_uq import StochasticAttribution
from captum_uq.samplers import Compose, DropConnect, Ensemble, MCDropout, NoiseGrad, Sampler, VariationalDropout

SAMPLERS: dict[str, Callable[[nn.Module], Sampler]] = {
    "NoiseGrad": lambda net: NoiseGrad(),
    "DropConnect": lambda net: DropConnect(p=0.3),
    "VariationalDropout": lambda net: VariationalDropout(p=0.2),
    "Ensemble": lambda net: Ensemble([network(parametrize.is_parametrized(net[0]), seed) for seed in range(3)]),
    "Compose": lambda net: Compose(MCDropout(), NoiseGrad()),
}
CACHES: dict[str, tuple[Callable[[], AbstractContextManager[Any]], Callable[[], AbstractContextManager[Any]]]] = {
    "autocast": (
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.autocast("cpu", torch.bfloat16, cache_enabled=False),
    ),
    "parametrize.cached": (parametrize.cached, contextlib.nullcontext),
}
CASES = [
    (name, cache)
    for name in SAMPLERS
    for cache in CACHES
    if cache == "autocast" or name not in {"DropConnect", "VariationalDropout"}  # they refuse computed weights
]


def network(parametrized: bool = True, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    first = nn.Linear(6, 8)
    first = parametrizations.weight_norm(first) if parametrized else first
    return nn.Sequential(first, nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3)).eval()


@pytest.mark.filterwarnings("ignore::captum_uq.samplers.DisagreementWarning")
@pytest.mark.parametrize("execution", ["loop", "fold", "auto"])
@pytest.mark.parametrize(("name", "cache"), CASES)
def test_draws_are_those_without_a_cache(name: str, cache: str, execution: str) -> None:
    make, (caching, bare) = SAMPLERS[name], CACHES[cache]
    model, x = network(caching is parametrize.cached), torch.randn(4, 6)
    sampler = make(model)
    uq, options = StochasticAttribution(Saliency(model), sampler), {"target": 1, "n_draws": 3, "seed": 0}
    with bare(), torch.no_grad():
        own, predicted = model(x), sampler.predictive(model, 3)(x)
        outputs = [sampler.network(t, x, seed=0, model=model)(x) for t in range(3)]
    with bare():
        expected = uq.attribute(x, **options, execution="loop")
    with caching(), torch.no_grad():
        assert torch.equal(model(x), own)  # is in the cache
        found = uq.attribute(x, **options, execution=execution)
        near = {"rtol": 0, "atol": 0} if execution == "loop" else {"rtol": 0.02, "atol": 1e-3}
        torch.testing.assert_close(found.draws, expected.draws, **near)
        torch.testing.assert_close(found.deterministic, expected.deterministic, rtol=0, atol=0)
        assert torch.equal(model(x), own)
        assert torch.equal(sampler.predictive(model, 3)(x), predicted)
        for t, output in enumerate(outputs):
            with sampler.draw(t, x, seed=0, model=model):
                assert torch.equal(model(x), output)
            if caching is not parametrize.cached:  # which takes a copy of a module for the module itself
                assert torch.equal(sampler.network(t, x, seed=0, model=model)(x), output)
        assert torch.equal(model(x), own)


def test_the_caches_are_where_torch_has_them() -> None:
    model = network()
    with parametrize.cached():
        weight = model[0].weight
        assert model[0].weight is weight is next(iter(parametrize._cache.values()))
