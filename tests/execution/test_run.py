"""How a road is walked: shared work, memory that runs out, errors half-way, interrupts, mixed precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import (
    FeatureAblation,
    IntegratedGradients,
    KernelShap,
    LayerGradientXActivation,
    NeuronGradient,
    Occlusion,
    Saliency,
)
from torch import Tensor, nn

import snapshots
from captum_uq import DistributionAttribution, MCDropout, StochasticAttribution
from captum_uq.execution import plan, run
from captum_uq.lrp import LRP, EpsilonComposite
from networks import build
from roads import hold_equal


def network() -> nn.Sequential:
    torch.manual_seed(0)
    trunk = (nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 16), nn.ReLU())
    return nn.Sequential(*trunk, nn.Dropout(0.5), nn.Linear(16, 3)).eval()


def epsilon(model: nn.Module) -> LRP:
    return LRP(model, composite=EpsilonComposite())


def attribute(method: Any = Saliency, model: nn.Module | None = None, **options: Any) -> DistributionAttribution:
    model = network() if model is None else model
    inputs = options.pop("inputs", torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    uq = StochasticAttribution(method(model), MCDropout())
    return uq.attribute(inputs, target=1, seed=0, **{"n_draws": 12, **options})


@pytest.mark.parametrize(
    ("method", "arguments", "once"),
    [
        (Saliency, {}, 1),
        (IntegratedGradients, {"n_steps": 5}, 5),
        (epsilon, {}, 1),
        (Occlusion, {"sliding_window_shapes": (1, 4, 4), "strides": (1, 4, 4)}, 5),
        (FeatureAblation, {"feature_mask": (torch.arange(64) // 16).view(1, 1, 8, 8)}, 5),
    ],
)
def test_a_prefix_runs_what_one_deterministic_call_runs(method: Any, arguments: dict[str, Any], once: int) -> None:
    """Counted in rows of the first layer; a loop of 12 draws runs 12 times as many.

    Where there are gradients, it runs as many copies as there are draws in a backward pass.
    """
    model, rows = network(), []
    options = {"return_predictions": False, "return_deterministic": False, **arguments}
    model[0].register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    attribute(method, model, execution="prefix", **options)  # the check
    rows.clear()
    result = attribute(method, model, execution="prefix", **options)
    assert result.execution.road == "prefix"
    copies, probe = result.execution.draws_per_product if method not in (Occlusion, FeatureAblation) else 1, 1
    assert sum(rows) == once * copies + probe
    rows.clear()
    attribute(method, model, execution="loop", **options)
    assert sum(rows) == 12 * once + probe


def test_draws_are_halved_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    folded, sizes = run.fold_draws, []

    def scarce(job: Any, how: Any, indices: Any, *layout: Any) -> Any:
        sizes.append(len(indices))
        if len(indices) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return folded(job, how, indices, *layout)

    monkeypatch.setattr(run, "fold_draws", scarce)
    result = attribute(execution="fold")
    assert sizes == [12, 6, 3, 3, 3, 3]
    assert (result.execution.road, result.execution.draws_per_eval) == ("fold", 3)
    hold_equal(result, attribute(execution="loop"))


def test_an_error_half_way_goes_on_with_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    folded = run.fold_draws

    def failing(job: Any, how: Any, indices: Any, *layout: Any) -> Any:
        if indices[0] > 3:
            raise RuntimeError("something of the network's")
        return folded(job, how, indices, *layout)

    monkeypatch.setattr(run, "fold_draws", failing)
    result = attribute(execution="fold", draws_per_eval=4)
    assert result.execution.road == "loop"
    assert "something of the network's" in result.execution.reason
    hold_equal(result, attribute(execution="loop"))


@pytest.mark.parametrize("execution", ["loop", "fold", "prefix"])
@pytest.mark.parametrize("after", [1, 2, 3, 4, 6, 8])
def test_an_interrupt_leaves_no_trace(after: int, execution: str) -> None:
    model, calls = network(), []

    def interrupting(module: nn.Module, args: Any) -> None:
        calls.append(1)
        if len(calls) == after:
            raise KeyboardInterrupt

    model[6].register_forward_pre_hook(interrupting)
    before = snapshots.of_model(model), snapshots.of_generators()
    try:
        attribute(model=model, execution=execution)
    except KeyboardInterrupt:
        pass
    else:
        assert len(calls) < after
    assert (snapshots.of_model(model), snapshots.of_generators()) == before


@pytest.mark.parametrize("rows", [1, 3])
def test_draws_share_the_forwards_of_kernel_shap(rows: int) -> None:
    """Each draw asks about the same perturbed inputs: the first layer runs them once, of a batch too."""
    model, seen = network(), []
    inputs = torch.randn(rows, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    given = {"inputs": inputs, "n_samples": 8, "feature_mask": (torch.arange(64) // 16).view(1, 1, 8, 8)}
    attribute(KernelShap, model, execution="prefix", **given)  # the check
    model[0].register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    result = attribute(KernelShap, model, execution="prefix", return_deterministic=False, **given)
    assert result.execution.road == "prefix"
    folded = sum(seen)
    seen.clear()
    attribute(KernelShap, model, execution="loop", return_deterministic=False, **given)
    assert folded < sum(seen) / 3, (folded, sum(seen), result.execution)


class Around(nn.Module):
    """A path around the first module that draws: with one row it would broadcast, and lose its gradient."""

    def __init__(self, skip: str) -> None:
        super().__init__()
        self.first, self.dropout, self.head = nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x))
        drawn = self.dropout(hidden)
        return self.head(drawn + hidden if self.skip == "sum" else drawn * x.mean(1, keepdim=True))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("skip", ["sum", "gate"])
@pytest.mark.parametrize("method", [Saliency, IntegratedGradients, FeatureAblation])
def test_a_path_around_the_first_draw_is_seen(method: Any, skip: str, rows: int) -> None:
    torch.manual_seed(0)
    model, inputs = Around(skip).eval(), torch.randn(rows, 5)
    result = attribute(method, model, inputs=inputs, execution="prefix")
    hold_equal(result, attribute(method, model, inputs=inputs, execution="loop"))
    assert method is FeatureAblation or result.execution.road == "fold"
    assert result.execution.road != "loop"


def test_mixed_precision_is_kept() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loop, other = (attribute(execution=execution) for execution in ("loop", "prefix"))
    assert other.predictions.outputs.dtype == loop.predictions.outputs.dtype == torch.bfloat16
    torch.testing.assert_close(other.draws, loop.draws, rtol=0, atol=0.02 * float(loop.draws.abs().max()))


@pytest.mark.parametrize("keep", ["moments", "percentiles"])
def test_what_is_kept_does_not_depend_on_the_road(keep: str) -> None:
    for execution in ("fold", "prefix"):
        result = attribute(execution=execution, draws_per_eval=5, n_draws=40, keep=keep)
        reference = attribute(execution="loop", n_draws=40)
        torch.testing.assert_close(result.expectation(), reference.expectation())
        torch.testing.assert_close(result.stdev(), reference.stdev())
        if keep == "percentiles":
            torch.testing.assert_close(result.percentile(5), reference.percentile(5))


def test_a_seed_repeats_its_draws_bit_for_bit_by_the_road_it_takes() -> None:
    model = network()
    first, again = (attribute(model=model) for _ in range(2))
    assert first.execution == again.execution
    assert torch.equal(first.draws, again.draws)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"execution": "quick"}, "'auto', 'loop', 'fold', 'prefix', got 'quick'"),
        ({"draws_per_eval": 0}, "'auto' or a positive integer, got 0"),
        ({"draws_per_eval": "all"}, "'auto' or a positive integer, got 'all'"),
    ],
)
def test_what_is_no_road_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attribute(model=build("Dropout"), inputs=torch.ones(1, 5), **options)


def test_the_result_tells_the_road_and_why() -> None:
    assert str(attribute(execution="loop").execution) == "loop: asked for"
    assert "12 draws at once" in str(attribute(execution="prefix").execution)
    assert attribute(n_draws=3).execution.road == "loop"


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("method", [Saliency, IntegratedGradients, epsilon, FeatureAblation, KernelShap])
def test_a_road_is_checked_once_for_all_targets_and_values(
    method: Any, deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a call leaves attributes on the method, as those of LRP and FeatureAblation do."""
    choose, checks = plan._choose, []
    monkeypatch.setattr(plan, "_choose", lambda *args: checks.append(1) or choose(*args))
    uq = StochasticAttribution(method(network()), MCDropout())
    options = {"n_draws": 10, "return_deterministic": deterministic}
    for target in (0, 1, 2):
        uq.attribute(torch.randn(1, 1, 8, 8), target=target, **options)
    assert len(checks) == 1
    uq.attribute(torch.randn(2, 1, 8, 8), target=0, **options)
    assert len(checks) == 2


class Mixing(nn.Module):
    """Rows of a batch that see each other: in one batch, so would the draws."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.dropout, self.head = nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        drawn = self.dropout(torch.relu(self.first(x)))
        return self.head(drawn * (1 + drawn.mean(0, keepdim=True)))


@pytest.mark.parametrize("execution", ["auto", "fold", "prefix"])
@pytest.mark.parametrize("method", [Saliency, FeatureAblation, KernelShap])
def test_a_road_that_is_not_exact_is_not_taken(method: Any, execution: str) -> None:
    torch.manual_seed(0)
    model, inputs = Mixing().eval(), torch.randn(2, 5)
    given = {"inputs": inputs, "return_predictions": False}
    result = attribute(method, model, execution=execution, **given)
    assert result.execution.road == "loop"
    assert "its values were not those of the loop" in result.execution.reason
    assert torch.equal(result.draws, attribute(method, model, execution="loop", **given).draws)


@pytest.mark.parametrize("method", [Saliency, LayerGradientXActivation, NeuronGradient])
def test_gradients_of_a_neuron_are_not_asked_for_by_the_ten_thousand(method: Any) -> None:
    """Captum asks for them one by one, and autograd's time for that grows with the square of their number."""
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2)).eval()
    given = {"neuron_selector": 1} if method is NeuronGradient else {"target": 1}
    uq = StochasticAttribution(method(model, *[model[0]] * (method is not Saliency)), MCDropout())
    execution = uq.attribute(torch.ones(50, 4), n_draws=100, seed=0, **given).execution
    assert execution.road == ("prefix" if method is Saliency else "fold")
    assert (execution.draws_per_eval * 50 <= 1300) == (method is NeuronGradient)
