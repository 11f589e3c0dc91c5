"""Relevance is conserved: on networks without bias it sums to the output, in every draw."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from captum_uq import MCDropout, Unchanged
from captum_uq.attr import LRP, LayerLRP
from captum_uq.lrp import LRPCMP, EpsilonComposite, EpsilonGammaBox, EpsilonPlus, GammaRule, ZPlusComposite

EXACT = 1e-15
COMPOSITES = {
    "epsilon": lambda: EpsilonComposite(EXACT),
    "epsilon, average-pooling": lambda: EpsilonComposite(EXACT, max_pool="average"),
    "z+": ZPlusComposite,
    "epsilon-plus": lambda: EpsilonPlus(EXACT),
    "epsilon-gamma-box": lambda: EpsilonGammaBox(-9.0, 9.0, EXACT),
    "LRP-CMP without dampening": lambda: LRPCMP(-9.0, 9.0, epsilon=0.0),
    "gamma": lambda: EpsilonComposite(
        EXACT, rules={nn.Linear: GammaRule(signed=True), nn.Conv2d: GammaRule(signed=True)}
    ),
}
ACTIVATIONS = {
    kind.__name__: kind
    for kind in (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softplus)
}


def linear(*sizes: int) -> list[nn.Module]:
    return [nn.Linear(a, b, bias=False) for a, b in pairwise(sizes)]


def body(dims: int) -> tuple[list[nn.Module], nn.Module, list[nn.Module], tuple[int, ...]]:
    """Layers of one dimension: in front of the first activation, its dropout, those behind, the input's shape."""
    if dims == 0:
        return linear(12, 64), nn.Dropout(0.3), linear(64, 64), (12,)
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    back = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1]
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dims - 1]
    pool = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[dims - 1]
    average = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[dims - 1]
    adaptive = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[dims - 1]
    drop = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)[dims - 1]
    behind = [pool(2), back(12, 16, 2, bias=False), nn.ReLU(), average(2), nn.Identity(), adaptive(2), nn.Flatten()]
    behind += linear(16 * 2**dims, 64)
    return [conv(2, 12, 3, bias=False), norm(12)], drop(0.3), behind, (2,) + (8,) * dims


def network(dims: int, activation: type[nn.Module], *, dropout_first: bool) -> tuple[nn.Sequential, Tensor]:
    front, dropout, behind, shape = body(dims)
    first = [dropout, activation()] if dropout_first else [activation(), dropout]
    second = [nn.Dropout(0.3), activation()] if dropout_first else [activation(), nn.Dropout(0.3)]
    model = nn.Sequential(*front, *first, *behind, *second, *linear(64, 3)).eval()
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 2.0)
    return model, torch.randn(2, *shape)


def sums_to_the_output(dist, tolerance: float) -> None:
    outputs = dist.predictions[..., 1]
    error = (dist.draws.flatten(2).sum(-1) - outputs).abs()
    assert (error <= tolerance * outputs.abs().max()).all(), error.max() / outputs.abs().max()


@pytest.mark.parametrize("dropout_first", [True, False], ids=["dropout, activation", "activation, dropout"])
@pytest.mark.parametrize("dims", [0, 1, 2, 3], ids=["2-D", "3-D", "4-D", "5-D"])
@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_relevance_sums_to_the_output_of_every_draw(
    name: str, dims: int, dropout_first: bool, dtype: torch.dtype, tolerance: float
) -> None:
    model, inputs = network(dims, nn.ReLU, dropout_first=dropout_first)
    lrp = LRP(model.to(dtype), composite=COMPOSITES[name](), sampler=MCDropout())
    dist = lrp.attribute(inputs.to(dtype), target=1, n_draws=6, seed=0)
    sums_to_the_output(dist, tolerance)
    assert dist.stdev().max() > 0
    assert torch.allclose(dist.deterministic.flatten(1).sum(1), model(inputs.to(dtype))[:, 1], atol=10 * tolerance)


@pytest.mark.parametrize("dropout_first", [True, False], ids=["dropout, activation", "activation, dropout"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("name", "dims"), [("epsilon", 2), ("z+", 0)])
def test_every_activation_passes_relevance_on(name: str, dims: int, activation: str, dropout_first: bool) -> None:
    model, inputs = network(dims, ACTIVATIONS[activation], dropout_first=dropout_first)
    lrp = LRP(model.double(), composite=COMPOSITES[name]())
    dist = lrp.attribute(inputs.double(), target=1, n_draws=4, seed=0)
    # Of all the relevance there is: where it nearly cancels, it may be 10^4 times the output, and so is its rounding.
    error = (dist.draws.flatten(2).sum(-1) - dist.predictions[..., 1]).abs()
    assert error.max() <= 1e-12 * dist.draws.abs().flatten(2).sum(-1).max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["z+", "epsilon-plus"])
def test_z_plus_conserves_where_nothing_or_next_to_nothing_raises_an_output(name, activation, dtype) -> None:
    """Few inputs to a neuron: those that pass a negative output on have relevance and nothing that raises it."""
    front = [
        *linear(3, 8),
        ACTIVATIONS[activation](),
        nn.Unflatten(1, (8, 1)),
        nn.Conv1d(8, 16, 1, groups=8, bias=False),
    ]
    behind = [ACTIVATIONS[activation](), nn.Conv1d(16, 8, 1, groups=8, bias=False), nn.Flatten()]
    model = nn.Sequential(*front, *behind, ACTIVATIONS[activation](), *linear(8, 3)).eval()
    with torch.no_grad():
        model[3].weight[3:6] = -model[3].weight[3:6].abs()
        model[3].weight[6:9] *= 1e-9
    inputs = torch.randn(60, 3)
    dist = LRP(model.to(dtype), composite=COMPOSITES[name](), sampler=Unchanged()).attribute(inputs.to(dtype), target=1)
    sums_to_the_output(dist, 1e-9 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize("name", COMPOSITES)
def test_relevance_is_conserved_without_dropout_too(name: str) -> None:
    model, inputs = network(2, nn.ReLU, dropout_first=False)
    lrp = LRP(model.double(), composite=COMPOSITES[name](), sampler=Unchanged())
    sums_to_the_output(lrp.attribute(inputs.double(), target=1), 1e-9)


@pytest.mark.parametrize("to_input", [True, False], ids=["input", "output"])
@pytest.mark.parametrize("index", range(13))
def test_relevance_is_conserved_at_every_hidden_layer(index: int, to_input: bool) -> None:
    model, inputs = network(2, nn.ReLU, dropout_first=False)
    lrp = LayerLRP(model.double(), model[index], composite=EpsilonPlus(EXACT))
    dist = lrp.attribute(inputs.double(), target=1, n_draws=3, seed=0, attribute_to_layer_input=to_input)
    sums_to_the_output(dist, 1e-9)
    seen = []
    handle = model[index].register_forward_hook(lambda module, args, output: seen.extend([*args, output]))
    model(inputs.double())
    handle.remove()
    assert dist.shape == seen[0 if to_input else 1].shape


def test_multiplicative_noise_of_the_user_is_dropout_too() -> None:
    """A held site of any type passes relevance on; in the deterministic map as well."""

    class Noise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * (1 + torch.rand_like(x[:1])) if self.training else x

    model = nn.Sequential(*linear(5, 32), nn.ReLU(), Noise(), *linear(32, 3)).double().eval()
    dist = LRP(model, composite=ZPlusComposite()).attribute(torch.randn(2, 5).double(), target=1, n_draws=3, seed=0)
    sums_to_the_output(dist, 1e-9)


def test_without_a_composite_every_layer_that_captum_has_no_rule_for_conserves_relevance() -> None:
    layers = [nn.Conv1d(2, 8, 3, bias=False), nn.GELU(), nn.Dropout1d(0.5), nn.Identity(), nn.Flatten(), *linear(48, 3)]
    model = nn.Sequential(*layers).double().eval()
    sums_to_the_output(LRP(model).attribute(torch.randn(2, 2, 8).double(), target=1, n_draws=4, seed=0), 1e-6)


def test_only_the_dampening_of_lrp_cmp_absorbs_relevance() -> None:
    model, inputs = network(2, nn.ReLU, dropout_first=False)
    relevance = LRP(model, composite=LRPCMP(-9.0, 9.0, gamma_until=0), sampler=Unchanged()).attribute(inputs, target=1)
    shares = relevance.point.flatten(1).sum(1) / model(inputs)[:, 1]
    assert ((shares > 0) & (shares < 0.99)).all()
