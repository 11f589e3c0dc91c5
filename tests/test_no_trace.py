"""Law 4: after a call, and after any exception inside it, everything is what it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum.attr import LRP, InputXGradient, Saliency
from captum.attr._utils.lrp_rules import GammaRule
from torch import nn

import snapshots
from captum_uq import MCDropout, StochasticAttribution, Unchanged
from captum_uq.samplers import Sampler
from methods import METHODS, arguments
from networks import KINDS, build

SAMPLERS: dict[str, Callable[[nn.Module], Sampler]] = {
    "MCDropout": MCDropout,
    "MCDropout with another rate": lambda model: MCDropout(model, p=0.2),
    "Unchanged": Unchanged,
}
SOME_KINDS = ["Dropout", "Dropout2d and BatchNorm", "F.dropout", "TransformerEncoderLayer", "LSTM", "stochastic depth"]


class Interrupted(BaseException):
    """What ends a run without being an ``Exception``, as Ctrl-C does."""


class Saboteur(nn.Module):
    """Raises at its n-th forward."""

    def __init__(self, inside: nn.Module, error: type[BaseException], after: int) -> None:
        super().__init__()
        self.inside, self.error, self.left = inside, error, after

    def forward(self, *args: Any) -> Any:
        output = self.inside(*args)
        self.left -= 1
        if self.left < 0:
            raise self.error("half-way")
        return output


def run(kind: str, method: str, network: nn.Module, sampler: Sampler, inputs: Any, **options: Any) -> Any:
    case = KINDS[kind]
    made = METHODS[method].make(network, network.get_submodule(case.layer))
    uq = StochasticAttribution(made, sampler)
    return uq.attribute(inputs, **arguments(METHODS[method], inputs, case.additional), n_draws=2, **options)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", SOME_KINDS)
def test_a_call_leaves_model_generators_and_process_as_they_were(kind: str, method: str, sampler: str) -> None:
    network, inputs = build(kind), KINDS[kind].inputs(2)
    before = snapshots.of_model(network), snapshots.of_generators(), snapshots.of_process(), inputs.requires_grad
    try:
        run(kind, method, network, SAMPLERS[sampler](network), inputs, seed=3)
    except (TypeError, RuntimeError):
        assert method == "LRP", "only LRP has networks that it cannot explain"
    after = snapshots.of_model(network), snapshots.of_generators(), snapshots.of_process(), inputs.requires_grad
    assert after == before


@pytest.mark.parametrize("error", [KeyError, Interrupted])
@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("method", METHODS)
def test_an_error_half_way_leaves_no_trace(method: str, after: int, error: type[BaseException]) -> None:
    kind = "Dropout2d and BatchNorm"
    network, inputs = build(kind), KINDS[kind].inputs(2)
    network.head = Saboteur(network.head, error, after)
    before = snapshots.of_model(network), snapshots.of_generators(), snapshots.of_process()
    with pytest.raises(error, match="half-way"):
        run(kind, method, network, MCDropout(), inputs, seed=3)
    network.head.left = after
    after_call = snapshots.of_model(network), snapshots.of_generators(), snapshots.of_process()
    assert after_call == before
    assert not inputs.requires_grad


def test_a_draw_leaves_no_trace_even_after_an_error() -> None:
    network, inputs = build("Dropout"), KINDS["Dropout"].inputs(2)
    before = snapshots.of_model(network), snapshots.of_generators()
    with pytest.raises(KeyError, match="inside"), MCDropout(network).draw(0, inputs):
        raise KeyError("inside")
    assert (snapshots.of_model(network), snapshots.of_generators()) == before


def test_making_a_network_leaves_the_model_alone() -> None:
    network, inputs = build("Dropout"), KINDS["Dropout"].inputs(2)
    before = snapshots.of_model(network), snapshots.of_generators()
    MCDropout(network).network(0, inputs, seed=1)
    assert (snapshots.of_model(network), snapshots.of_generators()) == before


def test_without_a_seed_torch_manual_seed_repeats_the_result_and_one_number_is_taken() -> None:
    network, inputs = build("Dropout"), KINDS["Dropout"].inputs(2)
    uq = StochasticAttribution(Saliency(network), MCDropout())

    def call() -> tuple[Any, torch.Tensor]:
        torch.manual_seed(11)
        return uq.attribute(inputs, target=0, n_draws=4), torch.rand(2)

    (one, after), (other, after_other) = call(), call()
    assert torch.equal(one.draws, other.draws)
    torch.manual_seed(11)
    assert one.seed == int(torch.randint(2**63 - 1, ()).item())
    expected = torch.rand(2)
    assert torch.equal(after, expected)
    assert torch.equal(after_other, expected)
    replayed = uq.attribute(inputs, target=0, n_draws=4, seed=one.seed)
    assert torch.equal(replayed.draws, one.draws)


@pytest.mark.parametrize("method", ["NoiseTunnel", "GradientShap", "KernelShap", "Lime"])
@pytest.mark.parametrize("estimator_seed", ["shared", "independent"])
def test_without_a_seed_the_generators_stand_where_one_plain_call_leaves_them(method: str, estimator_seed: str) -> None:
    network, inputs = build("Dropout"), KINDS["Dropout"].inputs(2)
    torch.manual_seed(4)
    torch.randint(2**63 - 1, ())
    made = METHODS[method].make(network.eval(), network)
    made.attribute(inputs, **arguments(METHODS[method], inputs))
    expected = snapshots.of_generators()[0]
    torch.manual_seed(4)
    run("Dropout", method, network, MCDropout(), inputs, estimator_seed=estimator_seed)
    assert snapshots.of_generators()[0] == expected


@pytest.mark.parametrize("sampler", [MCDropout, Unchanged])
def test_custom_lrp_rules_hold_in_every_draw_and_are_still_there(sampler: type[Sampler]) -> None:
    """Captum deletes them: from the second draw on, the loop would use its default rule."""
    network, inputs = build("Dropout").eval(), KINDS["Dropout"].inputs(2)
    rule = network.hidden.rule = GammaRule(0.5)
    uq = StochasticAttribution(LRP(network), sampler())
    dist = uq.attribute(inputs, target=0, n_draws=3, seed=0)
    assert network.hidden.rule is rule
    for index in range(3):
        draw = sampler(network).network(index, inputs, seed=0)
        assert isinstance(draw.hidden.rule, GammaRule)
        assert torch.equal(dist.draws[index], LRP(draw).attribute(inputs, target=0))
    del network.hidden.rule
    plain = uq.attribute(inputs, target=0, n_draws=1, seed=0)
    assert not torch.allclose(plain.draws[0], dist.draws[0]), "the rule must make a difference for this test to see"


def test_the_draws_hold_no_graph() -> None:
    """InputXGradient returns a tensor with a graph behind it, which would keep every draw's activations."""
    network, inputs = build("Dropout"), KINDS["Dropout"].inputs(2).requires_grad_()
    dist = StochasticAttribution(InputXGradient(network), MCDropout()).attribute(inputs, target=0, n_draws=2, seed=0)
    assert dist.draws.grad_fn is None
    assert not dist.requires_grad
    assert not dist.predictions.requires_grad
