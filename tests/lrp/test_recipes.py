"""The papers' recipes are what they say, in terms of the core."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import GuidedBackprop, IntegratedGradients, LayerGradCam
from torch import Tensor, nn

from captum_uq import DistributionAttribution, MCDropout, StochasticAttribution
from captum_uq import attr as stochastic
from captum_uq.lrp import LRP, LRPCMP, EpsilonComposite, ZPlusComposite
from captum_uq.recipes import BLRP, MCRP, PERCENTILES, ExplanationUncertainty


def network() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Dropout(0.5), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(54, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3)),
    ).eval()


def images() -> Tensor:
    return torch.rand(4, 3, 8, 8)


@pytest.mark.parametrize("layer", [None, 0, 3, 6])
def test_mcrp_averages_channels_and_normalises_every_draw_before_any_statistic(layer: int | None) -> None:
    model, inputs = network(), images()
    part = None if layer is None else model[layer]
    if layer is None:
        raw = stochastic.LRP(model, composite=ZPlusComposite()).attribute(inputs, target=1, n_draws=25, seed=0)
    else:
        method = stochastic.LayerLRP(model, part, composite=ZPlusComposite())
        raw = method.attribute(inputs, target=1, n_draws=25, seed=0)
    maps = raw.draws.double().numpy()
    maps = maps.mean(2, keepdims=True) if maps.ndim > 3 else maps
    axes = tuple(range(2, maps.ndim))
    low, high = maps.min(axes, keepdims=True), maps.max(axes, keepdims=True)
    maps = (maps - low) / np.where(high > low, high - low, 1)
    dist = MCRP(model, part).attribute(inputs, target=1, n_draws=25, seed=0)
    mean, spread = maps.mean(0), maps.std(0)
    scores = MCRP.scores(dist)
    np.testing.assert_allclose(scores.mean, mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scores.uncertainty, spread, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scores.confusion, mean * spread, rtol=1e-4, atol=1e-6)
    certain = spread > 1e-3
    np.testing.assert_allclose(scores.snr.numpy()[certain], (mean / np.where(certain, spread, 1))[certain], rtol=1e-3)


def test_the_papers_numbers_of_draws_and_rates_are_the_defaults() -> None:
    for recipe in (MCRP(network()), BLRP(network())):
        assert recipe.sampler.default_draws == 100
        assert recipe.sampler.p is None
    assert repr(MCRP(network()).attribution_method.composite) == "ZPlusComposite()"
    assert repr(BLRP(network()).attribution_method.composite) == "EpsilonComposite(1e-09, max_pool='average')"
    assert PERCENTILES == (5, 25, 50, 75, 95)


def test_several_hidden_layers_give_several_maps() -> None:
    model = network()
    first, second = MCRP(model, [model[0], model[3]]).attribute(images(), target=1, n_draws=3, seed=0)
    assert first.shape == (4, 1, 6, 6)
    assert second.shape == (4, 1, 3, 3)


@pytest.mark.parametrize("composite", [None, LRPCMP(0.0, 1.0)], ids=["LRP-epsilon", "LRP-CMP"])
def test_blrp_gives_percentiles_of_relevance_scaled_by_sign(composite) -> None:
    model, inputs = network(), images()
    dist = BLRP(model, composite=composite).attribute(inputs, target=1, n_draws=40, seed=0)
    maps = BLRP.percentile_maps(dist)
    assert maps.shape == (5, *inputs.shape)
    expected = np.percentile(dist.draws.double().numpy(), PERCENTILES, axis=0)
    assert (np.sign(maps.numpy()) == np.sign(expected)).mean() > 0.999
    for row in maps.flatten(2).flatten(0, 1):
        assert row.max() == 1 or not (row > 0).any()
        assert row.min() == -1 or not (row < 0).any()


@pytest.mark.parametrize("shape", [(4,), (4, 6), (4, 3, 6), (4, 3, 5, 6)], ids=str)
@pytest.mark.parametrize("q", [PERCENTILES, 50, (25,)], ids=str)
def test_the_percentile_maps_of_one_example_are_those_it_has_in_its_batch(shape: tuple[int, ...], q: Any) -> None:
    dist = DistributionAttribution(torch.randn(20, *shape) + 0.5)
    maps, several = BLRP.percentile_maps(dist, q), isinstance(q, tuple)
    assert maps.shape == ((len(q), *shape) if several else shape)
    for i in range(4):
        assert torch.equal(BLRP.percentile_maps(dist[i], q), maps[:, i] if several else maps[i])
    own = np.percentile(dist.draws.double().numpy(), q, axis=0).reshape(-1, *shape)
    axes = tuple(range(2, own.ndim))
    high, low = (edge(own, axes, keepdims=True) if axes else own for edge in (np.max, np.min))
    expected = np.where(own > 0, own / high, -own / low)
    np.testing.assert_allclose(maps.numpy().reshape(own.shape), expected, rtol=1e-4, atol=1e-6)


TAKE_A_DISTRIBUTION = {
    "MCRP.scores": MCRP.scores,
    "BLRP.percentile_maps": BLRP.percentile_maps,
    "ExplanationUncertainty.scores": ExplanationUncertainty.scores,
}


@pytest.mark.parametrize("name", TAKE_A_DISTRIBUTION)
def test_what_a_recipe_reads_is_one_distribution(name: str) -> None:
    take, dist = TAKE_A_DISTRIBUTION[name], DistributionAttribution(torch.randn(20, 2, 3))
    with pytest.raises(TypeError, match=rf"^{name} takes one .*got a tuple of 2, .*choose one of them, dist\[0\]"):
        take((dist, dist))
    with pytest.raises(TypeError, match=rf"^{name} takes a DistributionAttribution, got Tensor; pass what"):
        take(dist.draws)
    take((dist, dist)[0])


@pytest.mark.parametrize("name", ["MCRP.scores", "ExplanationUncertainty.scores"])
def test_the_scores_of_one_example_are_those_it_has_in_its_batch(name: str) -> None:
    dist = DistributionAttribution(torch.randn(20, 4, 3, 2) + 0.5)
    for whole, one in zip(TAKE_A_DISTRIBUTION[name](dist), TAKE_A_DISTRIBUTION[name](dist[2]), strict=True):
        torch.testing.assert_close(whole[2], one)


def test_blrp_is_the_distribution_of_lrp() -> None:
    model, inputs = network(), images()
    dist = BLRP(model).attribute(inputs, target=1, n_draws=3, seed=0)
    own = LRP(model, EpsilonComposite(1e-9, "average")).attribute(inputs, target=1)
    assert torch.equal(dist.deterministic, own)
    drawn = MCDropout(model).network(2, inputs, seed=0)
    assert torch.equal(dist.draws[2], LRP(drawn, EpsilonComposite(1e-9, "average")).attribute(inputs, target=1))


@pytest.mark.parametrize("make", [GuidedBackprop, IntegratedGradients, lambda m: LayerGradCam(m, m[0])])
@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU")
def test_explanation_uncertainty_is_mean_stdev_and_cv_of_the_method(make) -> None:
    model, inputs = network(), images()
    labels = torch.tensor([0, 1, 2, 0])
    dist = ExplanationUncertainty(make(model), MCDropout()).attribute(inputs, target=labels, n_draws=10, seed=0)
    draws = StochasticAttribution(make(model), MCDropout()).attribute(inputs, target=labels, n_draws=10, seed=0).draws
    assert torch.equal(dist.draws, draws)
    scores = ExplanationUncertainty.scores(dist)
    draws = draws.double()
    torch.testing.assert_close(scores.mean.double(), draws.mean(0))
    torch.testing.assert_close(scores.stdev.double(), draws.std(0), rtol=1e-4, atol=1e-7)
    sure = draws.mean(0).abs() > 1e-4
    expected = (draws.std(0) / draws.mean(0).abs())[sure]
    torch.testing.assert_close(scores.cv[sure].double(), expected, rtol=1e-3, atol=1e-6)


def test_the_predicted_class_is_that_of_the_network_as_it_stands() -> None:
    model, inputs = network().train(), torch.rand(64, 3, 8, 8)
    method = ExplanationUncertainty(GuidedBackprop(model), MCDropout())
    dist = method.attribute(inputs, target="predicted", n_draws=3, seed=0)
    assert model.training
    assert torch.equal(dist.target, model.eval()(inputs).argmax(1))
    labels = method.attribute(inputs, target=dist.target, n_draws=3, seed=0)
    assert torch.equal(labels.draws, dist.draws)


def test_a_regression_has_no_predicted_class() -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 1)).eval()
    method = ExplanationUncertainty(IntegratedGradients(model), MCDropout())
    assert method.attribute(torch.rand(2, 3), n_draws=3).shape == (2, 3)
    with pytest.raises(ValueError, match=r"got \(2, 1\).*leave target out for a regression"):
        method.attribute(torch.rand(2, 3), target="predicted", n_draws=3)
    with pytest.raises(ValueError, match="target is labels, None, 'predicted' or 'draw', got 'truth'"):
        method.attribute(torch.rand(2, 3), target="truth", n_draws=3)
