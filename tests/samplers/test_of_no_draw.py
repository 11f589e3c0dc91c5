"""Modules that run with the weights of many draws: theirs are hidden, and what computes with them runs draw by draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest
import torch
from captum.attr import FeatureAblation, Saliency
from torch import Tensor, nn
from torch.nn import functional as F

from captum_uq import StochasticAttribution
from captum_uq.samplers import NoiseGrad
from captum_uq.samplers._folded_weights import FoldedWeights
from captum_uq.samplers._of_no_draw import Hidden, OfNoDraw
from captum_uq.samplers._rows import Rows
from captum_uq.samplers.base import CannotFoldError

READS: dict[str, Callable[[Tensor], object]] = {
    "product": lambda w: torch.ones(2, 3) @ w.T,
    "linear": lambda w: F.linear(torch.ones(2, 3), w),
    "sum": lambda w: w.sum(),
    "data": lambda w: w.data,
    "detach": lambda w: w.detach(),
    "item": lambda w: w[0, 0].item(),
    "copy": lambda w: torch.zeros(3, 3).copy_(w),
    "in place": lambda w: w.zero_(),
    "numpy": lambda w: w.numpy(),
    "truth": lambda w: bool((w > 0).all()),
}
ASKED: dict[str, Callable[[Tensor], object]] = {
    "shape": lambda w: w.shape,
    "size": lambda w: w.size(0),
    "dim": lambda w: (w.dim(), w.ndim, w.numel(), len(w)),
    "dtype": lambda w: (w.dtype, w.device, w.layout, w.is_floating_point(), w.is_complex()),
    "requires_grad": lambda w: w.requires_grad,
    "none": lambda w: w is None,
}


def outside() -> NoReturn:
    raise CannotFoldError("outside a forward")


def stand_in(own: Tensor) -> Tensor:
    return OfNoDraw.of(own, lambda: torch.stack([own.detach()] * 2), outside)


@pytest.mark.parametrize("name", READS)
def test_values_may_not_be_computed_with(name: str) -> None:
    with pytest.raises(CannotFoldError, match="must meet those of one draw"):
        READS[name](stand_in(nn.Parameter(torch.randn(3, 3))))


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_what_a_tensor_is_may_be_asked(name: str, dtype: torch.dtype) -> None:
    own = nn.Parameter(torch.ones(3, 3, dtype=dtype), requires_grad=dtype.is_floating_point)
    assert ASKED[name](stand_in(own)) == ASKED[name](own)


def test_hidden_tensors_are_shown_to_their_own_forward_and_come_back() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval()
    own, kept = module[0].weight, [dict(vars(part)) for part in module.modules()]
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    stacks = {"0.weight": torch.randn(2, 3, 3), "1.running_mean": torch.randn(2, 3)}
    with Hidden(module, stacks, stacks.__getitem__, outside) as hidden:
        assert isinstance(module[0].weight, OfNoDraw)
        assert module[0].weight.of_draws() is stacks["0.weight"]
        assert isinstance(module[1].running_mean, OfNoDraw)
        assert module[0].bias is dict(module.named_parameters())["0.bias"]
        assert all(map(torch.equal, module.state_dict().values(), state.values()))  # walks see what there is
        with pytest.raises(ZeroDivisionError), hidden.shown():
            _ = module(torch.ones(2, 3)), 1 / 0
        with pytest.raises(CannotFoldError):
            module(torch.ones(2, 3))
    assert module[0].weight is own
    assert [dict(vars(part)) for part in module.modules()] == kept


def test_nothing_is_left_where_the_weights_of_a_later_module_do_not_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory may run out."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    kept, calls, stack = [dict(vars(part)) for part in model.modules()], [], torch.stack

    def failing(tensors: list[Tensor]) -> Tensor:
        calls.append(len(tensors))
        if len(calls) > 3:
            raise torch.OutOfMemoryError("none left")
        return stack(tensors)

    draws = [{name: 2 * p.detach() for name, p in model.named_parameters()} for _ in range(2)]
    monkeypatch.setattr(torch, "stack", failing)
    with pytest.raises(torch.OutOfMemoryError), FoldedWeights(model, draws, Rows(2, 0)):
        pass
    assert calls == [2] * 4
    assert [dict(vars(part)) for part in model.modules()] == kept


class Tied(nn.Module):
    """Uses a layer's weight itself, behind the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.linear(self.layer(x).relu(), self.layer.weight))


class Asks(Tied):
    """Asks a layer for the kind of its weight, as many models do."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x.to(self.layer.weight.dtype)).relu())


class Flagged(nn.Linear):
    """Takes more than tensors, and gives more."""

    def forward(self, x: Tensor, twice: bool, how: str = "") -> tuple[Tensor, None]:
        assert how == "so"
        return super().forward(x) * (2 if twice else 1), None


class WithFlags(nn.Module):
    """Calls such a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = Flagged(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x, True, how="so")[0].relu())


@pytest.mark.parametrize("make_method", [Saliency, FeatureAblation])
@pytest.mark.parametrize(("make", "road"), [(Tied, "loop"), (Asks, "fold"), (WithFlags, "fold")])
def test_a_network_that_reads_drawn_weights_itself_is_run_draw_by_draw(make, road: str, make_method) -> None:
    torch.manual_seed(0)
    model, inputs = make().double().eval(), torch.randn(2, 4).double()
    uq = StochasticAttribution(make_method(model), NoiseGrad(std=0.2))
    loop, dist = (uq.attribute(inputs, target=0, n_draws=9, seed=0, execution=each) for each in ("loop", "fold"))
    assert dist.execution.road == road
    assert ("must meet those of one draw" in str(dist.execution)) == (road == "loop")
    torch.testing.assert_close(dist.draws, loop.draws, rtol=0, atol=1e-9)
    torch.testing.assert_close(dist.predictions.outputs, loop.predictions.outputs, rtol=0, atol=1e-9)
    for t in (0, 8):
        plain = make_method(NoiseGrad(std=0.2).network(t, inputs, seed=0, model=model)).attribute(inputs, target=0)
        torch.testing.assert_close(dist.draws[t], plain, rtol=0, atol=1e-9)


def test_a_hook_that_reads_the_weight_of_its_layer_makes_the_draws_run_one_by_one() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3)).double()
    model[0].register_forward_hook(lambda module, _, output: output * module.weight.norm())
    inputs = torch.randn(2, 4).double()
    uq = StochasticAttribution(
        Saliency(
            model,
        ),
        NoiseGrad(std=0.2),
    )
    dist = uq.attribute(inputs, target=0, n_draws=9, seed=0)
    assert dist.execution.road == "loop"
    plain = Saliency(NoiseGrad(std=0.2).network(5, inputs, seed=0, model=model)).attribute(inputs, target=0)
    torch.testing.assert_close(dist.draws[5], plain, rtol=0, atol=1e-9)
