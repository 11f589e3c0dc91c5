"""Strings where numbers go, classes where objects go: refused with the rule and what came, never read as something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum.attr import Saliency
from torch import nn

from captum_uq import DistributionAttribution, MCDropout, StochasticAttribution, stats, visualization
from captum_uq.metrics import summary_curves
from captum_uq.samplers import InputNoise
from captum_uq.testing import check_sampler

MODEL, ROWS = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5), nn.Linear(3, 3)).eval(), torch.ones(2, 6)
DIST = DistributionAttribution(torch.randn(20, 2, 6), predictions=torch.randn(20, 2, 3), target=1)
IMAGE = DistributionAttribution(torch.randn(20, 1, 6, 6))[0]
RANK = "a percentile is a number, or several, from 0 to 100; got"
COUNT = "at least 1; got '3'"
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "percentile, a string": (lambda: DIST.percentile("50"), f"{RANK} '50'"),
    "percentile, a word": (lambda: DIST.percentile("median"), f"{RANK} 'median'"),
    "percentile, strings": (lambda: stats.percentile(DIST.draws, ["5"]), RANK),
    "percentile, none": (lambda: DIST.percentile(None), f"{RANK} None"),
    "percentiles of a plot": (lambda: visualization.visualize_percentiles(IMAGE, q="5", use_pyplot=False), RANK),
    "no percentiles of a plot": (lambda: visualization.visualize_percentiles(IMAGE, q=None, use_pyplot=False), RANK),
    "interval": (lambda: DIST.interval("0.9"), "above 0 and at most 1, got '0.9'"),
    "map": (lambda: DIST.map("abs"), "map takes a function of one draw, such as torch.abs, got 'abs'"),
    "given": (lambda: DIST[0].given(prediction="1"), "prediction is the number of a class, got '1'"),
    "a class of methods": (lambda: StochasticAttribution(Saliency, MCDropout()), "got the class Saliency"),
    "modules": (lambda: MCDropout(modules=5), "a name, a pattern or a type of module, or several of them, got 5"),
    "a draw before the first": (lambda: MCDropout(MODEL).network(-1, ROWS), "counted from 0; got -1"),
    "a draw by name": (lambda: MCDropout(MODEL).network("a", ROWS), "counted from 0; got 'a'"),
    "a draw in a block": (lambda: MCDropout(MODEL).draw(1.5, ROWS).__enter__(), "counted from 0; got 1.5"),
    "noise": (lambda: InputNoise(std="a"), "std is a finite number of at least 0"),
    "no noise": (lambda: InputNoise(std=None), "std is a finite number of at least 0"),
    "number of draws shown": (lambda: visualization.visualize_draws(IMAGE, n="3", use_pyplot=False), COUNT),
    "number of features": (lambda: visualization.visualize_features(DIST[0], n="3", use_pyplot=False), COUNT),
    "number of bins": (lambda: visualization.visualize_predictions(DIST, bins="3", use_pyplot=False), COUNT),
    "target": (lambda: visualization.visualize_predictions(DIST, "a", use_pyplot=False), "or 'draw', got 'a'"),
    "path of an image": (
        lambda: visualization.visualize_distribution(IMAGE, "cat.png", use_pyplot=False),
        r"original_image does not fit .* A tensor is \(C, H, W\)",
    ),
    "a sampler, not its maker": (lambda: check_sampler(MCDropout(), MODEL, ROWS), r"as in lambda: MCDropout\(\)"),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_a_summary_by_itself_is_one_summary() -> None:
    options = {"target": 0, "n_steps": 2}
    one, several = (summary_curves(MODEL, ROWS, DIST, names, **options) for names in ("mean", ("mean",)))
    assert one.keys() == several.keys()
    assert torch.equal(one["mean"].scores, several["mean"].scores)
