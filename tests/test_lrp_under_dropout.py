"""LRP under dropout: relevance sums to the output in every draw, whatever the order of dropout and activation."""

from __future__ import annotations

import pytest
import torch
from captum.attr import LRP, LayerLRP, NoiseTunnel
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule
from torch import Tensor, nn

from captum_uq import MCDropout, StochasticAttribution
from networks import DropPath, Noise

DROPOUTS = {
    "Dropout": lambda: nn.Dropout(0.5),
    "Dropout by rows": lambda: DropPath(0.3),
    "two in a row": lambda: nn.Sequential(nn.Dropout(0.2), nn.Dropout(0.3)),
    "multiplicative noise": Noise,
}


class BiasFree(nn.Module):
    """Two hidden layers without bias, dropout before or after the activation."""

    def __init__(self, dropout: nn.Module, other: nn.Module, *, dropout_first: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 2, bias=False)
        self.hidden = nn.Linear(27, 12, bias=False)
        self.head = nn.Linear(12, 3, bias=False)
        self.relu, self.relu2 = nn.ReLU(), nn.ReLU()
        self.dropout, self.other = dropout, other
        self.dropout_first = dropout_first

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = self.relu(self.dropout(x)) if self.dropout_first else self.dropout(self.relu(x))
        x = self.hidden(x.flatten(1))
        x = self.relu2(self.other(x)) if self.dropout_first else self.other(self.relu2(x))
        return self.head(x)


@pytest.mark.parametrize("dropout_first", [True, False], ids=["dropout, ReLU", "ReLU, dropout"])
@pytest.mark.parametrize("name", DROPOUTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-7)])
def test_relevance_is_conserved_in_every_draw_and_every_call(
    name: str, dropout_first: bool, dtype: torch.dtype, tolerance: float
) -> None:
    network = BiasFree(DROPOUTS[name](), DROPOUTS[name](), dropout_first=dropout_first).to(dtype)
    inputs = torch.randn(4, 1, 4, 4, dtype=dtype)
    uq = StochasticAttribution(LRP(network), MCDropout())
    for _ in range(2):
        relevance, delta = uq.attribute(inputs, target=1, n_draws=20, seed=0, return_convergence_delta=True)
        outputs = relevance.predictions[..., 1]
        total = relevance.draws.flatten(2).sum(-1)
        scale = outputs.abs().max()
        assert ((total - outputs).abs() < tolerance * scale).all()
        assert (delta.draws.abs() < tolerance * scale).all()
        assert relevance.stdev().max() > 0


def test_the_naive_loop_does_not_conserve_relevance() -> None:
    """The defect that the law above guards against is real in the Captum that runs here."""
    network = BiasFree(nn.Dropout(0.5), nn.Dropout(0.5), dropout_first=False).train()
    _, delta = LRP(network).attribute(torch.randn(4, 1, 4, 4), target=1, return_convergence_delta=True)
    assert delta.abs().max() > 0.01


def test_held_masks_alone_do_not_conserve_relevance_either() -> None:
    """Captum multiplies the relevance of an ``nn.Dropout`` by mask / (1 - p); the held module is shown as linear."""
    network = BiasFree(nn.Dropout(0.5), nn.Dropout(0.5), dropout_first=False)
    inputs = torch.randn(4, 1, 4, 4)
    draw = MCDropout(network).network(0, inputs, seed=0)
    for module in (draw.dropout, draw.other):
        assert type(module) is not nn.Dropout
        module.__class__ = nn.Dropout
    _, delta = LRP(draw).attribute(inputs, target=1, return_convergence_delta=True)
    assert delta.abs().max() > 0.01


@pytest.mark.parametrize("rule", [GammaRule(0.25), Alpha1_Beta0_Rule()], ids=["gamma", "alpha1-beta0"])
def test_rules_that_change_weights_conserve_relevance_too(rule: object) -> None:
    network = BiasFree(nn.Dropout(0.5), nn.Dropout(0.5), dropout_first=False).double()
    network.hidden.rule = rule
    inputs = torch.rand(4, 1, 4, 4, dtype=torch.float64)
    weight = network.hidden.weight
    before, address = weight.detach().clone(), weight.data_ptr()
    uq = StochasticAttribution(LRP(network), MCDropout())
    _, delta = uq.attribute(inputs, target=1, n_draws=10, seed=0, return_convergence_delta=True)
    assert delta.draws.abs().max() < 1e-6
    assert network.hidden.weight is weight
    assert weight.data_ptr() == address
    assert torch.equal(weight, before)


def test_a_rule_of_the_users_on_a_dropout_module_comes_first() -> None:
    network = BiasFree(nn.Dropout(0.5), nn.Dropout(0.5), dropout_first=False)
    inputs = torch.randn(2, 1, 4, 4)
    uq = StochasticAttribution(LRP(network), MCDropout())
    plain = uq.attribute(inputs, target=1, n_draws=3, seed=0)
    network.other.rule = rule = EpsilonRule(10.0)
    absorbed = uq.attribute(inputs, target=1, n_draws=3, seed=0)
    assert network.other.rule is rule
    assert absorbed.draws.abs().sum() < 0.5 * plain.draws.abs().sum(), "so large an epsilon absorbs relevance"


def test_layer_lrp_and_a_noise_tunnel_of_lrp_are_repaired_as_well() -> None:
    network = BiasFree(nn.Dropout(0.5), nn.Dropout(0.5), dropout_first=False)
    inputs = torch.randn(2, 1, 4, 4)
    layer = StochasticAttribution(LayerLRP(network, network.hidden), MCDropout())
    _, delta = layer.attribute(inputs, target=1, n_draws=5, seed=0, return_convergence_delta=True)
    assert delta.draws.abs().max() < 1e-4
    tunnel = StochasticAttribution(NoiseTunnel(LRP(network)), MCDropout())
    _, delta = tunnel.attribute(inputs, target=1, n_draws=5, seed=0, nt_samples=3, return_convergence_delta=True)
    assert delta.draws.abs().max() < 1e-4
