"""BatchNorm is folded into the layer before it, as if the two had been one, and without a trace."""

from __future__ import annotations

from collections.abc import Callable

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from captum_uq.lrp import (
    LRP,
    BatchNormRule,
    EpsilonComposite,
    EpsilonGammaBox,
    EpsilonPlus,
    LayerLRP,
    ZPlusComposite,
)

COMPOSITES = [EpsilonComposite(1e-6), ZPlusComposite(), EpsilonPlus(), EpsilonGammaBox(-9.0, 9.0)]
PAIRS = {
    "Linear": (lambda: nn.Linear(4, 6), lambda: nn.BatchNorm1d(6), (4,)),
    "Conv1d": (lambda: nn.Conv1d(2, 6, 3), lambda: nn.BatchNorm1d(6), (2, 6)),
    "Conv2d in groups": (lambda: nn.Conv2d(2, 6, 3, groups=2, bias=False), lambda: nn.BatchNorm2d(6), (2, 5, 5)),
    "Conv3d": (lambda: nn.Conv3d(1, 6, 2), lambda: nn.BatchNorm3d(6), (1, 3, 3, 3)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 6, 2, 2), lambda: nn.BatchNorm2d(6), (2, 3, 3)),
    "ConvTranspose2d in groups": (
        lambda: nn.ConvTranspose2d(4, 6, 2, groups=2),
        lambda: nn.BatchNorm2d(6, affine=False),
        (4, 3, 3),
    ),
}


def trained(norm: nn.Module) -> nn.Module:
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm


class Merged(nn.Module):
    """A layer and its normalisation written as one layer, independently: by what they do to unit vectors."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        scale = (norm.running_var + norm.eps).rsqrt() * (norm.weight if norm.affine else 1.0)
        shift = (norm.bias if norm.affine else 0.0) - norm.running_mean * scale
        channels = torch.arange(len(scale))
        with torch.no_grad():
            if isinstance(layer, nn.ConvTranspose2d):
                per_group = len(scale) // layer.groups
                for row in range(layer.weight.shape[0]):
                    group = row // (layer.weight.shape[0] // layer.groups)
                    for column in range(per_group):
                        layer.weight[row, column] *= scale[group * per_group + column]
            else:
                for channel in channels:
                    layer.weight[channel] *= scale[channel]
            bias = torch.zeros(len(scale)).to(scale) if layer.bias is None else layer.bias
            layer.bias = nn.Parameter(bias * scale + shift)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


@pytest.mark.parametrize("composite", COMPOSITES, ids=repr)
@pytest.mark.parametrize("name", PAIRS)
def test_a_layer_and_its_normalisation_are_one_layer(name: str, composite) -> None:
    make_layer, make_norm, shape = PAIRS[name]
    layer, norm = make_layer(), trained(make_norm())
    inputs = torch.randn(3, *shape, dtype=torch.float64)
    tail = [nn.ReLU(), nn.Flatten()]
    size = nn.Sequential(layer, norm.eval(), *tail)(inputs.float()).shape[1]
    head = nn.Linear(size, 2)
    model = nn.Sequential(layer, norm, *tail, head).double().eval()
    relevance = LRP(model, composite).attribute(inputs, target=1)
    at_norm = LayerLRP(model, norm, composite).attribute(inputs, target=1)
    at_layer = LayerLRP(model, layer, composite).attribute(inputs, target=1)
    torch.testing.assert_close(at_norm, at_layer)
    merged = nn.Sequential(Merged(layer, norm), *tail, head)
    torch.testing.assert_close(LRP(merged, composite).attribute(inputs, target=1), relevance)


OTHER_AXES: dict[str, tuple[Callable[[], list[nn.Module]], tuple[int, ...]]] = {
    "a sequence as long as its features": (lambda: [nn.Linear(4, 5), nn.BatchNorm1d(5)], (5, 4)),
    "a sequence of another length": (lambda: [nn.Linear(4, 7), nn.BatchNorm1d(5)], (5, 4)),
    "a grid": (lambda: [nn.Linear(4, 3), nn.BatchNorm2d(3)], (3, 3, 4)),
}
AXES = {
    **{name: (lambda own=own: [own[0](), own[1]()], own[2]) for name, own in PAIRS.items()},
    **OTHER_AXES,
    "twice": (lambda: [nn.Linear(4, 5), nn.BatchNorm1d(5), nn.BatchNorm1d(5)], (4,)),
}


def with_head(layers: list[nn.Module], shape: tuple[int, ...]) -> nn.Sequential:
    for norm in layers:
        _ = trained(norm) if hasattr(norm, "running_mean") else None
    model = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3)).eval()
    model(torch.randn(2, *shape))
    return model.double()


@pytest.mark.parametrize("name", AXES)
def test_lrp_0_of_a_linear_network_is_its_gradient_times_the_input_whichever_axis_is_normalised(name: str) -> None:
    make, shape = AXES[name]
    model, inputs = with_head(make(), shape), torch.randn(3, *shape, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(inputs)[:, 1].sum(), inputs)
    relevance = LRP(model, EpsilonComposite(0.0)).attribute(inputs, target=1)
    torch.testing.assert_close(relevance, gradient * inputs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("composite", [ZPlusComposite(), EpsilonGammaBox(-9.0, 9.0)], ids=repr)
@pytest.mark.parametrize("name", OTHER_AXES)
def test_a_rule_that_reads_the_weight_passes_relevance_through_a_normalisation_of_another_axis(name, composite) -> None:
    make, shape = OTHER_AXES[name]
    model, inputs = with_head(make(), shape), torch.randn(3, *shape, dtype=torch.float64).clamp(-3, 3)
    at_layer, at_norm = (LayerLRP(model, model[i], composite).attribute(inputs, target=1) for i in (0, 1))
    assert torch.equal(at_layer, at_norm)


def test_captums_epsilon_on_a_normalisation_is_not_conservative() -> None:
    """The defect that folding avoids is real: without any bias but the normalisation's mean, relevance is lost."""
    norm = trained(nn.BatchNorm2d(6))
    nn.init.zeros_(norm.bias)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(2, 6, 3, bias=False), norm, nn.Linear(6, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.conv(x)).mean((2, 3)))

    model = Model().eval()
    _, delta = captum.attr.LRP(model).attribute(torch.randn(4, 2, 6, 6), target=1, return_convergence_delta=True)
    assert delta.abs().max() > 0.01


class Forked(nn.Module):
    """The layer's output goes on beside the normalisation too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 6, 3, bias=False), nn.BatchNorm2d(6)
        nn.init.uniform_(self.norm.weight, 0.5, 2.0)
        self.head = nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.head((x + self.norm(x)).mean((2, 3)))


def test_a_layer_that_goes_on_beside_its_normalisation_is_conserved() -> None:
    model, inputs = Forked().double().eval(), torch.randn(4, 2, 6, 6, dtype=torch.float64)
    relevance = LRP(model, EpsilonComposite(1e-15)).attribute(inputs, target=1)
    torch.testing.assert_close(relevance.flatten(1).sum(1), model(inputs)[:, 1])


@pytest.mark.parametrize("before", [nn.ReLU, nn.Identity, nn.Dropout2d])
def test_without_a_layer_right_before_it_a_normalisation_passes_relevance_on(before: type[nn.Module]) -> None:
    layers = [nn.Conv2d(2, 6, 3, bias=False), before(), trained(nn.BatchNorm2d(6)), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(96, 3, bias=False)).double().eval()
    inputs = torch.randn(4, 2, 6, 6, dtype=torch.float64)
    at_output = LayerLRP(model, model[2], EpsilonComposite()).attribute(inputs, target=1)
    at_input = LayerLRP(model, model[2], EpsilonComposite()).attribute(inputs, target=1, attribute_to_layer_input=True)
    assert torch.equal(at_output, at_input)
    assert isinstance(EpsilonComposite().mapping(model)["2"], BatchNormRule)


@pytest.mark.parametrize("how", ["training", "no running statistics"])
def test_the_statistics_of_the_batch_are_refused(how: str) -> None:
    norm = nn.BatchNorm2d(6, track_running_stats=how == "training")
    model = nn.Sequential(nn.Conv2d(2, 6, 3), norm, nn.Flatten(), nn.Linear(96, 3)).train(how == "training")
    with pytest.raises(ValueError, match=r"BatchNorm2d uses the statistics of the batch.*Call model.eval\(\)"):
        LRP(model, EpsilonComposite()).attribute(torch.randn(4, 2, 6, 6), target=1)
