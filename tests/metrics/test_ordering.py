"""What a feature is, in which order features flip, and what ties leave open."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from captum_uq import DistributionAttribution
from captum_uq.metrics import deletion, pixel_flipping, summary_curves


def flipped_at(inputs, attributions, n_steps, **options):
    """Step at which each element first differs, for inputs of ones and a fill of zero; a tuple for a tuple."""
    seen = []

    def forward(*rows):
        seen.append([row.clone() for row in rows])
        return torch.zeros(len(rows[0]))

    pixel_flipping(forward, inputs, attributions, n_steps=n_steps, max_examples_per_batch=10_000, **options)
    n = len(inputs[0]) if isinstance(inputs, tuple) else len(inputs)
    steps = tuple((rows.view(n, n_steps + 1, *rows.shape[1:]) != 0).sum(1) for rows in seen[0])
    return steps if isinstance(inputs, tuple) else steps[0]


def test_elements_flip_from_the_most_to_the_least_relevant():
    maps = torch.tensor([[0.3, -2.0, 5.0, 0.1], [-torch.inf, torch.inf, 0.0, -1.0]])
    assert flipped_at(torch.ones(2, 4), maps, 4).tolist() == [[2, 4, 1, 3], [4, 1, 2, 3]]
    assert flipped_at(torch.ones(2, 4), maps, 4, order="lerf").tolist() == [[3, 1, 4, 2], [1, 4, 3, 2]]


@pytest.mark.parametrize(
    ("shape", "map_shape"),
    [((3, 4, 5), (1, 4, 5)), ((6, 8), (6, 1)), ((2, 9), (1, 9))],
    ids=["pixels", "embedded tokens", "time steps"],
)
def test_dimensions_of_one_flip_together(shape, map_shape):
    maps = torch.randn(2, *map_shape)
    n_features = maps[0].numel()
    steps = flipped_at(torch.ones(2, *shape), maps, n_features)
    places = (-maps.flatten(1)).argsort(1).argsort(1).view_as(maps) + 1
    assert torch.equal(steps, places.expand_as(steps))


@pytest.mark.parametrize(("pooling", "first"), [("mean", 1), ("sum", 2)])
def test_groups_flip_by_the_mean_or_the_sum_of_their_relevance(pooling, first):
    maps = torch.tensor([[1.0, 0.0, 2.0, 2.0, 3.0]])
    mask = torch.tensor([[7, 7, 5, 5, 9]])  # means .5, 2, 3; sums 1, 4, 3; ids need not be consecutive
    steps = flipped_at(torch.ones(1, 5), maps, 3, feature_mask=mask, group_relevance=pooling)
    assert steps.tolist() == [[3, 3, 2, 2, 1] if first == 1 else [3, 3, 1, 1, 2]]


def test_a_map_that_is_constant_over_groups_ranks_them_as_it_stands():
    scores, mask = torch.tensor([0.5, 2.0, 1.0]), torch.tensor([[0, 0, 0, 1, 2, 2]])
    steps = flipped_at(torch.ones(1, 6), scores[mask], 3, feature_mask=mask)
    assert steps.tolist() == [[3, 3, 3, 1, 2, 2]]


def test_ids_shared_over_a_tuple_of_inputs_are_one_feature():
    inputs = torch.ones(2, 3), torch.ones(2, 1, 2, 2)
    maps = torch.tensor([[1.0, 5.0, 0.0]] * 2), torch.tensor([[[[3.0, 3.0], [-1.0, 0.5]]]] * 2)
    masks = torch.tensor([[0, 1, 2]]), torch.tensor([[[[0, 0], [3, 2]]]])
    first, second = flipped_at(inputs, maps, 4, feature_mask=masks)  # means: 0: 7/3, 1: 5, 2: 1/4, 3: -1
    assert first.tolist() == [[2, 1, 3]] * 2
    assert second.tolist() == [[[[2, 2], [4, 3]]]] * 2


def test_a_tuple_of_inputs_is_ranked_jointly():
    maps = torch.tensor([[3.0, 1.0]]), torch.tensor([[2.0, 4.0, 0.0]])
    first, second = flipped_at((torch.ones(1, 2), torch.ones(1, 3)), maps, 5)
    assert first.tolist() == [[2, 4]]
    assert second.tolist() == [[3, 1, 5]]


def test_a_mask_of_each_example_may_have_its_own_number_of_groups():
    inputs = torch.ones(2, 6)
    mask = torch.tensor([[0, 1, 2, 3, 4, 5], [8, 8, 8, 9, 9, 4]])
    curve = deletion(lambda x: x.sum(1), inputs, torch.arange(12.0).view(2, 6), feature_mask=mask, n_steps=3)
    np.testing.assert_allclose(curve.fractions, np.array([[0, 2, 4, 6], [0, 2, 4, 6]]) / 6)
    assert curve.scores.tolist() == [[6, 4, 2, 0], [6, 5, 3, 0]]
    curve = deletion(lambda x: x.sum(1), inputs, torch.arange(12.0).view(2, 6), feature_mask=mask, n_steps=2)
    np.testing.assert_allclose(curve.fractions, [[0, 1 / 2, 1], [0, 2 / 3, 1]], rtol=1e-6)
    assert curve.scores.tolist() == [[6, 3, 0], [6, 3, 0]]
    np.testing.assert_allclose(curve.auc, [3.0, 4.5 * 2 / 3 + 1.5 / 3], rtol=1e-6)


def test_integer_tokens_keep_their_dtype_and_take_a_token_id():
    seen = []

    def forward(tokens):
        seen.append(tokens)
        return tokens.double().sum(1)

    tokens = torch.tensor([[5, 6, 7], [8, 9, 10]])
    curve = deletion(forward, tokens, torch.tensor([[0.1, 0.3, 0.2]] * 2), 103, n_steps=3)
    assert seen[0].dtype == torch.int64
    assert seen[0].view(2, 4, 3)[0].tolist() == [[5, 6, 7], [5, 103, 7], [5, 103, 103], [103, 103, 103]]
    assert curve.scores[1].tolist() == [27, 121, 214, 309]


def test_stable_ties_flip_by_position_in_both_orders():
    maps = torch.tensor([[1.0, 0.0, 1.0, 0.0, 1.0]])
    assert flipped_at(torch.ones(1, 5), maps, 5).tolist() == [[1, 4, 2, 5, 3]]
    assert flipped_at(torch.ones(1, 5), maps, 5, order="lerf").tolist() == [[3, 1, 4, 2, 5]]


def test_random_ties_flip_in_every_order_and_never_overrule_the_map():
    maps, inputs, firsts = torch.tensor([[1.0, 0.0, 1.0, 0.0, 1.0]]), torch.ones(1, 5), set()
    for seed in range(40):
        steps = flipped_at(inputs, maps, 5, tie_break="random", seed=seed)[0]
        assert steps[[0, 2, 4]].max() < steps[[1, 3]].min()
        firsts.add(int(steps.argmin()))
    assert firsts == {0, 2, 4}


def test_a_random_order_is_uniform_and_ignores_the_map():
    inputs, steps = torch.ones(1, 4), []
    for seed in range(400):
        steps.append(flipped_at(inputs, torch.arange(4.0).view(1, 4), 4, order="random", seed=seed)[0])
        for other in (-torch.arange(4.0), torch.tensor([1, torch.nan, 0, torch.nan]), torch.full((4,), torch.nan)):
            assert torch.equal(flipped_at(inputs, other[None], 4, order="random", seed=seed)[0], steps[-1])
    mean = torch.stack(steps).double().mean(0)
    np.testing.assert_allclose(mean, 2.5, atol=4 * np.sqrt(1.25 / 400))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3, 4], 0.0),
        ([0, 0, 1, 2], 0.5),
        ([0, 0, 1, 1], 1.0),
        ([0.0, -0.0, 1, 2], 0.5),
        ([3, 1, 3, 3], 0.75),
    ],
)
def test_the_tie_fraction_is_the_share_of_features_that_share_their_relevance(values, expected):
    maps = torch.tensor([values], dtype=torch.float32)
    assert deletion(lambda x: x.sum(1), torch.ones(1, 4), maps, n_steps=4).tie_fraction.tolist() == [expected]


@pytest.mark.parametrize("shape", [(4,), (1, 2, 2)])
def test_a_constant_map_has_tie_fraction_one_and_warns(shape):
    maps = torch.randn(3, *shape)
    maps[1] = 0.0
    with pytest.warns(UserWarning, match="1 of 3 attribution maps are constant"):
        curve = deletion(lambda x: x.flatten(1).sum(1), torch.ones(3, *shape), maps, n_steps=4)
    assert curve.tie_fraction.tolist() == [0.0, 1.0, 0.0]
    pixel_flipping(lambda x: x.flatten(1).sum(1), torch.ones(3, *shape), maps, n_steps=4, order="random")


def test_a_single_feature_is_no_tie():
    assert deletion(lambda x: x.sum(1), torch.ones(2, 1), torch.ones(2, 1), n_steps=1).tie_fraction.tolist() == [0, 0]


SIZES = [(f, k) for f in (1, 2, 7, 10, 33, 105, 784, 1024) for k in (1, 2, 3, 5, 7, 32) if k <= f]


@pytest.mark.parametrize(("n_features", "n_steps"), SIZES)
def test_there_are_always_as_many_steps_as_asked_for_and_they_end_at_the_last_feature(n_features, n_steps):
    curve = deletion(
        lambda x: x.sum(1),
        torch.ones(1, n_features),
        torch.arange(float(n_features)).view(1, -1),
        n_steps=n_steps,
    )
    counts = (curve.fractions.double() * n_features).round().long()
    sizes = counts.diff()
    assert len(sizes) == n_steps
    assert counts[0] == 0
    assert counts[-1] == n_features
    assert sizes.min() >= 1
    assert len(sizes[:-1].unique()) <= 1 or sizes.max() - sizes.min() == 1
    assert torch.equal(curve.scores[0].long(), n_features - counts)


@pytest.mark.parametrize("order", ["morf", "lerf"])
@pytest.mark.parametrize("n_features", [1, 2, 3, 12])
@pytest.mark.parametrize("n_values", [3, 10**6], ids=["many ties", "few ties"])
def test_ties_are_counted_for_each_example_of_a_batch(n_values, n_features, order):
    maps = torch.from_numpy(np.random.default_rng(n_features).integers(n_values, size=(40, n_features))).float()
    maps[7] = torch.arange(n_features)  # one without a tie, and one with all its features tied but not constant
    maps[8] = torch.arange(n_features) // 2
    counts = [np.unique(row, return_inverse=True, return_counts=True) for row in maps.numpy()]
    expected = [np.mean(number[place] > 1) for _, place, number in counts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # constant maps among them
        curve = pixel_flipping(lambda x: x.sum(1), torch.ones(40, n_features), maps, n_steps=1, order=order)
    np.testing.assert_allclose(curve.tie_fraction, expected, rtol=1e-6)


@pytest.mark.parametrize("order", ["morf", "lerf"])
@pytest.mark.parametrize(("n_features", "place"), [(f, p) for f in (1, 2, 7) for p in range(f)])
def test_nan_is_found_wherever_it_stands(n_features, place, order):
    maps = torch.arange(3.0 * n_features).view(3, n_features)
    maps[1, place] = torch.nan
    call = {"n_steps": 1, "order": order}
    with pytest.raises(ValueError, match="1 of 3 examples have some .first: example 1"):
        pixel_flipping(lambda x: x.sum(1), torch.ones(3, n_features), maps, **call)
    curve = pixel_flipping(lambda x: x.sum(1), torch.ones(3, n_features), maps, nan_policy="propagate", **call)
    assert curve.scores.isnan().all(1).tolist() == [False, True, False]


@pytest.mark.parametrize("nan_policy", ["raise", "propagate"])
@pytest.mark.parametrize("mask", [None, torch.tensor([[0, 0, 1, 2, 2, 3]])], ids=["elements", "groups"])
def test_a_map_of_nan_has_a_curve_in_a_random_order(mask, nan_policy):
    maps, inputs = torch.full((2, 6), torch.nan), torch.randn(2, 6)
    options = {"n_steps": 4, "order": "random", "feature_mask": mask, "nan_policy": nan_policy}
    found, expected = (pixel_flipping(lambda x: x.sum(1), inputs, m, **options) for m in (maps, torch.randn(2, 6)))
    assert torch.equal(found.scores, expected.scores)


CALLS = {
    "pixel_flipping": lambda model, x: pixel_flipping(model, x, x, n_steps=4),
    "deletion": lambda model, x: deletion(model, x, x, n_steps=4),
    "summary_curves": lambda model, x: summary_curves(model, x, DistributionAttribution(x[None]), ("mean",), n_steps=4),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_warnings_point_at_the_call(call):
    model = nn.Sequential(nn.Linear(4, 1), nn.Dropout(), nn.Flatten(0))  # in train mode
    with pytest.warns(UserWarning, match="maps are constant|in train mode") as caught:
        call(model, torch.ones(2, 4))
    assert [warning.filename for warning in caught] == [__file__] * 2
