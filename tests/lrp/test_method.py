"""`captum_uq.lrp.LRP` and `LayerLRP`: Captum's own where that is right, with composites, without its defects."""

from __future__ import annotations

from typing import Any

import captum.attr
import pytest
import torch
from captum.attr import NoiseTunnel
from captum.attr._utils.custom_modules import Addition_Module
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule
from captum.attr._utils.lrp_rules import GammaRule as CaptumGamma
from torch import Tensor, nn

import snapshots
from captum_uq import MCDropout, StochasticAttribution, Unchanged
from captum_uq import attr as stochastic
from captum_uq.lrp import (
    LRP,
    LRPCMP,
    EpsilonComposite,
    EpsilonGammaBox,
    EpsilonPlus,
    EpsilonRule,
    LayerLRP,
    PassRule,
    ZPlusComposite,
    ZPlusRule,
)

COMPOSITES = {
    "epsilon": EpsilonComposite,
    "z+": ZPlusComposite,
    "epsilon-plus": lambda: EpsilonPlus(max_pool="average"),
    "epsilon-gamma-box": lambda: EpsilonGammaBox(-9.0, 9.0),
    "LRP-CMP": lambda: LRPCMP(-9.0, 9.0),
}


def images() -> Tensor:
    return torch.randn(3, 2, 8, 8, requires_grad=True)


class Plain(nn.Module):
    """With the layers that Captum's own LRP knows."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 2), nn.Tanh())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.features(x)).flatten(1))


class Chain(nn.Module):
    """Linear layers and ReLU alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(2, 6, 3), nn.ReLU()
        self.head = nn.Sequential(nn.Linear(216, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.conv(x)).flatten(1))


class Dropped(nn.Module):
    """Dropout of several kinds, and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        self.back, self.drop = nn.Conv2d(6, 6, 3, padding=1), nn.Dropout2d(0.3)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(6 * 64, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv(x)))
        return self.head(self.relu(x + self.drop(self.back(x))))


# Captum's own LRP


@pytest.mark.parametrize("sampler", [None, Unchanged()], ids=["captum_uq.lrp", "captum_uq.attr, unchanged"])
def test_without_a_composite_it_is_captums_bit_for_bit(sampler) -> None:
    model, inputs = Plain(), images()
    expected, delta = captum.attr.LRP(model).attribute(inputs, target=1, return_convergence_delta=True)
    method = LRP(model) if sampler is None else stochastic.LRP(model, sampler=sampler)
    relevance, own_delta = method.attribute(inputs, target=1, return_convergence_delta=True)
    assert torch.equal(torch.as_tensor(relevance), expected)
    assert torch.equal(torch.as_tensor(own_delta), delta)


class Added(nn.Module):
    """A sum of two branches, in Captum's own module; of two inputs, each its own where there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.skip, self.add = Plain().features, nn.Conv2d(2, 8, 7), Addition_Module()
        self.pool, self.head = nn.AvgPool2d(2), nn.Linear(8, 3)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        branches = self.body(x), self.skip(x if other is None else other)
        return self.head(self.pool(self.add(*branches)).flatten(1))


class Shortcut(nn.Module):
    """A sum that Captum's LRP does not see: it multiplies the relevance of the shortcut by the activations again."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.second, self.head = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.relu(self.first(x))
        return self.head(hidden + self.second(hidden))


def test_without_a_composite_it_is_captums_also_where_captum_is_wrong() -> None:
    model, inputs = Shortcut(), torch.randn(3, 4, requires_grad=True)
    expected = captum.attr.LRP(model).attribute(inputs, target=1)
    assert torch.equal(LRP(model).attribute(inputs, target=1), expected)
    conserved = LRP(model, composite=EpsilonComposite()).attribute(inputs, target=1)
    assert not torch.allclose(conserved, expected, rtol=0.1)


@pytest.mark.parametrize("layer", ["first", "second"])
def test_without_a_composite_a_layer_used_twice_is_refused_as_by_captum(layer: str) -> None:
    model, inputs = Shortcut(), torch.randn(3, 4, requires_grad=True)
    model.head = model.get_submodule(layer)
    for method in (captum.attr.LRP(model), LRP(model)):
        with pytest.raises(RuntimeError, match="used more than once"):
            method.attribute(inputs, target=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("model", [Chain, Plain, Added])
def test_the_epsilon_composite_is_captums_default_bit_for_bit_where_that_is_right(model, dtype) -> None:
    """Linear layers, activations, pools and additions, with Captum's own epsilon."""
    network = model().to(dtype)
    inputs = tuple(images().detach().to(dtype).requires_grad_() for _ in range(2 if model is Added else 1))
    expected = captum.attr.LRP(network).attribute(inputs, target=1)
    own = LRP(network, composite=EpsilonComposite(1e-9)).attribute(inputs, target=1)
    assert all(torch.equal(a, b) for a, b in zip(own, expected, strict=True))


POOLS: dict[str, dict[str, Any]] = {
    "apart": {"kernel_size": 2},
    "with gaps": {"kernel_size": 2, "stride": 3},
    "overlapping": {"kernel_size": 3, "stride": 2},
    "overlapping in one direction": {"kernel_size": (2, 3), "stride": (2, 1)},
    "one step at a time": {"kernel_size": 2, "stride": 1},
    "dilated": {"kernel_size": 2, "dilation": 2},
    "padded": {"kernel_size": 2, "padding": 1},
    "beyond the border": {"kernel_size": 3, "ceil_mode": True},
}


@pytest.mark.parametrize("windows", POOLS)
def test_a_max_pool_of_any_windows_is_captums_bit_for_bit(windows: str) -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.MaxPool2d(**POOLS[windows]), nn.Conv2d(4, 3, 2), nn.AdaptiveAvgPool2d(1)
    )
    inputs, target = torch.randn(3, 2, 10, 10, requires_grad=True), (1, 0, 0)
    expected = captum.attr.LRP(model).attribute(inputs, target=target)
    assert torch.equal(LRP(model, composite=EpsilonComposite(1e-9)).attribute(inputs, target=target), expected)


def test_where_layers_share_an_input_captum_adds_first_and_multiplies_then() -> None:
    """``x (g + h)`` is our ``x g + x h`` but for the last bits."""
    network, inputs = Added().double(), images().detach().double().requires_grad_()
    expected = captum.attr.LRP(network).attribute(inputs, target=1)
    own = LRP(network, composite=EpsilonComposite(1e-9)).attribute(inputs, target=1)
    torch.testing.assert_close(own, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("epsilon", [0.0, 1e-12, 1e-9, 0.25])
def test_pools_and_additions_conserve_whatever_the_epsilon_of_the_layers(epsilon) -> None:
    composite = EpsilonComposite(epsilon)
    rules = [rule for name, rule in composite.mapping(Added()).items() if name in ("add", "pool", "body.2")]
    assert [rule.epsilon for rule in rules] == [min(epsilon, 1e-9)] * 3
    assert composite.mapping(Added())["head"].epsilon == epsilon


def test_layer_lrp_without_a_composite_is_captums_bit_for_bit() -> None:
    model, inputs = Plain(), images()
    for layer in (model.features[0], model.features[3], [model.features[0], model.head[0]]):
        for to_input in (False, True):
            expected = captum.attr.LayerLRP(model, layer).attribute(inputs, target=1, attribute_to_layer_input=to_input)
            own = LayerLRP(model, layer).attribute(inputs, target=1, attribute_to_layer_input=to_input)
            pairs = zip(own, expected, strict=True) if isinstance(layer, list) else [(own, expected)]
            assert all(torch.equal(a, b) for a, b in pairs)


def test_a_rule_of_the_users_survives_the_call() -> None:
    """Captum deletes it, and takes epsilon from the second call on."""
    model, inputs = Plain(), images()
    model.features[0].rule = rule = Alpha1_Beta0_Rule()
    method = LRP(model)
    first, second = (method.attribute(inputs, target=1) for _ in range(2))
    assert torch.equal(first, second)
    assert model.features[0].rule is rule
    assert torch.equal(first, captum.attr.LRP(model).attribute(inputs, target=1))
    assert not torch.equal(captum.attr.LRP(model).attribute(inputs, target=1), first)


def test_an_activation_inside_a_layer_of_the_users_is_not_deleted() -> None:
    """Captum deletes ``layer.activation``."""

    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.activation = torch.sigmoid
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return x * self.activation(self.inner(x))

    model, inputs = nn.Sequential(Gate(), nn.Linear(4, 2)), torch.randn(2, 4, requires_grad=True)
    composite = EpsilonComposite(rules={Gate: PassRule()})
    LRP(model, composite=composite).attribute(inputs, target=0)
    with composite.context(model):
        captum.attr.LRP(model).attribute(inputs, target=0)
    assert model[0].activation is torch.sigmoid


@pytest.mark.parametrize("kind", [nn.Flatten, nn.Identity, nn.Dropout1d, nn.GELU, nn.Softplus])
def test_captum_refuses_layers_that_pass_relevance_and_we_do_not(kind: type[nn.Module]) -> None:
    model = nn.Sequential(nn.Conv1d(2, 4, 1), kind(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    if kind is nn.Flatten:
        model = nn.Sequential(nn.Flatten(), nn.Linear(8, 2))
    inputs = torch.randn(3, 2, 4, requires_grad=True)
    with pytest.raises(TypeError, match="no rule defined"):
        captum.attr.LRP(model).attribute(inputs, target=0)
    assert LRP(model).attribute(inputs, target=0).shape == inputs.shape


# The oracle


@pytest.mark.parametrize("layer", [None, "conv", "norm", "head.2"])
@pytest.mark.parametrize("name", COMPOSITES)
def test_a_draw_is_plain_captum_on_the_drawn_network_with_the_composite(name: str, layer: str | None) -> None:
    model, inputs, composite = Dropped().eval(), images(), COMPOSITES[name]()
    if layer is None:
        method = stochastic.LRP(model, composite=composite)
    else:
        method = stochastic.LayerLRP(model, model.get_submodule(layer), composite=composite)
    dist = method.attribute(inputs, target=1, n_draws=4, seed=0)
    drawn = MCDropout(model).network(2, inputs, seed=0)
    with composite.context(drawn):
        plain = captum.attr.LRP(drawn) if layer is None else captum.attr.LayerLRP(drawn, drawn.get_submodule(layer))
        first, again = (plain.attribute(inputs, target=1) for _ in range(2))
    assert torch.equal(first, dist.draws[2])
    assert torch.equal(again, dist.draws[2])


@pytest.mark.parametrize("name", COMPOSITES)
def test_the_first_and_the_hundredth_draw_meet_the_same_rules(name: str) -> None:
    """Captum's own LRP takes epsilon from the second draw on."""
    model, inputs = Dropped().eval(), images()
    method = stochastic.LRP(model, composite=COMPOSITES[name]())
    dist = method.attribute(inputs, target=1, n_draws=4, seed=0)
    for index in (0, 3):
        alone = LRP(MCDropout(model).network(index, inputs, seed=0), composite=COMPOSITES[name]())
        assert torch.equal(alone.attribute(inputs, target=1), dist.draws[index])


def test_a_rule_on_one_layer_works_with_plain_captum_and_its_own_rules_beside_it() -> None:
    """Captum's rules change weights and what later layers see in the second pass; ours remember the first."""
    model, inputs = Plain().double(), images().detach().double().requires_grad_()

    def attribute(middle) -> Tensor:
        model.features[0].rule, model.features[3].rule = CaptumGamma(0.5), middle
        return captum.attr.LRP(model).attribute(inputs, target=1)

    torch.testing.assert_close(attribute(EpsilonRule(1e-9)), attribute(captum_epsilon()), rtol=1e-9, atol=1e-12)


def captum_epsilon():
    from captum.attr._utils.lrp_rules import EpsilonRule

    return EpsilonRule(1e-9)


def test_a_noise_tunnel_takes_a_composite_along() -> None:
    model, inputs = Plain(), images()
    method = LRP(model, composite=ZPlusComposite())
    tunnelled = NoiseTunnel(method).attribute(inputs, target=1, nt_samples=2, stdevs=0.0)
    torch.testing.assert_close(tunnelled, method.attribute(inputs, target=1))
    dist = StochasticAttribution(NoiseTunnel(method), Unchanged()).attribute(inputs, target=1, nt_samples=1, stdevs=0.0)
    torch.testing.assert_close(dist.point, method.attribute(inputs, target=1))


# Hidden layers


def test_layer_lrp_takes_activations_and_modules_with_others_inside() -> None:
    model, inputs = Dropped().eval(), images()
    model.stem = nn.Sequential(model.conv, model.norm)
    del model.conv, model.norm
    model.forward = lambda x: model.head(model.relu(model.back(model.stem(x))))
    composite = EpsilonComposite()
    stem = LayerLRP(model, model.stem, composite).attribute(inputs, target=1)
    torch.testing.assert_close(stem, LayerLRP(model, model.stem[1], composite).attribute(inputs, target=1))
    head = LayerLRP(model, model.head, composite).attribute(inputs, target=1, attribute_to_layer_input=True)
    torch.testing.assert_close(head, LayerLRP(model, model.relu, composite).attribute(inputs, target=1))
    several = LayerLRP(model, [model.stem, model.head[2]], composite).attribute(inputs, target=1)
    torch.testing.assert_close(several[0], stem)


def test_a_modules_input_has_the_relevance_that_goes_through_the_module_and_not_past_it() -> None:
    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(4, 4), nn.Linear(4, 2, bias=False)
            self.body = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.head(x + self.body(x))

    model, inputs, composite = Shortcut().double(), torch.randn(3, 4).double(), EpsilonComposite(1e-15)
    into = LayerLRP(model, model.body, composite).attribute(inputs, target=1, attribute_to_layer_input=True)
    first = LayerLRP(model, model.body[0], composite).attribute(inputs, target=1, attribute_to_layer_input=True)
    out = LayerLRP(model, model.body, composite).attribute(inputs, target=1)
    torch.testing.assert_close(into, first)
    torch.testing.assert_close(into.sum(1), out.sum(1))


def test_a_module_of_several_inputs_has_a_relevance_for_each() -> None:
    class Join(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = (nn.Linear(4, 4, bias=False) for _ in range(2))

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.one(x) + self.two(y)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.join = nn.Linear(3, 4), nn.Linear(3, 4), Join()

        def forward(self, x: Tensor) -> Tensor:
            return self.join(self.left(x), self.right(x))

    model, inputs, composite = Model().double(), torch.randn(2, 3).double(), EpsilonComposite(1e-15)
    method = LayerLRP(model, model.join, composite)
    left, right = method.attribute(inputs, target=1, attribute_to_layer_input=True)
    torch.testing.assert_close(left, LayerLRP(model, model.left, composite).attribute(inputs, target=1))
    torch.testing.assert_close(right, LayerLRP(model, model.right, composite).attribute(inputs, target=1))


def test_layer_lrp_refuses_a_layer_with_several_relevances_and_one_with_none() -> None:
    model, inputs = Dropped().eval(), images()
    with pytest.raises(ValueError, match="ReLU is used 2 times in one forward"):
        LayerLRP(model, model.relu, EpsilonComposite()).attribute(inputs, target=1)
    model.unused = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="No relevance reaches Linear"):
        LayerLRP(model, model.unused, EpsilonComposite()).attribute(inputs, target=1)


# No trace


@pytest.mark.parametrize("name", [None, *COMPOSITES])
def test_no_trace_is_left_by_return_or_by_exception(name: str | None) -> None:
    model, inputs = Dropped().eval(), images()
    composite = None if name is None else COMPOSITES[name]()
    before = snapshots.of_model(model)
    LRP(model, composite).attribute(inputs, target=1)
    LayerLRP(model, model.back, composite).attribute(inputs, target=1)
    LayerLRP(model, model.head, composite).attribute(inputs, target=1)
    assert snapshots.of_model(model) == before
    with pytest.raises(IndexError):
        LRP(model, composite).attribute(inputs, target=99)
    with pytest.raises(RuntimeError):
        LRP(model, composite).attribute(inputs[:, :1], target=1)
    assert snapshots.of_model(model) == before
    stochastic.LRP(model, composite=composite).attribute(inputs, target=1, n_draws=2)
    assert snapshots.of_model(model) == before


def test_a_composites_context_leaves_no_trace_either() -> None:
    model = Dropped().eval()
    model.conv.rule = ZPlusRule()
    before = snapshots.of_model(model)
    with EpsilonComposite().context(model):
        assert snapshots.of_model(model) != before
        captum.attr.LRP(model).attribute(images(), target=1)
    assert snapshots.of_model(model) == before
    with pytest.raises(KeyError, match="inside"), ZPlusComposite().context(model):
        raise KeyError("inside")
    assert snapshots.of_model(model) == before


def test_a_composite_is_a_composite() -> None:
    with pytest.raises(TypeError, match="such as EpsilonComposite.., got ZPlusRule"):
        LRP(Plain(), composite=ZPlusRule())


def test_relevance_is_left_behind_where_captums_layer_lrp_reads_it() -> None:
    """Of a whole network it would be all activations once more."""
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    inputs, left, ran = torch.randn(1, 4), {}, []

    class Own(EpsilonRule):
        def connect(self, *args: Any) -> Tensor:
            ran.append(self)
            return super().connect(*args)

    for name, method in {
        "captum": captum.attr.LRP(model),
        "ours": LRP(model, composite=EpsilonComposite()),
        "layer": LayerLRP(model, model[0], composite=EpsilonComposite()),
    }.items():
        rule = model[0].rule = Own()
        method.attribute(inputs, target=1)
        left[name] = bool(ran[-1].relevance_output)
        assert rule.keeps_relevance
    assert left == {"captum": True, "ours": False, "layer": True}


@pytest.mark.parametrize("composite", [None, EpsilonComposite()], ids=["Captum's own", "epsilon"])
def test_inputs_and_weights_that_relevance_cannot_meet_are_refused(composite: EpsilonComposite | None) -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(10, 4), nn.Linear(4, 2)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.embedding(ids).mean(1))

    model, ids, lazy = Tokens(), torch.randint(0, 10, (2, 3)), nn.Sequential(nn.LazyLinear(2))
    for method in (LRP(model, composite), LayerLRP(model, model.embedding, composite)):
        with pytest.raises(TypeError, match="got torch.int64. Of token ids .*configure_interpretable_embedding_layer"):
            method.attribute(ids, target=0)
    with pytest.raises(ValueError, match="LazyLinear '0' has none yet. Run the network once"):
        LRP(lazy, composite).attribute(torch.rand(1, 3), target=0)
    assert type(lazy[0]) is nn.LazyLinear
