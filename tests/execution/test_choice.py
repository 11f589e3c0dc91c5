"""Which road is chosen: by counting, so that a call repeated takes the same one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients, KernelShap, Occlusion, Saliency
from torch import nn

from captum_uq import MCDropout, StochasticAttribution
from captum_uq.execution import plan, sizes, worth
from captum_uq.execution.sizes import Sizes
from captum_uq.samplers import DropConnect, NoiseGrad, Sampler
from roads import hold_equal


@pytest.mark.parametrize(("steps", "road"), [(5, "fold"), (50, "loop")])
def test_a_batch_of_two_draws_is_not_worth_making(steps: int, road: str) -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 4000), nn.ReLU(), nn.Linear(4000, 2)).eval()
    uq = StochasticAttribution(IntegratedGradients(model), MCDropout())
    given = {"target": 1, "n_draws": 12, "n_steps": steps, "seed": 0}
    result = uq.attribute(torch.ones(12, 4), **given)
    assert result.execution.road == road
    assert ("too few draws fit one batch" in result.execution.reason) == (road == "loop")
    hold_equal(result, uq.attribute(torch.ones(12, 4), **given, execution="fold"))


@pytest.mark.parametrize(("before", "road"), [(8, "loop"), (400, "prefix")])
def test_a_prefix_of_little_is_not_worth_large_batches(before: int, road: str) -> None:
    """Where one draw fills the cache, only what is most of the work is worth sharing."""
    model = nn.Sequential(nn.Linear(20, before), nn.ReLU(), nn.Linear(before, 20), nn.Dropout(0.5), nn.Linear(20, 60))
    model = nn.Sequential(*model, nn.ReLU(), nn.Linear(60, 2)).eval()
    uq = StochasticAttribution(IntegratedGradients(model), MCDropout())
    given = {"target": 1, "n_draws": 9, "n_steps": 200, "return_deterministic": False}
    assert uq.attribute(torch.ones(100, 20), **given).execution.road == road


@pytest.mark.parametrize(("width", "road"), [(200, "fold"), (1500, "loop")])
def test_draws_with_large_weights_of_their_own_run_one_by_one(width: int, road: str) -> None:
    """Three of the latter, of 9 MB each, leave the cache."""
    model = nn.Sequential(
        nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
    ).eval()
    given = {"target": 1, "n_draws": 9, "seed": 0}
    result = StochasticAttribution(Saliency(model), DropConnect(p=0.1)).attribute(torch.ones(1, 4), **given)
    assert result.execution.road == road
    assert ("too few draws fit one batch" in result.execution.reason) == (road == "loop")


WINDOW = {"sliding_window_shapes": (1, 4, 4), "strides": (1, 4, 4)}


@pytest.mark.parametrize(
    ("method", "sampler", "rows", "road"),
    [
        (Occlusion, DropConnect(p=0.1), 8, "loop"),
        (Occlusion, DropConnect(p=0.1), 1, "fold"),
        (Occlusion, MCDropout(), 8, "fold"),
        (Saliency, DropConnect(p=0.1), 8, "fold"),
    ],
)
def test_a_layout_is_worth_more_than_convolutions_with_weights_of_their_own(
    method: Any, sampler: Sampler, rows: int, road: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the rows of some draws fill the cache, and gradients do not forbid another layout."""
    monkeypatch.setitem(sizes._CACHE, "cpu", 100_000)
    model = nn.Sequential(nn.Dropout(0.1), nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    given = {"target": 1, "n_draws": 9, "seed": 0, **(WINDOW if method is Occlusion else {})}
    result = StochasticAttribution(method(model), sampler).attribute(torch.ones(rows, 2, 8, 8), **given)
    assert result.execution.road == road
    assert result.execution.channels_last == (method is Occlusion)


@pytest.mark.parametrize(
    ("method", "given", "limit", "draws"),
    [
        (Saliency, {}, 4 * 96 - 1, 0),
        (Saliency, {}, 4 * 96, 1),  # the limit is that of its four rows
        (KernelShap, {"n_samples": 10}, 96 - 1, 0),
        (KernelShap, {"n_samples": 10}, 96, 1),  # which runs example by example
    ],
)
def test_no_draw_is_run_to_choose_where_every_road_is_slower(
    method: Any, given: dict[str, Any], limit: int, draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row takes 96 operations: a product with 4 x 8 weights and one with 8 x 2, a product and a sum for each."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    references, loop_draw = [], plan.loop_draw
    monkeypatch.setattr(plan, "loop_draw", lambda *args: references.append(args) or loop_draw(*args))
    monkeypatch.setitem(worth._LARGE, "cpu", limit)
    uq = StochasticAttribution(method(model), NoiseGrad())
    result = uq.attribute(torch.ones(4, 4), target=1, n_draws=9, seed=0, **given)
    assert len(references) == draws
    if not draws:
        assert result.execution.reason == (
            "draws part so early that there is little to share; the network is large: its arithmetic takes the time"
        )


@pytest.mark.parametrize(
    ("sampler", "n_draws", "draws_that_fit", "road"),
    [
        (NoiseGrad(), 7, 7, "fold"),
        (NoiseGrad(), 7, 6, "loop"),
        (NoiseGrad(), 8, 6, "fold"),
        (MCDropout(), 7, 6, "fold"),  # has no weights to lay side by side
    ],
)
def test_few_draws_of_weights_run_all_at_once_or_one_by_one(
    sampler: Sampler, n_draws: int, draws_that_fit: int, road: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    monkeypatch.setattr(plan, "sizes", lambda *_: Sizes(draws_that_fit, draws_that_fit, 0))
    uq = StochasticAttribution(Saliency(model), sampler)
    result = uq.attribute(torch.ones(1, 4), target=1, n_draws=n_draws, seed=0)
    assert result.execution.road == road
    assert ("too few draws fit one batch" in result.execution.reason) == (road == "loop")
    more = uq.attribute(torch.ones(1, 4), target=1, n_draws=9, seed=0)
    assert more.execution.road == "fold"
