"""Channels last: for methods without gradients on networks that convolve, and the loop's values to rounding."""

from __future__ import annotations

import gc
import weakref
from typing import Any, ClassVar

import captum.attr as attr
import pytest
import torch
from torch import Tensor, nn

from captum_uq import DistributionAttribution, MCDropout, StochasticAttribution, lrp
from captum_uq.execution import plan
from captum_uq.execution.foldable import FOLDABLE
from captum_uq.samplers import Ensemble
from roads import hold_equal

CHANNELS_LAST, AS_THEY_LIE = (147, 1, 21, 3), (147, 49, 7, 1)
WINDOW = {"sliding_window_shapes": (3, 4, 4), "strides": (3, 3, 3)}
MASK = {"feature_mask": (torch.arange(49) // 10).view(1, 1, 7, 7)}
WITHOUT_GRADIENTS: dict[type, dict[str, Any]] = {
    attr.Occlusion: WINDOW,
    attr.FeatureAblation: MASK,
    attr.ShapleyValues: {"feature_mask": (torch.arange(49) // 17).view(1, 1, 7, 7)},
    attr.ShapleyValueSampling: MASK | {"n_samples": 2},
    attr.FeaturePermutation: MASK,
    attr.KernelShap: MASK | {"n_samples": 12},
    attr.Lime: MASK | {"n_samples": 12},
}
WITH_GRADIENTS = (attr.Saliency, attr.InputXGradient, attr.IntegratedGradients, attr.GuidedBackprop, lrp.LRP)


class Network(nn.Module):
    """A small network that keeps how the rows lie that it is shown."""

    def __init__(self, flatten: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Dropout(0.5), flatten or nn.Flatten())
        self.out, self.seen = nn.Linear(150, 3), list[Any]()
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen.append(inputs.stride())
        scores: Tensor = self.out(self.net(inputs))
        return scores


class Views(nn.Module):
    """What many networks have in place of `nn.Flatten`: it raises behind channels that come last."""

    def forward(self, activations: Tensor) -> Tensor:
        return activations.view(len(activations), -1)


def pictures(rows: int = 2) -> Tensor:
    return torch.randn(rows, 3, 7, 7, generator=torch.Generator().manual_seed(1))


def attribute(method: type, network: nn.Module | None = None, **options: Any) -> DistributionAttribution:
    network = Network() if network is None else network
    inputs, sampler = options.pop("inputs", pictures()), options.pop("sampler", MCDropout())
    uq = StochasticAttribution(method(network), sampler)
    return uq.attribute(inputs, target=1, seed=0, **{"n_draws": 9, **WITHOUT_GRADIENTS.get(method, {}), **options})


def test_all_methods_without_gradients_are_here() -> None:
    listed = {m for m, how in FOLDABLE.items() if how.way and not how.gradients and not how.inside}
    assert set(WITHOUT_GRADIENTS) == listed - {attr.LimeBase}  # it asks for functions of its own


@pytest.mark.parametrize("road", ["fold", "prefix"])
@pytest.mark.parametrize("method", WITHOUT_GRADIENTS, ids=lambda m: m.__name__)
def test_values_are_the_loops(method: type, road: str) -> None:
    network, plain = Network(), Network()
    result = attribute(method, network, execution=road)
    assert (result.execution.road, result.execution.channels_last) == (road, True)
    assert "channels last" in str(result.execution)
    assert CHANNELS_LAST in network.seen
    loop = attribute(method, plain, execution="loop")
    assert not loop.execution.channels_last
    assert set(plain.seen) == {AS_THEY_LIE}
    hold_equal(result, loop)


@pytest.mark.parametrize("method", WITH_GRADIENTS, ids=lambda m: m.__name__)
def test_gradients_see_pictures_as_they_lie(method: type) -> None:
    network = Network()
    assert not attribute(method, network).execution.channels_last
    assert set(network.seen) == {AS_THEY_LIE}


class Wide(nn.Module):
    """Weights of 18 MiB, which make 16 KiB of each picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(512, 1024, 3, padding=1), nn.ReLU()
        self.drop, self.out = nn.Dropout(), nn.Linear(1024, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(self.relu(self.conv(x)).mean((2, 3))))


@pytest.mark.parametrize("n_draws", [3, 9], ids=["few", "many"])
def test_pictures_lie_as_they_are_before_weights_that_are_larger_than_what_they_make(n_draws: int) -> None:
    network, inputs = Wide().eval(), torch.randn(1, 512, 2, 2)
    given = {"inputs": inputs, "n_draws": n_draws, "feature_mask": torch.arange(4).view(1, 1, 2, 2)}
    given["sampler"] = MCDropout()
    few = attribute(attr.FeatureAblation, network, **given)
    many = attribute(attr.FeatureAblation, network, **given, perturbations_per_eval=2000)  # of which there are 4
    assert (few.execution.channels_last, many.execution.channels_last) == (False, True)
    torch.testing.assert_close(many.draws, few.draws, rtol=0, atol=1e-5 * float(few.draws.abs().max()))


def ensemble() -> Ensemble:
    members = [Network() for _ in range(3)]
    for number, member in enumerate(members):
        member.out.weight.data += number
    return Ensemble(members)


LOOPED = {
    "few draws": lambda: {"n_draws": 4},
    "an ensemble": lambda: {"n_draws": 3, "sampler": ensemble()},
    "random numbers of its own": lambda: {"estimator_seed": "independent"},
    "a large network": dict,
}


@pytest.mark.parametrize("why", LOOPED)
@pytest.mark.parametrize("method", WITHOUT_GRADIENTS, ids=lambda m: m.__name__)
def test_draws_that_loop_are_laid_out_too(method: type, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the loop was not asked for."""
    networks, options = [Network(), Network()], LOOPED[why]()
    if why == "a large network":
        monkeypatch.setattr(plan, "why_slower", lambda *_: "so large")
    result, loop = (
        attribute(method, n, **options, execution=e) for n, e in zip(networks, ("auto", "loop"), strict=True)
    )
    if FOLDABLE[method].random or why != "random numbers of its own":
        assert str(result.execution).startswith("loop, channels last: ")
    assert CHANNELS_LAST in networks[0].seen
    assert set(networks[1].seen) == {AS_THEY_LIE}
    hold_equal(result, loop)


@pytest.mark.parametrize("case", ["a view", "float64", "no convolution", "one draw", "channels last"])
def test_what_gains_nothing_or_cannot_sees_pictures_as_they_lie(case: str) -> None:
    network, inputs = Network(Views() if case == "a view" else None), pictures()
    if case == "no convolution":
        network.net, network.out = nn.Sequential(nn.Flatten(), nn.Dropout(0.5)), nn.Linear(147, 3)
    if case == "float64":
        network, inputs = network.double(), inputs.double()
    if case == "channels last":
        inputs = inputs.to(memory_format=torch.channels_last)
    options: dict[str, Any] = {"inputs": inputs, "n_draws": 1 if case == "one draw" else 9}
    result = attribute(attr.Occlusion, network, **options)
    assert not result.execution.channels_last
    assert case == "channels last" or network.seen[-1] == AS_THEY_LIE
    hold_equal(result, attribute(attr.Occlusion, network, **options, execution="loop"))


@pytest.mark.parametrize("n_draws", [7, 9], ids=["loop", "prefix"])
def test_a_network_that_raises_half_way_goes_on_as_the_pictures_lie(n_draws: int) -> None:
    class Later(Views):
        raises: ClassVar[list[bool]] = []  # which a check does not see

        def forward(self, activations: Tensor) -> Tensor:
            return super().forward(activations) if self.raises else activations.flatten(1)

    flatten = Later()
    network = Network(flatten)
    assert attribute(attr.Occlusion, network, n_draws=n_draws).execution.channels_last
    flatten.raises.append(True)
    result = attribute(attr.Occlusion, network, n_draws=n_draws)
    assert (result.execution.road, result.execution.channels_last) == ("loop", False)
    assert "view" in result.execution.reason
    hold_equal(result, attribute(attr.Occlusion, network, n_draws=n_draws, execution="loop"))


@pytest.mark.parametrize("method", WITHOUT_GRADIENTS, ids=lambda m: m.__name__)
def test_a_network_is_looked_at_once(method: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by methods that hold networks of their own, a new one each time: the linear models of Lime."""
    network, chosen = Network(), []
    choose = plan._choose

    def counted(*args: Any) -> Any:
        chosen.append(args)
        return choose(*args)

    monkeypatch.setattr(plan, "_choose", counted)
    for _ in range(3):
        attribute(method, network)
    assert len(chosen) == 1


class Keeps(torch.autograd.Function):
    """The square, which tells how what it kept for the backward pass lies."""

    @staticmethod
    def forward(ctx: Any, activations: Tensor, seen: list[Any], views: bool) -> Tensor:
        ctx.save_for_backward(activations)
        ctx.seen, ctx.views = seen, views
        return activations.square()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (kept,) = ctx.saved_tensors
        ctx.seen.append(kept.is_contiguous())
        flat = kept.view(len(kept), -1).view(kept.shape) if ctx.views else kept
        return 2 * flat * gradients[0], None, None


class Squares(nn.Module):
    """`Keeps` as a module."""

    def __init__(self, views: bool = False) -> None:
        super().__init__()
        self.views, self.kept = views, list[Any]()

    def forward(self, activations: Tensor) -> Tensor:
        squares: Tensor = Keeps.apply(activations, self.kept, self.views)  # type: ignore[no-untyped-call]
        return squares


def squaring(views: bool = False) -> Network:
    """A network that squares before the draws part, and after."""
    network = Network()
    network.net = nn.Sequential(nn.Conv2d(3, 6, 3), Squares(views), nn.Dropout(0.5), Squares(views), nn.Flatten())
    return network.eval()


@pytest.mark.parametrize("method", [attr.Saliency, attr.InputXGradient, attr.IntegratedGradients])
def test_what_a_shared_prefix_keeps_for_the_backward_passes_has_its_channels_last(method: type) -> None:
    network, plain = squaring(), squaring()
    loop = attribute(method, plain, execution="loop", return_deterministic=False)
    assert all(plain.net[1].kept + plain.net[3].kept)
    attribute(method, network, execution="prefix")  # the check, which runs the loop too
    network.net[1].kept.clear()
    result = attribute(method, network, execution="prefix", return_deterministic=False)
    assert result.execution.road == "prefix"
    assert network.net[1].kept
    assert not any(network.net[1].kept)
    assert all(network.net[3].kept)
    hold_equal(result, loop)


def test_a_backward_pass_that_needs_what_it_kept_as_it_lay_takes_another_road() -> None:
    network = squaring(views=True)
    result = attribute(attr.Saliency, network, execution="prefix")
    assert result.execution.road == "fold"
    hold_equal(result, attribute(attr.Saliency, network, execution="loop"))


def test_a_prefix_of_another_dtype_keeps_things_as_they_lie() -> None:
    network = squaring().double()
    result = attribute(attr.Saliency, network, inputs=pictures().double(), execution="prefix")
    assert result.execution.road == "prefix"
    assert all(network.net[1].kept)


class Token:
    """Something that a weak reference can look for."""


class Marks(torch.autograd.Function):
    """The identity, whose node in the graph holds a token."""

    @staticmethod
    def forward(ctx: Any, activations: Tensor, tokens: list[Any]) -> Tensor:
        ctx.token = Token()
        tokens.append(weakref.ref(ctx.token))
        return activations.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return gradients[0], None


class Marking(nn.Module):
    """`Marks` as a module."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = list[Any]()

    def forward(self, activations: Tensor) -> Tensor:
        marked: Tensor = Marks.apply(activations, self.tokens)  # type: ignore[no-untyped-call]
        return marked


@pytest.mark.parametrize("execution", ["loop", "fold", "prefix"])
def test_nothing_of_the_graph_outlives_a_call(execution: str) -> None:
    """A ReLU keeps its own result: kept in the graph it would keep the graph, and all activations with it."""
    network, marking = Network(), Marking()
    network.net = nn.Sequential(nn.Conv2d(3, 6, 3), marking, nn.ReLU(), nn.Dropout(0.5), nn.ReLU(), nn.Flatten())
    assert attribute(attr.Saliency, network.eval(), execution=execution).execution.road == execution
    gc.collect()
    assert marking.tokens
    assert not any(token() for token in marking.tokens)
