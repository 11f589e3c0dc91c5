"""Curves of the summaries of a distribution: each is that of its map, and all meet the same fills."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from captum_uq import stats
from captum_uq.metrics import UniformNoise, compare, pixel_flipping, summary_curves

T, N, F = 25, 6, 8
INPUTS = torch.randn(N, F, generator=torch.Generator().manual_seed(0))
DRAWS = torch.randn(T, N, F, generator=torch.Generator().manual_seed(1))
OPTIONS = {"n_steps": 8, "perturb_func": UniformNoise(), "seed": 5, "score": "softmax"}


def model(inputs):
    return torch.stack([inputs.sum(1), inputs.prod(1)], dim=1)


def holder(draws=DRAWS, **more):
    return SimpleNamespace(draws=draws, **more)


@pytest.mark.parametrize("mode", ["deletion", "insertion"])
def test_the_curve_of_a_summary_is_that_of_its_map(mode):
    names = ("mean", "stdev", "cv", "snr", "percentile:5", "percentile:50")
    curves = summary_curves(model, INPUTS, holder(), names, target=1, mode=mode, **OPTIONS)
    assert tuple(curves) == names
    for name, curve in curves.items():
        expected = pixel_flipping(model, INPUTS, stats.summarize(DRAWS, name), target=1, mode=mode, **OPTIONS)
        assert torch.equal(curve.scores, expected.scores)
        assert curve.mode == mode


def test_the_default_summaries_are_those_of_the_papers():
    curves = summary_curves(model, INPUTS, holder(), target=1, **OPTIONS)
    assert list(curves) == ["mean", "stdev", "cv", "snr", *(f"percentile:{q}" for q in (5, 25, 50, 75, 95))]


def test_the_map_of_the_plain_network_comes_first_and_serves_as_reference():
    plain = torch.randn(N, F)
    curves = summary_curves(model, INPUTS, holder(deterministic=plain), ("mean",), target=1, **OPTIONS)
    assert list(curves) == ["deterministic", "mean"]
    assert torch.equal(curves["deterministic"].scores, pixel_flipping(model, INPUTS, plain, target=1, **OPTIONS).scores)
    (row,) = compare(curves, reference="deterministic")
    assert (row.curve, row.reference, row.n) == ("mean", "deterministic", N)
    assert list(summary_curves(model, INPUTS, holder(deterministic=None), ("mean",), target=1, **OPTIONS)) == ["mean"]


@pytest.mark.parametrize("summaries", ["deterministic", ("deterministic",), ("mean", "deterministic")])
def test_the_map_of_the_plain_network_is_a_summary_too_where_it_is_known(summaries):
    plain = torch.randn(N, F)
    curves = summary_curves(model, INPUTS, holder(deterministic=plain), summaries, target=1, **OPTIONS)
    assert list(curves) == ["deterministic", "mean"][: 1 + ("mean" in summaries)]
    assert torch.equal(curves["deterministic"].scores, pixel_flipping(model, INPUTS, plain, target=1, **OPTIONS).scores)
    with pytest.raises(ValueError, match="'deterministic' is the attribution of.*return_deterministic=True"):
        summary_curves(model, INPUTS, holder(deterministic=None), summaries, target=1, **OPTIONS)


def test_curves_of_draws_are_those_of_each_draw():
    curves = summary_curves(model, INPUTS, holder(), ("mean",), per_draw=True, target=1, **OPTIONS)
    assert curves["draws"].scores.shape == (T, N, 9)
    assert curves["draws"].auc.shape == (T, N)
    for t in (0, 7, 24):
        expected = pixel_flipping(model, INPUTS, DRAWS[t], target=1, **OPTIONS)
        assert torch.equal(curves["draws"].scores[t], expected.scores)
    assert compare(curves, "mean")["draws"].n == N


def test_a_tuple_of_distributions_is_summarised_each_and_ranked_jointly():
    other = torch.randn(T, N, 3)
    pair = (holder(deterministic=DRAWS[0]), holder(other, deterministic=other[0]))
    inputs = (INPUTS, torch.randn(N, 3))

    def forward(first, second):
        return first.sum(1) + second.prod(1)

    curves = summary_curves(forward, inputs, pair, ("mean",), per_draw=True, n_steps=11)
    maps = DRAWS.mean(0), other.mean(0)
    assert torch.equal(curves["mean"].scores, pixel_flipping(forward, inputs, maps, n_steps=11).scores)
    plain = pixel_flipping(forward, inputs, (DRAWS[0], other[0]), n_steps=11)
    assert torch.equal(curves["deterministic"].scores, plain.scores)
    assert torch.equal(curves["draws"].scores[0], plain.scores)


def test_draws_of_several_inputs_go_in_pairs():
    pair, inputs = (holder(), holder(torch.randn(T + 1, N, 3))), (INPUTS, torch.randn(N, 3))

    def forward(first, second):
        return first.sum(1) + second.prod(1)

    assert list(summary_curves(forward, inputs, pair, ("mean",), n_steps=11)) == ["mean"]
    for several, numbers in ((pair, "25, 26"), (pair[::-1], "26, 25")):
        given = inputs if several is pair else inputs[::-1]
        with pytest.raises(ValueError, match=rf"per_draw takes one draw of each.*have \[{numbers}\] draws\. Draw as"):
            summary_curves(forward, given, several, ("mean",), per_draw=True, n_steps=11)


def test_what_is_no_distribution_says_so():
    with pytest.raises(TypeError, match=r"distribution must have \.draws.*got Tensor"):
        summary_curves(model, INPUTS, DRAWS[0], target=1, **OPTIONS)
    with pytest.raises(ValueError, match="summaries must name at least one"):
        summary_curves(model, INPUTS, holder(), (), target=1, **OPTIONS)
    with pytest.raises(ValueError, match="nonsense"):
        summary_curves(model, INPUTS, holder(), ("nonsense",), target=1, **OPTIONS)


def test_a_distribution_attribution_ranks_by_its_own_mean():
    distribution = pytest.importorskip("captum_uq.distribution", reason="the distribution layer is not there")
    dist = distribution.DistributionAttribution(DRAWS)
    curves = summary_curves(model, INPUTS, dist, ("mean",), target=1, **OPTIONS)
    direct = pixel_flipping(model, INPUTS, dist, target=1, **OPTIONS)
    np.testing.assert_allclose(direct.scores, curves["mean"].scores)
    assert type(direct.scores) is torch.Tensor
