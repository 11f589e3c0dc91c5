"""The laws of DistributionAttribution."""

import copy
import io
import operator
import pickle
import warnings

import matplotlib as mpl
import numpy as np
import pytest
import torch
from torch import Tensor

from captum_uq import normalization, stats
from captum_uq.distribution import DistributionAttribution
from captum_uq.distribution.stores import Draws, Summaries
from captum_uq.stats.moment_sums import MomentSums

mpl.use("Agg")
T, N = 6, 5
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def normal(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def make(shape=(N, 3, 4), n_draws=T, dtype=torch.float32, **changes):
    keywords = {
        "deterministic": normal(*shape, dtype=dtype, seed=1),
        "predictions": normal(n_draws, *shape[:1], 10, seed=2),
        "seed": 3,
        "sampler": "MCDropout()",
        "method": "Saliency",
        "target": list(range(*shape[:1])) if shape else 1,
        **changes,
    }
    return DistributionAttribution(normal(n_draws, *shape, dtype=dtype), **keywords)


def plain(value):
    return type(value) is Tensor


def assert_same(one, other):
    """Everything two distributions hold is the same."""
    assert type(one) is type(other) is DistributionAttribution
    for name in ("point", "draws", "deterministic", "predictions"):
        first, second = getattr(one, name), getattr(other, name)
        assert (first is None) == (second is None), name
        assert first is None or torch.equal(first, second), name
    for name in ("seed", "sampler", "method", "summary", "n_draws"):
        assert getattr(one, name) == getattr(other, name), name
    assert torch.equal(torch.as_tensor(one.target), torch.as_tensor(other.target))


# ---- construction


@pytest.mark.parametrize("shape", [(), (3,), (N, 3, 4), (0, 3), (2, 0)], ids=str)
@pytest.mark.parametrize("n_draws", [1, 2, 100])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.int64, torch.bool], ids=str)
def test_its_own_values_are_the_mean_over_draws(shape, n_draws, dtype):
    draws = normal(n_draws, *shape).to(dtype)
    dist = DistributionAttribution(draws)
    assert isinstance(dist, Tensor)
    assert torch.equal(dist.point, stats.expectation(draws))
    assert torch.allclose(dist, stats.expectation(draws))
    assert dist.shape == shape
    assert dist.n_draws == n_draws
    repr(dist)


@pytest.mark.parametrize("summary", ["mean", "median", "stdev", "snr", "percentile:40", "union:60", torch.sum])
def test_its_own_values_are_the_summary_asked_for(summary):
    chosen = summary if isinstance(summary, str) else lambda draws: draws.sum(0)
    dist = make(summary=chosen)
    assert torch.equal(dist.point, stats.summarize(dist.draws, chosen))
    assert dist.summary == chosen


def test_the_deterministic_map_can_be_its_own_values():
    dist = make(summary="deterministic")
    assert torch.equal(dist.point, dist.deterministic)
    with pytest.raises(ValueError, match="needs deterministic="):
        make(summary="deterministic", deterministic=None)


def test_draws_are_kept_without_graph_subclass_or_copy():
    draws = normal(T, N, 3).requires_grad_()
    scaled = draws * 2
    dist = DistributionAttribution(scaled, deterministic=scaled[0], predictions=scaled)
    assert dist.predictions.data_ptr() == scaled.data_ptr()
    for tensor in (dist.draws, dist.deterministic, dist.predictions.outputs, dist.predictions + 0, dist.point):
        assert plain(tensor)
        assert not tensor.requires_grad
        assert tensor.grad_fn is None
    assert not dist.requires_grad
    assert dist.draws.data_ptr() == scaled.data_ptr()


@pytest.mark.parametrize("summary", ["mean", "median", "deterministic", lambda draws: draws[0]])
def test_its_own_values_share_no_memory_with_the_draws(summary):
    dist = make(n_draws=1, summary=summary)
    pointers = {dist.draws.data_ptr(), dist.deterministic.data_ptr()}
    assert dist.data_ptr() not in pointers


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_draw_that_is_not_finite_is_named_unless_it_may_pass(value):
    draws = normal(T, N, 3)
    draws[4, 1, 2] = value
    with pytest.raises(ValueError, match=r"draw 4 holds NaN or infinity \(1 of 6 draws do\).*nan_policy"):
        DistributionAttribution(draws)
    dist = DistributionAttribution(draws, nan_policy="propagate")
    assert not dist.point[1, 2].isfinite()
    assert dist.point[0].isfinite().all()
    assert not dist.map(abs).point[1, 2].isfinite()


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"draws": torch.ones(0, 3)}, ValueError, "at least 1 draw"),
        ({"draws": torch.tensor(1.0)}, ValueError, "at least 1 draw"),
        ({"draws": [torch.ones(3)]}, TypeError, "tensor of draws, got list"),
        ({"draws": torch.ones(2, 3, dtype=torch.complex64)}, TypeError, "real numbers"),
        ({"deterministic": torch.ones(4)}, ValueError, r"shape of a draw, \(3,\); got \(4,\)"),
        ({"predictions": torch.ones(3, 3)}, ValueError, "one entry for each of the 2 draws"),
        ({"nan_policy": "omit"}, ValueError, "nan_policy is one of .* got 'omit'"),
        ({"summary": "average"}, ValueError, "no statistic is called 'average'"),
    ],
)
def test_what_does_not_fit_is_refused(changes, error, match):
    with pytest.raises(error, match=match):
        DistributionAttribution(**{"draws": torch.ones(2, 3), **changes})


# ---- accessors

ACCESSORS = {
    "expectation": (),
    "variance": (0,),
    "stdev": (0,),
    "moment": (3, False, True),
    "skewness": (),
    "kurtosis": (),
    "percentile": ([40, 60],),
    "interval": (0.5,),
    "snr": (0,),
    "confusion": (0,),
    "cv": (0,),
    "probability_positive": (),
    "sign_certainty": (),
    "union": (60,),
    "intersection": (40,),
}


@pytest.mark.parametrize("name", ACCESSORS)
def test_an_accessor_is_its_statistic_on_the_draws_and_plain(name):
    dist = make()
    result, expected = getattr(dist, name)(*ACCESSORS[name]), getattr(stats, name)(dist.draws, *ACCESSORS[name])
    for one, other in zip(*((each,) if plain(each) else each for each in (result, expected)), strict=True):
        assert plain(one)
        assert torch.equal(one, other)


def test_every_statistic_has_its_accessor():
    assert set(stats.__all__) - {"Summary", "summarize", "median"} == set(ACCESSORS)


REDUCTIONS = {"mean": (), "std": (), "var": (), "median": (), "quantile": (0.5,)}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_bare_reduction_raises_and_names_both_ways_out(name):
    dist = make()
    bare = [({}), ({"dim": None}), ({"axis": None})]
    for keywords in bare + ([{"unbiased": False}, {"correction": 0}] if name in {"std", "var"} else []):
        with pytest.raises(TypeError, match=rf"over draws, or dist\.point\.{name}\(q?\) over the elements"):
            getattr(dist, name)(*REDUCTIONS[name], **keywords)
    assert plain(getattr(dist.point, name)(*REDUCTIONS[name]))


def test_the_old_unbiased_flag_of_std_is_no_axis():
    with pytest.raises(TypeError, match=r"dist\.stdev\(\)"):
        make().std(False)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_with_dim_is_torchs_on_its_own_values(name):
    dist = make()
    for args, keywords in [((1,), {}), ((), {"dim": -1}), ((), {"dim": 0, "keepdim": True})]:
        result = getattr(dist, name)(*REDUCTIONS[name], *args, **keywords)
        expected = getattr(dist.point, name)(*REDUCTIONS[name], *args, **keywords)
        if name == "median":
            result, expected = result.values, expected.values
        assert plain(result)
        assert torch.equal(result, expected)


def test_numpys_name_for_the_axis_works_as_well():
    assert torch.equal(make().mean(axis=1), make().point.mean(dim=1))


def test_the_functions_of_torch_stay_torchs():
    dist = make()
    for function in (torch.mean, torch.std, torch.median):
        assert plain(function(dist))
        assert torch.equal(function(dist), function(dist.point))


# ---- a tensor whose results are plain

OPERATIONS = {
    "sum over channels": lambda x: x.sum(dim=1),
    "sum": torch.sum,
    "squeeze": lambda x: x.squeeze(),
    "times": lambda x: x * 2,
    "reflected": lambda x: 2 - x,
    "itself": lambda x: x + x,
    "abs": lambda x: x.abs(),
    "compare": lambda x: x > 0,
    "contiguous": lambda x: x.contiguous(),
    "transpose": lambda x: x.mT,
    "data": lambda x: x.data,
    "view": lambda x: x.view(N, -1),
    "where": lambda x: torch.where(x > 0, x, 0),
    "atleast": torch.atleast_1d,
    "stack": lambda x: torch.stack([x, x]),
    "relu": torch.relu,
    "normalize": lambda x: torch.nn.functional.normalize(x, dim=1),
    "zeros_like": torch.zeros_like,
    "from numpy": lambda x: x.new_tensor([1.0]),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_returns_the_plain_tensor_that_its_values_would(name):
    dist = make()
    result = OPERATIONS[name](dist)
    assert plain(result)
    assert torch.equal(result, OPERATIONS[name](dist.point))


def test_results_in_tuples_and_lists_are_plain():
    dist = make()
    for parts in (torch.broadcast_tensors(dist, torch.ones(1)), dist.split(2), dist.unbind(), dist.max(dim=0)):
        assert all(map(plain, parts))


def test_a_plain_tensor_may_be_written_from_it():
    dist = make()
    total = torch.zeros(N, 3, 4)
    assert total.add_(dist) is total
    total += dist
    total[:1] = dist.point[:1]
    torch.add(dist, 1, out=total)
    assert plain(total)
    assert torch.equal(total, dist.point + 1)


def set_item(x):
    x[0] = 0


def set_data(x):
    x.data = torch.zeros(N, 3, 4)


WRITERS = {
    "method": lambda x: x.mul_(2),
    "item": set_item,
    "data": set_data,
    "out": lambda x: torch.add(x, 1, out=x),
    "function": torch.relu_,
    "inplace argument": lambda x: torch.nn.functional.relu(x, inplace=True),
    "init": torch.nn.init.zeros_,
    "foreach": lambda x: torch._foreach_add_([x], 1),
    "copy": lambda x: x.copy_(torch.zeros(N, 3, 4)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_writing_into_it_raises_before_anything_is_written(name):
    dist = make()
    before = copy.deepcopy(dist)
    with pytest.raises(RuntimeError, match=r"would change the values .*dist\.point\.clone\(\).*dist\.map\(fn\)"):
        WRITERS[name](dist)
    assert_same(dist, before)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow"])
def test_an_augmented_assignment_gives_the_name_a_plain_tensor(name):
    """As in ``total += attribution``, which users of Captum write to sum over batches."""
    dist = make()
    before = copy.deepcopy(dist)
    total = getattr(operator, f"__i{name}__")(dist, 2)
    assert plain(total)
    assert torch.equal(total, getattr(operator, f"__{name}__")(before.point, 2))
    assert_same(dist, before)


def test_writing_into_its_numpy_array_leaves_it_whole():
    dist = make()
    for array in (dist.numpy(), np.asarray(dist), np.array(dist), dist.detach().cpu().numpy()):
        np.testing.assert_array_equal(array, dist.point.numpy())
        array /= 2
    assert torch.equal(dist.point, stats.expectation(dist.draws))
    assert np.asarray(dist, dtype=np.float64).dtype == np.float64


def test_it_works_beside_other_tensor_subclasses():
    class Image(Tensor):
        pass

    image = torch.ones(N, 3, 4).as_subclass(Image)
    for result in (make() * image, image * make(), make() * torch.nn.Parameter(torch.ones(4))):
        assert torch.equal(result.as_subclass(Tensor), make().point)


def test_matplotlib_draws_it():
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    axes.imshow(make((4, 4))[0:4])
    axes.plot(make((4,)))
    figure.canvas.draw()
    plt.close(figure)


def test_closeness_and_equality_compare_its_values():
    dist = make()
    torch.testing.assert_close(dist.point, stats.expectation(dist.draws))
    torch.testing.assert_close(dist, dist.point)
    assert torch.equal(dist, dist.point)
    assert (dist == dist.point).all()


def test_a_gradient_reaches_its_values_and_never_the_draws():
    dist = make().requires_grad_()
    assert type(dist) is DistributionAttribution
    (dist * 3).sum().backward()
    assert (dist.grad == 3).all()
    assert not dist.draws.requires_grad
    assert not dist.detach().requires_grad
    assert not dist.requires_grad_(False).requires_grad


# ---- indexing

INDICES = {
    "int": 3,
    "last": -1,
    "numpy int": np.int64(2),
    "tensor int": torch.tensor(2),
    "slice": slice(1, 4),
    "step": slice(None, None, 2),
    "empty slice": slice(0, 0),
    "list": [0, 2],
    "tensor": torch.tensor([4, 0, 0]),
    "array": np.array([1, 3]),
    "mask": torch.tensor([True, False, True, False, False]),
    "mask list": [True, False, True, False, False],
    "nothing": (),
    "ellipsis": ...,
    "channel": (slice(None), 0),
    "last axis": (..., slice(1, 3)),
    "last entries": (..., [0, 1]),
    "one entry": (2, 1, 3),
    "one of each": (..., 0),
    "spelt ellipsis": (slice(0, 2), ..., 1),
    "mask behind an ellipsis": (..., torch.tensor([True, False, True, False])),
    "idle ellipsis": (..., slice(1, 2), 0, 1),
    "example and channels": (1, [0, 2]),
    "examples then slice": ([1, 0], slice(None), 2),
    "new axis behind": (slice(None), None),
    "int and new axis": (0, None),
}
MIXING = {
    "new axis in front": None,
    "whole mask": normal(N, 3, 4) > 0,
    "pairs": ([0, 1], [2, 0]),
    "apart": ([0, 1], slice(None), [2, 0]),
    "apart behind": (slice(None), [0, 1], None, [2, 0]),
    "matrix": torch.tensor([[0, 1], [2, 3]]),
    "true": True,
}
TWIST = {"behind": (slice(None), [0, 1], [2, 0]), "int between": (slice(None), torch.tensor([0, 1]), 2)}


@pytest.mark.parametrize("name", [*INDICES, *MIXING, *TWIST])
def test_an_index_means_the_same_entries_in_every_draw(name):
    index = {**INDICES, **MIXING, **TWIST}[name]
    dist = make()
    part = dist[index]
    assert type(part) is DistributionAttribution
    assert torch.equal(part.point, dist.point[index])
    assert torch.equal(part.draws, torch.stack([draw[index] for draw in dist.draws]))
    assert torch.equal(part.deterministic, dist.deterministic[index])
    assert part.stdev().shape == part.shape
    torch.testing.assert_close(part.point, part.expectation())


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("name", [*INDICES, *TWIST])
def test_predictions_and_targets_follow_the_examples(name, as_tensor):
    index = {**INDICES, **TWIST}[name]
    labels = torch.arange(N) * 10
    part = make(target=labels if as_tensor else labels.tolist())[index]
    numbers = torch.arange(N).reshape(N, 1, 1).expand(N, 3, 4)[index]
    has_examples = part.predictions.ndim == 3
    chosen = numbers.reshape(*numbers.shape, 1).flatten(1)[:, 0] if has_examples else numbers.reshape(-1)[0]
    assert torch.equal(part.predictions, make().predictions[:, chosen])
    assert torch.equal(torch.as_tensor(part.target), labels[chosen])
    assert isinstance(part.target, Tensor) == as_tensor


@pytest.mark.parametrize("name", MIXING)
def test_an_index_that_mixes_examples_drops_what_belongs_to_them(name):
    part = make()[MIXING[name]]
    assert part.predictions is None
    assert part.target is None
    assert make(target=7)[MIXING[name]].target == 7


def test_one_example_has_no_examples_left_to_index():
    example = make(target=torch.arange(N))[1]
    assert_same(example[2][0], make(target=torch.arange(N))[1, 2, 0])
    assert torch.equal(example[2].predictions, example.predictions)
    assert example[2].target == example.target


@pytest.mark.parametrize("target", [None, 3, (1, 2), torch.tensor(3), torch.tensor([3]), [1, 2]])
def test_a_target_for_all_examples_stays(target):
    kept = make(target=target)[1].target
    assert kept is target


def test_what_was_not_recorded_is_still_missing_in_a_part():
    part = make(deterministic=None, predictions=None, target=None)[1:3]
    assert part.deterministic is None
    assert part.predictions is None
    assert part.target is None


def test_predictions_of_another_batch_stay():
    predictions = normal(T)
    assert torch.equal(make(predictions=predictions)[1].predictions, predictions)


def test_a_list_of_tuples_is_a_target_per_example():
    dist = make(target=[(0, each) for each in range(N)])
    assert dist[2].target == (0, 2)
    assert dist[1:3].target == [(0, 1), (0, 2)]


def test_an_index_out_of_range_raises_as_torchs():
    with pytest.raises(IndexError):
        make()[N]
    with pytest.raises(IndexError):
        make(())[0]


def test_iteration_gives_the_examples_as_distributions():
    dist = make()
    assert len(dist) == N
    examples = list(dist)
    assert len(examples) == N
    for at, example in enumerate(examples):
        assert_same(example, dist[at])
    with pytest.raises(TypeError, match="0-d"):
        list(make(()))
    for one, other in zip(reversed(dist), reversed(range(len(dist))), strict=True):
        assert_same(one, dist[other])


def test_slices_are_views_of_the_draws():
    dist = make()
    for part in (dist[1], dist[1:3], dist[:, 1]):
        assert part.draws.untyped_storage().data_ptr() == dist.draws.untyped_storage().data_ptr()


# ---- map


def test_map_applies_to_every_draw_before_any_statistic():
    dist = make(summary="median")
    mapped = dist.map(lambda draw: draw.abs().sum(dim=1))
    assert torch.equal(mapped.draws, dist.draws.abs().sum(dim=2))
    assert torch.equal(mapped.deterministic, dist.deterministic.abs().sum(dim=1))
    assert torch.equal(mapped.point, stats.median(mapped.draws))
    assert torch.equal(mapped.predictions, dist.predictions)
    assert (mapped.seed, mapped.sampler, mapped.target) == (dist.seed, dist.sampler, dist.target)


def test_map_and_an_index_of_examples_commute():
    dist = make()
    one, other = dist.map(normalization.signed_max)[1:3], dist[1:3].map(normalization.signed_max)
    assert torch.equal(one.draws, other.draws)
    assert torch.equal(one.deterministic, other.deterministic)
    torch.testing.assert_close(one.point, other.point)


def test_a_function_that_writes_into_its_draw_changes_nothing_else():
    dist = make()
    before = copy.deepcopy(dist)
    mapped = dist.map(lambda draw: draw.clamp_(min=0))
    assert_same(dist, before)
    assert (mapped.draws >= 0).all()


@pytest.mark.parametrize(
    ("fn", "error", "match"),
    [
        (lambda draw: draw.sum(), ValueError, r"keep the first axis, the 5 examples; it made \(\)"),
        (lambda draw: draw[:2], ValueError, r"made \(2, 3, 4\) of \(5, 3, 4\)"),
        (lambda draw: draw.numpy(), TypeError, "must return a tensor .* got ndarray"),
        (lambda draw: draw[:, : 1 + int(draw[0, 0, 0] > 0)], ValueError, "all draws one shape"),
        (lambda draw: draw / 0, ValueError, "draw 0 holds NaN or infinity"),
    ],
)
def test_a_map_must_give_draws_of_the_same_examples(fn, error, match):
    with pytest.raises(error, match=match):
        make().map(fn)


def test_one_example_may_be_reduced_to_a_number():
    assert make()[0].map(torch.sum).shape == ()


def test_a_mapped_graph_is_cut():
    weight = torch.ones(4, requires_grad=True)
    mapped = make().map(lambda draw: draw * weight)
    for tensor in (mapped.draws, mapped.deterministic, mapped.point):
        assert not tensor.requires_grad


# ---- merge


def test_merged_draws_are_those_of_one_larger_run():
    one, other = make(), make(n_draws=4, seed=9)
    merged = one.merge(other)
    assert torch.equal(merged.draws, torch.cat([one.draws, other.draws]))
    assert torch.equal(merged.predictions, torch.cat([one.predictions, other.predictions]))
    assert torch.equal(merged.point, stats.expectation(merged.draws))
    assert torch.equal(merged.deterministic, one.deterministic)
    assert merged.n_draws == T + 4
    assert merged.seed == (3, 9)
    assert merged.sampler == "MCDropout()"


def test_merging_the_same_networks_twice_is_refused_however_deep():
    merged = make().merge(make(seed=9))
    for again in (make(), make(seed=9), merged):
        with pytest.raises(ValueError, match=r"drawn by MCDropout\(\) from seed=\d, so they repeat"):
            merged.merge(again)
    with pytest.raises(ValueError, match="unnamed sampler from seed=3"):
        make(sampler=None).merge(make(sampler=None))


def test_other_samplers_and_unknown_seeds_may_be_merged():
    assert make().merge(make(sampler="NoiseGrad()").map(torch.neg)).sampler == "MCDropout() + NoiseGrad()"
    assert make(seed=None).merge(make(seed=None)).seed == (None, None)


@pytest.mark.parametrize("keep", ["draws", "moments"])
@pytest.mark.parametrize("n_draws", [T, T - 2])
@pytest.mark.parametrize("behind", [False, True], ids=["", "behind others"])
@pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])
@pytest.mark.parametrize("shape", [(), (N, 3)], ids=str)
def test_the_same_draws_under_another_name_are_not_merged(keep, n_draws, behind, turned, shape):
    def kept(draws, **changes):
        store = Draws(draws) if keep == "draws" else Summaries(keep, MomentSums.of(draws))
        return DistributionAttribution(store, method="Saliency", **changes)

    draws = normal(T, *shape)
    one, again = kept(draws, seed=3, sampler="MCDropout()"), kept(draws[:n_draws], seed=3, sampler="MCDropout(p=0.5)")
    if behind:
        one = kept(normal(4, *shape, seed=8), seed=8, sampler="MCDropout()").merge(one)
    if keep == "moments" and (behind or n_draws < T):
        return  # of other draws too: the sums do not tell
    with pytest.raises(ValueError, match="both results were drawn from seed=3, and draw for draw they are equal"):
        again.merge(one) if turned else one.merge(again)
    other = kept(draws.flip(0) + 1, seed=3, sampler="MCDropout(p=0.5)")
    assert one.merge(other).n_draws == one.n_draws + T
    assert one.merge(kept(draws, seed=4, sampler="NoiseGrad()")).n_draws == one.n_draws + T


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"shape": (N, 3, 5)}, r"one shape, got \(5, 3, 4\) and \(5, 3, 5\)"),
        ({"method": "LRP"}, "one method, got Saliency and LRP"),
        ({"target": 7}, "one target"),
    ],
)
def test_results_on_different_things_are_not_merged(changes, match):
    with pytest.raises(ValueError, match=match):
        make().merge(make(seed=9, **changes))


def test_a_merge_knows_what_one_of_the_two_knows_of_the_network_as_it_stands():
    own = normal(N, 10, seed=5)
    merged = make().merge(make(seed=9, own_predictions=own))
    assert torch.equal(merged.predictions.deterministic, own)


def test_merge_takes_a_distribution():
    with pytest.raises(TypeError, match="another DistributionAttribution, got Tensor"):
        make().merge(make().point)


def test_a_merge_keeps_what_it_can():
    other = make(seed=9, predictions=None, target=torch.arange(N), nan_policy="propagate")
    merged = make(deterministic=None).merge(other)
    assert merged.predictions is None
    assert torch.equal(merged.deterministic, other.deterministic)
    assert merged.map(lambda draw: draw / 0).n_draws == 2 * T


# ---- moves and copies


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("start", DTYPES, ids=str)
def test_a_conversion_converts_draws_and_values_and_keeps_the_rest(start, dtype):
    dist = make(dtype=start)
    short = {torch.float16: "half", torch.bfloat16: "bfloat16", torch.float32: "float", torch.float64: "double"}
    for converted in (
        dist.to(dtype),
        dist.to("cpu", dtype),
        getattr(dist, short[dtype])(),
        dist.to(normal(1, dtype=dtype)),
    ):
        assert type(converted) is DistributionAttribution
        assert torch.equal(converted.draws, dist.draws.to(dtype))
        assert torch.equal(converted.deterministic, dist.deterministic.to(dtype))
        assert torch.equal(converted.point, dist.point.to(dtype))
        assert torch.equal(converted.predictions, dist.predictions)


def test_everything_moves_to_the_device():
    moved = make(target=torch.arange(N)).to("meta")
    for tensor in (moved.point, moved.draws, moved.deterministic, moved.predictions, moved.target):
        assert tensor.device.type == "meta"
    repr(moved)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_everything_moves_to_the_gpu_and_back():
    moved = make(target=torch.arange(N)).cuda()
    for tensor in (moved.point, moved.draws, moved.deterministic, moved.predictions, moved.target):
        assert tensor.is_cuda
    assert_same(moved.cpu(), make(target=torch.arange(N)))


def test_a_memory_format_is_that_of_the_map():
    dist = make((2, 3, 4, 4))
    assert dist.to(memory_format=torch.channels_last).is_contiguous(memory_format=torch.channels_last)
    assert_same(dist.to(memory_format=torch.channels_last), dist)
    assert_same(dist.cpu(memory_format=torch.channels_last), dist)


SAME = {
    "detach": lambda dist: dist.detach(),
    "cpu": lambda dist: dist.cpu(),
    "clone": lambda dist: dist.clone(),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda dist: pickle.loads(pickle.dumps(dist)),
}
OWN_MEMORY = ("clone", "deepcopy", "pickle")
VARIANTS = {
    "full": {},
    "bare": {"deterministic": None, "predictions": None, "seed": None, "sampler": None, "method": None, "target": 1},
    "tensor target": {"target": torch.arange(N)},
    "one draw": {"n_draws": 1},
    "no dims": {"shape": ()},
    "no features": {"shape": (N, 0)},
    "bfloat16": {"dtype": torch.bfloat16},
    "deterministic": {"summary": "deterministic"},
    "tuples": {"target": [(each, 0) for each in range(N)]},
}


def by_torch_save(dist):
    buffer = io.BytesIO()
    torch.save(dist, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("way", [*SAME, "torch.save"])
def test_a_copy_holds_everything(way, variant):
    dist = make(**VARIANTS[variant])
    result = {**SAME, "torch.save": by_torch_save}[way](dist)
    assert result is not dist
    assert_same(result, dist)
    if way in OWN_MEMORY and dist.numel():
        assert result.draws.data_ptr() != dist.draws.data_ptr()
        assert result.data_ptr() != dist.data_ptr()


@pytest.mark.parametrize("way", ["copy", "deepcopy", "pickle"])
def test_a_copy_keeps_requires_grad(way):
    assert SAME[way](make().requires_grad_()).requires_grad


def test_deepcopy_copies_once():
    dist = make()
    one, other = copy.deepcopy([dist, dist])
    assert one is other


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_distribution_loads_as_it_was_and_as_data_only(variant, tmp_path):
    dist = make(**VARIANTS[variant])
    dist.save(tmp_path / "dist.pt")
    assert isinstance(torch.load(tmp_path / "dist.pt", weights_only=True), dict)
    assert_same(DistributionAttribution.load(tmp_path / "dist.pt"), dist)
    assert_same(DistributionAttribution.load(str(tmp_path / "dist.pt"), map_location="cpu"), dist)


def test_a_file_of_before_loads(tmp_path):
    """Version 1 has grown an entry, which older files do not have."""
    dist = make()
    dist.save(tmp_path / "new.pt")
    content = torch.load(tmp_path / "new.pt", weights_only=True)
    del content["of_probabilities"]
    torch.save(content, tmp_path / "old.pt")
    assert_same(DistributionAttribution.load(tmp_path / "old.pt"), dist)


def test_a_loaded_distribution_remembers_merges_examples_and_policy(tmp_path):
    merged = make(nan_policy="propagate").merge(make(seed=9))
    for dist in (merged, merged[0]):
        dist.save(tmp_path / "dist.pt")
        loaded = DistributionAttribution.load(tmp_path / "dist.pt")
        assert_same(loaded, dist)
        assert_same(loaded[1], dist[1])
        with pytest.raises(ValueError, match="repeat the same networks"):
            loaded.merge(loaded)
        loaded.map(lambda draw: draw / 0)


def test_one_example_is_saved_without_the_others(tmp_path):
    dist = make((100, 8, 8), n_draws=50)
    dist[3].save(tmp_path / "dist.pt")
    torch.save(dist[3], tmp_path / "dist.pickle")
    for name in ("dist.pt", "dist.pickle"):
        assert (tmp_path / name).stat().st_size < dist.draws.numel() * 4 / 50


def test_what_is_not_data_is_not_saved(tmp_path):
    with pytest.raises(TypeError, match="never code, so not the function summary="):
        make(summary=lambda draws: draws[0]).save(tmp_path / "dist.pt")
    for target in (object(), [np.float32(1)], {"a": 1}):
        with pytest.raises(TypeError, match="save keeps a target of int, tensor"):
            make(target=target).save(tmp_path / "dist.pt")
    assert not (tmp_path / "dist.pt").exists()


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "foreign.pt"
    contents = [{"weight": torch.ones(2)}, torch.ones(2), make(), object()]
    for content in contents:
        torch.save(content, path)
        with pytest.raises(ValueError, match=r"foreign\.pt' is not a file of DistributionAttribution\.save"):
            DistributionAttribution.load(path)
    for text in ("", "text", "PK\x03\x04"):
        path.write_text(text)
        with pytest.raises(ValueError, match="is not a file of"):
            DistributionAttribution.load(path)
    with pytest.raises(FileNotFoundError):
        DistributionAttribution.load(tmp_path / "missing.pt")


class Intruder:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_loaded_file_runs_no_code(tmp_path):
    make().save(tmp_path / "dist.pt")
    content = torch.load(tmp_path / "dist.pt", weights_only=True)
    torch.save({**content, "target": Intruder(str(tmp_path / "trace"))}, tmp_path / "dist.pt")
    with pytest.raises(ValueError, match="is not a file of"):
        DistributionAttribution.load(tmp_path / "dist.pt")
    assert not (tmp_path / "trace").exists()


def test_a_file_of_another_version_or_with_other_entries_is_refused(tmp_path):
    path = tmp_path / "dist.pt"
    make().save(path)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "version": 2}, path)
    with pytest.raises(ValueError, match="format version 2 and this captum_uq reads 1"):
        DistributionAttribution.load(path)
    torch.save({**content, "extra": 1}, path)
    with pytest.raises(ValueError, match="its entries are"):
        DistributionAttribution.load(path)


# ---- repr


def test_the_repr_tells_where_the_draws_came_from():
    text = repr(make())
    for part in ("T=6", "shape=(5, 3, 4)", "'mean'", "'MCDropout()'", "'Saliency'", "seed=3", "tensor("):
        assert part in text
    assert "dtype=torch.float16" in str(make(dtype=torch.float16))
    assert "summary='first'" in repr(make(summary=first))


def test_what_made_it_is_kept_as_text_and_keeps_nothing_alive():
    dist = make(sampler=torch.nn.Dropout(0.25), method=torch.float32, seed=np.int64(4))
    assert dist.sampler == "Dropout(p=0.25, inplace=False)"
    assert dist.method == "torch.float32"
    assert type(dist.seed) is int


def first(draws):
    return draws[0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_repr_never_fails(variant):
    dist = make(**VARIANTS[variant])
    for each in (dist, dist.requires_grad_(), dist.map(abs), torch.ones(2).as_subclass(DistributionAttribution)):
        assert repr(each).startswith("DistributionAttribution(")
        assert f"{each}" == repr(each)


def test_a_number_is_formatted_as_one():
    dist = DistributionAttribution(torch.tensor([1.0, 2.0]))
    assert f"{dist:.2f}" == "1.50"


def test_it_holds_little_more_than_its_draws():
    draws = normal(1000, 1, 1, 32, 32)
    dist = DistributionAttribution(draws)
    assert dist.draws.untyped_storage().nbytes() + dist.untyped_storage().nbytes() < 5e6


def test_nothing_here_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dist = make(n_draws=1)
        copy.deepcopy(dist)
        np.asarray(dist[0].map(abs))
