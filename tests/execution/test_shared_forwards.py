"""Questions that all draws ask: answered once for all, also backwards, and anything else for the draw alone."""

from __future__ import annotations

from typing import Any

import captum.attr as attr
import pytest
import torch
from torch import Tensor, nn

from captum_uq import MCDropout, StochasticAttribution, lrp
from captum_uq.execution.shared_forwards import SharedForwards
from captum_uq.samplers.base import CannotFoldError
from roads import hold_equal

DRAWS = 4


class Function:
    """``sum_i (draw + 1) x_i^2 y_i`` of each row, which counts the rows that it is asked about."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, x: Tensor, y: Tensor, draws: Tensor) -> Tensor:
        self.asked.append(len(x))
        return ((draws + 1).unsqueeze(1) * x * x * y).sum(1)


def question(value: float, gradients: tuple[bool, bool] = (False, False)) -> tuple[Tensor, Tensor]:
    x, y = torch.full((2, 3), value), torch.full((2, 3), value + 1)
    return x.requires_grad_(gradients[0]), y.requires_grad_(gradients[1])


@torch.no_grad()
def test_what_all_draws_ask_is_answered_once() -> None:
    function, shared = Function(), SharedForwards(DRAWS)
    forward = shared.around(function)
    for draw in range(DRAWS):
        shared.begin(draw)
        for value in (1.0, 1.0 if draw < 2 else 5.0):
            x, y = question(value)
            assert torch.equal(forward(x, y), (draw + 1) * (x * x * y).sum(1))
    assert function.asked == [8, 8, 2, 2]


@torch.no_grad()
def test_a_question_is_remembered_as_it_was_asked() -> None:
    """The first draw writes its second question into the tensor of its first; another draw asks that one first."""
    shared = SharedForwards(2)
    forward = shared.around(lambda x, draws: x.sum(1) + 100 * draws)
    first, second = torch.ones(1, 3), torch.full((1, 3), 5.0)
    buffer = first.clone()
    shared.begin(0)
    forward(buffer)
    forward(buffer.copy_(second))
    shared.begin(1)
    assert torch.equal(forward(second), second.sum(1) + 100)


@pytest.mark.parametrize("gradients", [(True, False), (False, True), (True, True)])
def test_gradients_are_passed_backwards_once_for_all(gradients: tuple[bool, bool]) -> None:
    """The same gradient for all draws, another one for the last: that draw alone runs again."""
    function, shared = Function(), SharedForwards(DRAWS)
    forward = shared.around(function)
    for draw in range(DRAWS):
        shared.begin(draw)
        args = question(2.0, gradients)
        flowing = [leaf for leaf in args if leaf.requires_grad]
        weights = torch.tensor([1.0, 1.0 if draw < DRAWS - 1 else 3.0])
        found = torch.autograd.grad(forward(*args), flowing, weights)
        alone = Function()(*args, torch.full((2,), draw))
        for one, other in zip(found, torch.autograd.grad(alone, flowing, weights), strict=True):
            assert torch.equal(one, other)
    assert function.asked == [8, 2]


@pytest.mark.parametrize("other", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("first", [(False, False), (True, False)])
def test_a_question_with_other_gradients_is_another_question(first: Any, other: Any) -> None:
    function, shared = Function(), SharedForwards(2)
    forward = shared.around(function)
    shared.begin(0)
    forward(*question(1.0, first))
    shared.begin(1)
    args = question(1.0, other)
    flowing = [leaf for leaf in args if leaf.requires_grad]
    assert len(torch.autograd.grad(forward(*args).sum(), flowing)) == sum(other)
    assert function.asked == ([4] if first == other else [4, 2])


def test_what_it_cannot_do_it_refuses() -> None:
    """Second derivatives, a gradient of what has no rows, several outputs."""
    shared = SharedForwards(2)
    x, y = question(1.0, (True, False))
    (first,) = torch.autograd.grad(shared.around(Function())(x, y).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        first.sum().backward()
    with pytest.raises(CannotFoldError, match="no row"):
        SharedForwards(2).around(Function())(torch.ones(2, 3), torch.ones(1, 3, requires_grad=True))
    with pytest.raises(CannotFoldError, match="one tensor"):
        SharedForwards(2).around(lambda x, draws: (x, x))(torch.ones(2, 3))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    trunk = (nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 16), nn.ReLU())
    return nn.Sequential(*trunk, nn.Dropout(0.5), nn.Linear(16, 3)).eval()


def pictures(rows: int) -> Tensor:
    return torch.randn(rows, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def attribute(method: attr.Attribution, **options: Any) -> Any:
    inputs = options.pop("inputs", pictures(2))
    options = {"target": 1, "n_draws": 9, "seed": 0} | options
    return StochasticAttribution(method, MCDropout()).attribute(inputs, **options)


class Unlisted(attr.Saliency):  # type: ignore[misc]
    """A method that is not in the table."""


WINDOW = {"sliding_window_shapes": (1, 4, 4), "strides": (1, 4, 4)}
TUNNELLED: dict[str, tuple[Any, dict[str, Any]]] = {
    "Saliency": (attr.Saliency, {}),
    "InputXGradient": (attr.InputXGradient, {"nt_samples_batch_size": 2}),
    "IntegratedGradients": (attr.IntegratedGradients, {"n_steps": 3, "nt_type": "vargrad"}),
    "GuidedBackprop": (attr.GuidedBackprop, {"nt_samples_batch_size": 1, "nt_type": "smoothgrad_sq"}),
    "GradientShap": (attr.GradientShap, {"baselines": torch.zeros(2, 1, 8, 8)}),
    "Occlusion": (attr.Occlusion, WINDOW),
    "KernelShap": (attr.KernelShap, {"n_samples": 5, "feature_mask": (torch.arange(64) // 16).view(1, 1, 8, 8)}),
}


@pytest.mark.parametrize("target", [1, [0, 2], "draw"], ids=str)
@pytest.mark.parametrize("road", ["fold", "prefix"])
@pytest.mark.parametrize("name", TUNNELLED)
def test_noise_tunnels_give_the_draws_of_the_loop(name: str, road: str, target: Any) -> None:
    """With ``"draw"`` the draws ask for the gradients of different classes."""
    make, more = TUNNELLED[name]
    method, options = attr.NoiseTunnel(make(network())), {"nt_samples": 3, "target": target, **more}
    result = attribute(method, execution=road, **options)
    hold_equal(result, attribute(method, execution="loop", **options))
    assert result.execution.road == road


@pytest.mark.parametrize("road", ["fold", "prefix"])
def test_the_network_runs_what_one_call_runs(road: str) -> None:
    """Counted in rows of the first layer: of a prefix as many as one call has, times the draws of a product."""
    net, rows = network(), []
    options = {"execution": road, "return_predictions": False, "return_deterministic": False}
    given = {"baselines": torch.zeros(1, 1, 8, 8), "n_samples": 5, "inputs": pictures(1)}
    net[0].register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    attribute(attr.GradientShap(net), **options, **given)  # the check
    rows.clear()
    execution = attribute(attr.GradientShap(net), **options, **given).execution
    copies, probe = execution.draws_per_product if road == "prefix" else 9, 1
    assert rows == [probe, 5 * copies]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("DeepLift", attr.DeepLift),
        ("LayerGradCam", lambda net: attr.LayerGradCam(net, net[0])),
        ("LRP", lambda net: lrp.LRP(net, composite=lrp.EpsilonComposite())),
        ("Unlisted", lambda net: Unlisted(net)),
    ],
)
def test_a_noise_tunnel_around_what_cannot_share_forwards_loops_and_says_so(name: str, make: Any) -> None:
    result = attribute(attr.NoiseTunnel(make(network())), nt_samples=2)
    assert result.execution.road == "loop"
    assert name in result.execution.reason


def test_gradients_that_wait_for_the_last_draw_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 forwards of two rows each, whose gradients are held together."""
    memory, row = 200_000, 64 * 4
    monkeypatch.setattr("captum_uq.execution.sizes._MEMORY", memory)
    options = {"nt_samples": 64, "nt_samples_batch_size": 1, "execution": "prefix", "n_draws": 20}
    execution = attribute(attr.NoiseTunnel(attr.Saliency(network())), **options).execution
    assert execution.road == "prefix"
    assert 1 < execution.draws_per_eval <= memory / (64 * 2 * row)
