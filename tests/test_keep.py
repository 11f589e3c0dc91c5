"""What is kept of the draws: whatever it is, an accessor gives what the draws give, or says what is missing."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from captum.attr import Attribution, FeatureAblation, GradientShap, IntegratedGradients, Saliency
from torch import Tensor

import captum_uq.attr
from captum_uq import MCRP, DistributionAttribution, MCDropout, StochasticAttribution, Unchanged
from captum_uq._rng import seed_global
from captum_uq.distribution.keep import Keep
from captum_uq.execution.kept import Kept
from captum_uq.samplers import Ensemble
from captum_uq.stats import streaming
from language_model import Tokenizer, Transformer
from networks import KINDS, build

Distribution = DistributionAttribution
T, N = 41, 4
KEEPS = ("draws", "moments", "percentiles", "percentiles:5,50,95")
FEWER = KEEPS[1:]
CHUNKS = (1, 3, T)

MOMENTS: dict[str, Callable[[Distribution], Any]] = {
    "expectation": lambda dist: dist.expectation(),
    "variance": lambda dist: dist.variance(),
    "variance of MCRP": lambda dist: dist.variance(correction=0),
    "stdev": lambda dist: dist.stdev(),
    "moment": lambda dist: dist.moment(4),
    "raw moment": lambda dist: dist.moment(3, central=False),
    "standardized moment": lambda dist: dist.moment(3, False, True),
    "skewness": lambda dist: dist.skewness(),
    "kurtosis": lambda dist: dist.kurtosis(),
    "snr": lambda dist: dist.snr(),
    "confusion": lambda dist: dist.confusion(0),
    "cv": lambda dist: dist.cv(),
    "probability_positive": lambda dist: dist.probability_positive(),
    "sign_certainty": lambda dist: dist.sign_certainty(),
    "its own values": lambda dist: dist.point,
}
EXTREMES: dict[str, Callable[[Distribution], Any]] = {
    "smallest and largest": lambda dist: dist.percentile([0, 100]),
    "interval of all": lambda dist: dist.interval(1.0),
}
OUTER: dict[str, Callable[[Distribution], Any]] = {
    "percentile": lambda dist: dist.percentile(5),
    "percentiles": lambda dist: dist.percentile([5, 95]),
    "beyond": lambda dist: dist.percentile([2.5, 97.5]),
    "interval": lambda dist: dist.interval(),
    "union": lambda dist: dist.union(),
    "intersection": lambda dist: dist.intersection(),
}
INNER: dict[str, Callable[[Distribution], Any]] = {
    "median": lambda dist: dist.percentile(50),
    "lower": lambda dist: dist.percentile([25, 40]),
}
DRAWS: dict[str, Callable[[Distribution], Any]] = {
    "draws": lambda dist: dist.draws,
    "map": lambda dist: dist.map(abs).draws,
    "given": lambda dist: dist[0].given(prediction=int(dist.predictions.classes()[0, 0])).draws,
    "fifth moment": lambda dist: dist.moment(5),
    "inner percentile": lambda dist: dist.percentile(70),
    "inner interval": lambda dist: dist.interval(0.5),
    "inner union": lambda dist: dist.union(60),
}
GIVEN = {
    "draws": MOMENTS | EXTREMES | OUTER | INNER | DRAWS,
    "moments": MOMENTS | EXTREMES,
    "percentiles": MOMENTS | EXTREMES | OUTER,
    "percentiles:5,50,95": MOMENTS | EXTREMES | OUTER | INNER,
}
EVERY = GIVEN["draws"]
PAIRS = [(keep, name) for keep in FEWER for name in EVERY]


@pytest.fixture(autouse=True)
def _buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small enough that what these tests draw does not fit into them."""
    monkeypatch.setattr(streaming, "ENTRIES", 70)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="percentile .* needs at least")
        yield


def normal(*shape: int, seed: int = 0) -> Tensor:
    return 0.5 + torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make(keep: str, size: int = 3, draws: Tensor | None = None, **changes: Any) -> Distribution:
    """A distribution of draws that came in chunks."""
    draws = normal(T, N, 3, 2) if draws is None else draws
    kept = Kept(len(draws), keep, "raise")
    for start in range(0, len(draws), size):
        kept.put(start, draws[start : start + size])
    facts = {
        "deterministic": draws[0] * 2,
        "predictions": normal(len(draws), N, 5, seed=1),
        "own_predictions": normal(N, 5, seed=1),
        "seed": 3,
        "sampler": "MCDropout()",
        "method": "Saliency",
        "target": torch.arange(N),
        **changes,
    }
    return kept.finish(lambda store: Distribution(store, **facts))


def tensors(result: Any) -> list[Tensor]:
    return [leaf for each in result for leaf in tensors(each)] if isinstance(result, (tuple, list)) else [result]


def assert_close(ours: Any, whole: Any, exact: bool = False) -> None:
    for one, other in zip(tensors(ours), tensors(whole), strict=True):
        assert type(one) is type(other) is Tensor
        assert one.dtype == other.dtype
        tolerance = 0.0 if exact or not other.numel() else 1e-6
        largest = float(other.double().abs().max()) if other.numel() else 0.0
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * largest, equal_nan=True)


def assert_same(one: Distribution, other: Distribution) -> None:
    """Everything that two distributions know is the same."""
    assert type(one) is type(other) is Distribution
    for name in GIVEN[other.keep]:
        assert_close(EVERY[name](one), EVERY[name](other), exact=True)
    for name in ("keep", "n_draws", "seed", "sampler", "method", "summary"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("point", "deterministic", "predictions", "target"):
        assert torch.equal(torch.as_tensor(getattr(one, name)), torch.as_tensor(getattr(other, name))), name


# ---- accessors


@pytest.mark.parametrize(("keep", "name"), PAIRS)
@pytest.mark.parametrize("size", CHUNKS)
def test_an_accessor_gives_what_the_draws_give_or_says_what_is_missing(keep: str, name: str, size: int) -> None:
    dist = make(keep, size)
    if name in GIVEN[keep]:
        exact = name not in MOMENTS or name in {"probability_positive", "sign_certainty"}
        assert_close(EVERY[name](dist), EVERY[name](make("draws")), exact)
        return
    with pytest.raises(ValueError, match=f"keep='{keep}' did not keep the draws: .*Attribute with keep='draws'"):
        EVERY[name](dist)


@pytest.mark.parametrize("size", CHUNKS)
def test_draws_that_come_in_chunks_are_the_draws(size: int) -> None:
    assert torch.equal(make("draws", size).draws, normal(T, N, 3, 2))


def test_every_accessor_is_in_the_table() -> None:
    statistics = {name for name in vars(captum_uq.distribution.accessors.DrawStatistics) if not name.startswith("_")}
    asked: set[str] = set()

    class Asked:
        def __getattr__(self, name: str) -> Any:
            asked.add(name)
            raise KeyError

    for function in EVERY.values():
        with pytest.raises((KeyError, TypeError)):
            function(Asked())
    assert statistics <= asked


def test_the_error_names_what_gives_the_percentile() -> None:
    with pytest.raises(ValueError, match=r"percentile\(50\) needs more of them.*keep='percentiles:5,50'"):
        make("percentiles").percentile(50)
    with pytest.raises(ValueError, match=r"moment\(5, True, False\) .*up to order 4\. Attribute with keep='draws'\.$"):
        make("percentiles").moment(5)


@pytest.mark.parametrize("keep", FEWER)
@pytest.mark.parametrize("n_draws", [1, 2, 5])
def test_few_draws_give_what_few_draws_give(keep: str, n_draws: int) -> None:
    draws = normal(n_draws, N, 3)
    dist, whole = make(keep, 2, draws), make("draws", 2, draws)
    for name in GIVEN[keep]:
        if n_draws == 1 and name in {"variance", "stdev", "snr", "cv"}:
            messages = []
            for each in (dist, whole):
                with pytest.raises(ValueError, match="needs at least 2 draws, got 1") as refused:
                    EVERY[name](each)
                messages.append(str(refused.value))
            assert messages[0] == messages[1]
        else:
            assert_close(EVERY[name](dist), EVERY[name](whole))


@pytest.mark.parametrize("keep", FEWER)
def test_too_few_draws_are_told_as_ever(keep: str) -> None:
    dist = make(keep, 2, normal(9, N, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repr(dist)
        dist.stdev()
        if keep != "moments":
            with pytest.raises(UserWarning, match="percentile 5 needs at least 20 draws, got 9"):
                dist.percentile(5)


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("summary", ["mean", "median", "percentile:5", "stdev", "union", "union:97", "deterministic"])
def test_its_own_values_are_the_summary_where_that_is_kept(keep: str, summary: str) -> None:
    needed = {"median": {"draws", "percentiles:5,50,95"}, "percentile:5": set(KEEPS) - {"moments"}}
    needed |= dict.fromkeys(("union", "union:97"), set(KEEPS) - {"moments"})
    if keep in needed.get(summary, KEEPS):
        assert_close(make(keep, summary=summary).point, make("draws", summary=summary).point)
    else:
        with pytest.raises(ValueError, match="did not keep the draws"):
            make(keep, summary=summary)


def test_a_function_of_the_draws_is_no_summary_of_what_is_kept() -> None:
    with pytest.raises(ValueError, match="is a function of them"):
        make("moments", summary=lambda draws: draws.amax(0))


# ---- what keeps the distribution

INDICES = {
    "int": 2,
    "slice": slice(1, 3),
    "list": [3, 0],
    "mask": torch.tensor([True, False, True, False]),
    "channel": (slice(None), 0),
    "last": (..., 1),
    "new axis": None,
    "entry": (1, 2, 0),
    "apart": ([0, 1], slice(None), [1, 0]),
    "empty": slice(0, 0),
}


@pytest.mark.parametrize("keep", FEWER)
@pytest.mark.parametrize("name", INDICES)
def test_an_index_means_the_same_entries_of_everything_kept(keep: str, name: str) -> None:
    index = INDICES[name]
    part, whole = make(keep)[index], make("draws")[index]
    assert type(part) is Distribution
    assert part.shape == whole.shape
    for accessor in GIVEN[keep]:
        moments = accessor in MOMENTS
        expected = EVERY[accessor](make(keep))[index] if moments else EVERY[accessor](whole)
        assert_close(EVERY[accessor](part), expected, exact=True)
    assert torch.equal(torch.as_tensor(part.deterministic), whole.deterministic)
    assert (part.predictions is None) == (whole.predictions is None)
    if whole.predictions is not None:
        assert torch.equal(part.predictions, whole.predictions)
        assert torch.equal(torch.as_tensor(part.target), torch.as_tensor(whole.target))


def by_torch_save(dist: Distribution) -> Distribution:
    buffer = io.BytesIO()
    torch.save(dist, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


SAME: dict[str, Callable[[Distribution], Distribution]] = {
    "detach": lambda dist: dist.detach(),
    "cpu": lambda dist: dist.cpu(),
    "to": lambda dist: dist.to(torch.float32),
    "clone": lambda dist: dist.clone(),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda dist: pickle.loads(pickle.dumps(dist)),
    "torch.save": by_torch_save,
}


@pytest.mark.parametrize("keep", FEWER)
@pytest.mark.parametrize("way", SAME)
def test_a_copy_knows_what_it_is_of(keep: str, way: str) -> None:
    assert_same(SAME[way](make(keep)), make(keep))


@pytest.mark.parametrize("keep", FEWER)
def test_a_saved_distribution_loads_as_it_was_and_as_data_only(keep: str, tmp_path: Path) -> None:
    for dist in (make(keep), make(keep)[1:3], make(keep)[2]):
        dist.save(tmp_path / "dist.pt")
        assert isinstance(torch.load(tmp_path / "dist.pt", weights_only=True), dict)
        loaded = Distribution.load(tmp_path / "dist.pt")
        assert loaded.keep == keep
        for accessor in GIVEN[keep].keys() - {"its own values"}:
            assert_close(EVERY[accessor](loaded), EVERY[accessor](dist), exact=True)


@pytest.mark.parametrize("keep", FEWER)
def test_one_example_is_saved_without_the_others(keep: str, tmp_path: Path) -> None:
    dist = make(keep, draws=normal(100, 60, 8, 8), predictions=None, target=None)
    for path, save in ((tmp_path / "dist.pt", Distribution.save), (tmp_path / "dist.pickle", torch.save)):
        save(dist[3], path)
        assert path.stat().st_size < 100 * 64 * 4 + 20_000


@pytest.mark.parametrize("keep", FEWER)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_a_conversion_converts_results_and_loses_none_of_the_sums(keep: str, dtype: torch.dtype) -> None:
    dist, whole = make(keep), make("draws")
    converted = dist.to(dtype)
    assert converted.dtype == dtype
    for name in GIVEN[keep]:
        for ours, expected in zip(tensors(EVERY[name](converted)), tensors(EVERY[name](whole)), strict=True):
            assert ours.dtype == dtype
            tolerance = max(1e-6, torch.finfo(dtype).eps)
            torch.testing.assert_close(ours, expected.to(dtype), rtol=tolerance, atol=tolerance * expected.abs().max())
    assert_close(converted.float().stdev(), dist.stdev(), exact=True)


@pytest.mark.parametrize("keep", FEWER)
def test_everything_moves_to_the_device(keep: str) -> None:
    moved = make(keep).to("meta")
    for name in (*MOMENTS, *EXTREMES):
        assert all(each.device.type == "meta" for each in tensors(EVERY[name](moved)))


def test_its_text_says_what_was_kept() -> None:
    assert "T=41, keep='moments', shape=(4, 3, 2)" in repr(make("moments"))
    assert "keep" not in repr(make("draws"))


# ---- merge


@pytest.mark.parametrize("name", [*MOMENTS, *EXTREMES])
@pytest.mark.parametrize("share", [1, 20, 40])
def test_merged_moments_are_those_of_all_draws(name: str, share: int) -> None:
    draws = normal(T, N, 3, 2)
    parts = draws[:share], draws[share:]
    one, other = (make("moments", 3, part, seed=seed) for seed, part in enumerate(parts))
    merged = one.merge(other)
    assert merged.n_draws == T
    assert merged.seed == (0, 1)
    assert torch.equal(merged.predictions, torch.cat([one.predictions, other.predictions]))
    assert_close(EVERY[name](merged), EVERY[name](make("draws")))


def test_merges_that_cannot_be_exact_are_refused() -> None:
    for keep in FEWER[1:]:
        with pytest.raises(ValueError, match=f"keep='{keep}' cannot be merged: .*keep='moments'"):
            make(keep).merge(make(keep, seed=4))
    with pytest.raises(ValueError, match="keep='draws' and keep='moments'"):
        make("draws").merge(make("moments", seed=4))
    with pytest.raises(ValueError, match="keep='moments' and keep='percentiles'"):
        make("moments").merge(make("percentiles", seed=4))
    with pytest.raises(ValueError, match="repeat the same networks"):
        make("moments").merge(make("moments"))


# ---- on attribute


def results(tree: Any) -> list[Distribution]:
    return [leaf for each in tree for leaf in results(each)] if isinstance(tree, (tuple, list)) else [tree]


def everything(network: torch.nn.Module, inputs: Any, **options: Any) -> Any:
    uq = StochasticAttribution(IntegratedGradients(network), MCDropout())
    more = {"target": 0, "n_steps": 4, "return_convergence_delta": True, "n_draws": T, "seed": 0}
    return uq.attribute(inputs, **more, **options)


@pytest.mark.parametrize("keep", FEWER)
@pytest.mark.parametrize("kind", ["Dropout", "two inputs and an argument"])
def test_tuples_and_deltas_are_kept_as_the_draws_say(keep: str, kind: str) -> None:
    network, inputs = build(kind), KINDS[kind].inputs(3)
    parts = results(everything(network, inputs, keep=keep))
    wholes = results(everything(network, inputs))
    assert len(parts) == len(wholes) == (3 if kind != "Dropout" else 2)
    for part, whole in zip(parts, wholes, strict=True):
        assert (part.keep, part.n_draws, part.seed, part.shape) == (keep, T, 0, whole.shape)
        assert torch.equal(part.deterministic, whole.deterministic)
        assert torch.equal(part.predictions, whole.predictions)
        names = GIVEN[keep].keys() - {"skewness", "kurtosis", "snr", "cv", "standardized moment"}
        for name in names if part is not parts[-1] else ("expectation", "percentile"):
            if name in GIVEN[keep]:
                assert_close(EVERY[name](part), EVERY[name](whole))


def test_a_language_model_result_keeps_moments() -> None:
    tokenizer = Tokenizer()
    llm = captum_uq.attr.LLMAttribution(captum_uq.attr.FeatureAblation(Transformer()), tokenizer)
    inputs = captum_uq.attr.TextTokenInput("a b c d", tokenizer)
    part, whole = (llm.attribute(inputs, target="e f", n_draws=6, seed=0, keep=keep) for keep in ("moments", "draws"))
    assert_close(part.seq_attr.stdev(), whole.seq_attr.stdev())
    assert_close(part.token_attr.stdev(), whole.token_attr.stdev())
    assert part.input_tokens == ["a", "b", "c", "d"]


@pytest.mark.parametrize("keep", FEWER)
@pytest.mark.parametrize("n_draws", [1, 3])
def test_a_deterministic_sampler_keeps_captums_own_result(keep: str, n_draws: int) -> None:
    network, inputs = build("Dropout").eval(), torch.randn(2, 5)
    for method, more in ((Saliency(network), {}), (GradientShap(network), {"baselines": torch.zeros(2, 5)})):
        seed_global(1)
        plain = method.attribute(inputs, target=0, **more)
        seed_global(1)
        dist = StochasticAttribution(method, Unchanged()).attribute(
            inputs, target=0, n_draws=n_draws, keep=keep, **more
        )
        assert torch.equal(dist.point, plain)
        assert torch.equal(dist.deterministic, plain)


def test_an_ensemble_keeps_moments_too() -> None:
    members = [build("Dropout").eval() for _ in range(3)]
    for at, member in enumerate(members):
        member.head.weight.data += at
    uq = StochasticAttribution(Saliency(members[0]), Ensemble(members))
    part, whole = (uq.attribute(torch.ones(2, 5), target=0, keep=keep) for keep in ("moments", "draws"))
    assert_close(part.variance(), whole.variance())


class Counting(Attribution):  # type: ignore[misc]
    """A method whose result is not finite in one of its calls."""

    calls, bad = 0, -1

    def attribute(self, inputs: Tensor, **kwargs: Any) -> Tensor:
        self.calls += 1
        return torch.full((1, 2), torch.nan if self.calls - 1 == self.bad else float(self.calls))


@pytest.mark.parametrize("keep", FEWER)
def test_a_draw_that_is_not_finite_is_named_at_once_unless_it_may_pass(keep: str) -> None:
    method = Counting(build("Dropout"))
    method.bad = 4
    uq = StochasticAttribution(method, MCDropout())
    options = {"n_draws": 30, "seed": 0, "keep": keep, "return_deterministic": False}
    with pytest.raises(ValueError, match=r"draw 4 holds NaN or infinity\. .*nan_policy"):
        uq.attribute(torch.ones(1, 5), **options)
    assert method.calls == 5
    method.calls = 0
    assert uq.attribute(torch.ones(1, 5), nan_policy="propagate", **options).expectation().isnan().all()
    with pytest.raises(ValueError, match="nan_policy is one of"):
        uq.attribute(torch.ones(1, 5), nan_policy="omit", **options)


def test_the_number_of_a_bad_draw_is_known_inside_a_chunk() -> None:
    draws = normal(T, N, 3)
    draws[17, 1] = torch.inf
    with pytest.raises(ValueError, match="draw 17 holds NaN"):
        make("moments", 5, draws)


@pytest.mark.parametrize(
    ("keep", "summary"), [("moments", "median"), ("percentiles", "percentile:30"), ("moments", lambda draws: draws[0])]
)
def test_a_summary_that_is_not_kept_is_refused_before_anything_is_drawn(keep: str, summary: Any) -> None:
    method = Counting(build("Dropout"))
    with pytest.raises(ValueError, match="did not keep the draws"):
        StochasticAttribution(method, MCDropout(), summary=summary).attribute(torch.ones(1, 5), n_draws=99, keep=keep)
    assert method.calls == 0


@pytest.mark.parametrize(
    "keep", ["mean", "", "draws:5", "moments:2", "percentiles:", "percentiles:a", "percentiles:101", "percentile:5", 5]
)
def test_what_cannot_be_kept_is_refused_with_what_can(keep: Any) -> None:
    with pytest.raises(ValueError, match="keep is 'draws', 'moments', 'percentiles'"):
        Keep.parse(keep)
    method = Counting(build("Dropout"))
    with pytest.raises(ValueError, match="keep is 'draws', 'moments', 'percentiles'"):
        StochasticAttribution(method, MCDropout()).attribute(torch.ones(1, 5), keep=keep)
    assert method.calls == 0


@pytest.mark.parametrize("keep", FEWER)
def test_draws_of_different_shapes_are_refused_by_number(keep: str) -> None:
    kept = Kept(5, keep)
    kept.put(0, torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"Draw 2 returned shape \(1,\), draw 0 shape \(3,\)"):
        kept.put(2, torch.ones(1, 1))


def test_mcrp_says_that_it_needs_the_draws() -> None:
    with pytest.raises(ValueError, match="MCRP normalises each draw"):
        MCRP(build("Dropout")).attribute(torch.ones(1, 5), target=0, keep="moments")


def test_no_graph_outlives_its_draw() -> None:
    kept = Kept(3, "percentiles")
    for index in range(3):
        kept.put(index, torch.ones(1, 4, requires_grad=True) * 2)
    dist = kept.finish(Distribution)
    assert not any(each.requires_grad for name in MOMENTS for each in tensors(EVERY[name](dist)))


def held(dist: Distribution) -> int:
    """Bytes behind a distribution."""
    storages: dict[int, int] = {}

    def count(stack: Tensor) -> Tensor:
        storages[stack.untyped_storage().data_ptr()] = stack.untyped_storage().nbytes()
        return stack

    dist._record.store.over(count)
    return sum(storages.values())


def test_moments_take_the_same_memory_for_any_number_of_draws() -> None:
    sizes = [held(make("moments", 10, normal(n_draws, 1, 100), predictions=None)) for n_draws in (10, 300)]
    assert sizes[0] == sizes[1] <= 16 * 400


@pytest.mark.parametrize(("keep", "share"), [("percentiles:5", 0.05), ("percentiles", 0.1), ("percentiles:50", 0.5)])
def test_percentiles_take_the_memory_of_the_draws_beyond_them(keep: str, share: float) -> None:
    n_draws, size = 1000, 400
    assert held(make(keep, 50, normal(n_draws, 1, 100), predictions=None)) < size * (1.07 * share * n_draws + 25)


def test_feature_ablation_over_a_loader_keeps_moments() -> None:
    network = build("Dropout")
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(normal(6, 5)), batch_size=4)
    inner = captum_uq.attr.FeatureAblation(lambda x: network(x)[:, 0])
    loader = captum_uq.attr.DataLoaderAttribution(inner)
    part, whole = (loader.attribute(data, n_draws=5, seed=0, keep=keep)[0] for keep in ("moments", "draws"))
    assert_close(part.expectation(), whole.expectation())
    assert isinstance(inner.attribution_method, FeatureAblation)
