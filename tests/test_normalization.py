"""The laws of captum_uq.normalization."""

import numpy as np
import pytest
import torch

from captum_uq import normalization
from captum_uq.distribution import DistributionAttribution

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
RTOL = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float32: 1e-6, torch.float64: 1e-12}


def np_min_max(x):
    return (x - x.min()) / (x.max() - x.min())


def np_signed_max(x):
    return np.where(x > 0, x / x.max(), x / abs(x.min()))


def np_signed_sqrt(x):
    return np.sign(x) * np.sqrt(np.abs(x))


PER_MAP = {
    "min_max": (normalization.min_max, np_min_max),
    "signed_max": (normalization.signed_max, np_signed_max),
    "signed_sqrt": (normalization.signed_sqrt, np_signed_sqrt),
}
CHANNELS = {
    "channel_mean": (normalization.channel_mean, np.mean),
    "channel_sum": (normalization.channel_sum, np.sum),
}
every_map = pytest.mark.parametrize("name", PER_MAP)
every_normalization = pytest.mark.parametrize("name", [*PER_MAP, *CHANNELS])
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def normal(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


@every_map
@every_dtype
@pytest.mark.parametrize("shape", [(3, 5), (3, 2, 4), (2, 3, 4, 5)], ids=str)
def test_each_example_is_normalised_by_itself_as_numpy_does(name, dtype, shape):
    ours, reference = PER_MAP[name]
    attribution = normal(*shape, dtype=dtype)
    result = ours(attribution)
    assert result.dtype == dtype
    expected = np.stack([reference(each) for each in attribution.double().numpy()])
    np.testing.assert_allclose(result.double().numpy(), expected, rtol=RTOL[dtype], atol=RTOL[dtype])


@pytest.mark.parametrize("name", CHANNELS)
@every_dtype
def test_channels_are_reduced_as_numpy_does_and_the_axis_stays_unless_asked(name, dtype):
    ours, reference = CHANNELS[name]
    attribution = normal(2, 3, 4, 5, dtype=dtype)
    assert ours(attribution).shape == (2, 1, 4, 5)
    result = ours(attribution, keepdim=False)
    assert result.dtype == dtype
    expected = reference(attribution.double().numpy(), axis=1)
    np.testing.assert_allclose(result.double().numpy(), expected, rtol=RTOL[dtype], atol=RTOL[dtype])


@every_dtype
def test_min_max_reaches_exactly_0_and_1(dtype):
    flat = normalization.min_max(normal(20, 6, dtype=dtype))
    assert (flat.amin(1) == 0).all()
    assert (flat.amax(1) == 1).all()


@every_dtype
def test_signed_max_reaches_exactly_1_on_both_sides_and_keeps_every_sign(dtype):
    attribution = normal(20, 60, dtype=dtype)
    attribution[:, 0] = 0
    result = normalization.signed_max(attribution)
    assert (result.amax(1) == 1).all()
    assert (result.amin(1) == -1).all()
    assert torch.equal(result.sign(), attribution.sign())


@every_map
@every_dtype
@pytest.mark.parametrize("value", [0.0, 0.1, -7.0])
def test_a_constant_map_is_well_defined(name, dtype, value):
    result = PER_MAP[name][0](torch.full((2, 3), value, dtype=dtype))
    root = float(np.sign(value) * np.sqrt(abs(value)))
    expected = {"min_max": 0.0, "signed_max": float(np.sign(value)), "signed_sqrt": root}[name]
    assert result.double() == pytest.approx(expected, rel=RTOL[dtype])


def test_a_map_of_one_sign_keeps_that_sign_and_gains_no_other():
    positive = torch.tensor([[0.0, 1.0, 4.0]])
    assert normalization.signed_max(positive).tolist() == [[0.0, 0.25, 1.0]]
    assert normalization.signed_max(-positive).tolist() == [[0.0, -0.25, -1.0]]


@every_map
@every_dtype
def test_extreme_but_finite_maps_never_give_nan_or_infinity(name, dtype):
    info = torch.finfo(dtype)
    rows = [[info.max, info.min, 1.0], [info.tiny, -info.tiny, 0.0], [info.max] * 3, [info.smallest_normal, 0, 0]]
    assert PER_MAP[name][0](torch.tensor(rows, dtype=dtype)).isfinite().all()


@every_map
def test_a_nan_spoils_its_own_map_only(name):
    attribution = normal(2, 4)
    attribution[0, 1] = torch.nan
    result = PER_MAP[name][0](attribution)
    assert result[0, 1].isnan()
    assert result[1].isfinite().all()


@every_normalization
@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 3, 0), (2, 1, 0, 4)], ids=str)
def test_an_empty_attribution_stays_empty(name, shape):
    result = {**PER_MAP, **CHANNELS}[name][0](torch.zeros(shape))
    assert result.numel() == 0
    assert result.shape[0] == shape[0]


@every_normalization
@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool], ids=str)
def test_integers_are_promoted_to_the_default_dtype(name, dtype):
    ours = {**PER_MAP, **CHANNELS}[name][0]
    attribution = torch.tensor([[[0, 1, 3], [1, 0, -128]]]).to(dtype)
    result = ours(attribution)
    assert result.dtype == torch.get_default_dtype()
    torch.testing.assert_close(result, ours(attribution.float()))


@every_normalization
def test_a_normalisation_leaves_its_input_alone(name):
    attribution = normal(2, 3, 4)
    before = attribution.clone()
    {**PER_MAP, **CHANNELS}[name][0](attribution).add_(1)
    assert torch.equal(attribution, before)


@every_map
def test_a_map_needs_an_axis_of_examples(name):
    with pytest.raises(ValueError, match="examples first, got a 0-d tensor"):
        PER_MAP[name][0](torch.tensor(1.0))
    assert PER_MAP[name][0](torch.tensor([2.0, -3.0])).shape == (2,)


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_need_an_axis_of_channels(name):
    with pytest.raises(ValueError, match=r"channels are dim 1 .* got \(3,\)"):
        CHANNELS[name][0](torch.ones(3))


def test_a_mean_over_no_channels_is_refused_and_a_sum_is_zero():
    with pytest.raises(ValueError, match="at least 1 channel"):
        normalization.channel_mean(torch.ones(2, 0, 3))
    assert torch.equal(normalization.channel_sum(torch.ones(2, 0, 3)), torch.zeros(2, 1, 3))


@every_normalization
def test_map_normalises_each_draw_before_the_statistics(name):
    ours = {**PER_MAP, **CHANNELS}[name][0]
    draws = normal(6, 2, 3, 4)
    dist = DistributionAttribution(draws).map(ours)
    assert torch.equal(dist.draws, torch.stack([ours(draw) for draw in draws]))
    if name in PER_MAP:
        assert not torch.allclose(dist.expectation(), ours(draws.mean(0)))
