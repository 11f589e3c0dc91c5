"""Functions that a ``forward`` calls outside its modules: conserved, or refused by name."""

from __future__ import annotations

from collections.abc import Callable

import captum.attr
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_uq.lrp import LRP, AveragePoolRule, EpsilonComposite, EpsilonRule, PassRule, ZPlusComposite, ZPlusRule


class Network(nn.Module):
    """Two branches of the same shape, scaled by a parameter and a buffer, something in between, and a head."""

    def __init__(self, between: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(2, 6, 3, padding=1, bias=False) for _ in range(2))
        self.head = nn.Linear(6, 3, bias=False)
        self.between = between
        self.scale = nn.Parameter(torch.rand(6, 1, 1) + 0.5)
        self.register_buffer("constant", torch.rand(6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.between(self.scale * self.one(x), self.two(x) * self.constant)
        return self.head(F.adaptive_avg_pool2d(h, 1).flatten(1))


def added_in_place(a: Tensor, b: Tensor) -> Tensor:
    a = F.relu(a)
    a += b
    return a


def added_in_place_by_statement(a: Tensor, b: Tensor) -> Tensor:
    a = F.relu(a)
    alias = a
    a.add_(b)
    return F.relu(alias, inplace=True)


CONSERVED: dict[str, Callable] = {
    "a + b": lambda a, b: a + b,
    "torch.add with alpha": lambda a, b: torch.add(a, b, alpha=0.5),
    "a - b": lambda a, b: a - b,
    "a += b": added_in_place,
    "a.add_(b), then a": added_in_place_by_statement,
    "three added": lambda a, b: sum([a, b, F.relu(a)]),
    "added to itself": lambda a, b: a + a,
    "a scaled": lambda a, b: 0.5 * a / 3 + -b,
    "mean and sum": lambda a, b: a.mean((2, 3), keepdim=True) + torch.sum(b, dim=(2, 3), keepdim=True),
    "cut and put together": lambda a, b: torch.cat([a[:, :3], b.chunk(2, 1)[1]], 1).permute(0, 1, 3, 2),
    "zeros put around": lambda a, b: F.pad(a, (1, 1)) + F.pad(b, (2, 0)),
    "average-pooled": lambda a, b: F.avg_pool2d(F.relu(a), 2) + F.adaptive_avg_pool2d(b, 3),
    "max-pooled": lambda a, b: F.max_pool2d(F.relu(a), 2) + F.adaptive_max_pool2d(F.relu(b), 3),
    "activations": lambda a, b: F.gelu(a) + torch.tanh(b) + F.leaky_relu(a) + b.sigmoid() + F.silu(a) + F.relu6(b),
    "dropout off": lambda a, b: F.dropout(a, 0.5, training=False) + F.dropout2d(b, 0.5, training=False),
}


@pytest.mark.parametrize("max_pool", ["winner", "average"])
@pytest.mark.parametrize("name", CONSERVED)
def test_relevance_is_conserved_through_functions(name: str, max_pool: str) -> None:
    model, inputs = (
        Network(CONSERVED[name]).double().eval(),
        torch.randn(3, 2, 6, 6, dtype=torch.float64, requires_grad=True),
    )
    composite = EpsilonComposite(1e-15, max_pool, addition=EpsilonRule(1e-15))
    relevance = LRP(model, composite).attribute(inputs, target=1)
    torch.testing.assert_close(relevance.flatten(1).sum(1), model(inputs)[:, 1], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", CONSERVED)
def test_the_outputs_are_those_of_the_network(name: str) -> None:
    """Watching changes no value."""
    model, inputs = (
        Network(CONSERVED[name]).double().eval(),
        torch.randn(3, 2, 6, 6, dtype=torch.float64, requires_grad=True),
    )
    expected = model(inputs)
    with EpsilonComposite().context(model):
        assert torch.equal(model(inputs), expected)


def test_plain_captum_doubles_relevance_at_an_addition() -> None:
    """The defect that the law above guards against is real in the Captum that runs here."""
    model, inputs = Network(lambda a, b: a + b).double(), torch.randn(3, 2, 6, 6).double()
    for scale in (model.scale.data, model.constant):
        scale.fill_(1.0)
    relevance = captum.attr.LRP(model).attribute(inputs, target=1)
    torch.testing.assert_close(relevance.flatten(1).sum(1), 2 * model(inputs)[:, 1], rtol=1e-4, atol=1e-6)


def test_an_addition_divides_relevance_in_proportion() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x[:, :1] + x[:, 1:])

    inputs = torch.tensor([[3.0, 1.0], [3.0, -1.0], [-3.0, -1.0]])
    by_epsilon = LRP(Model(), EpsilonComposite()).attribute(inputs, target=0)
    torch.testing.assert_close(by_epsilon, inputs)
    by_z_plus = LRP(Model(), ZPlusComposite()).attribute(inputs, target=0)
    torch.testing.assert_close(by_z_plus, torch.tensor([[3.0, 1.0], [2.0, 0.0], [-3.0, -1.0]]))


SUMS = ["a + b", "torch.add with alpha", "a - b", "a += b", "a.add_(b), then a", "three added"]


@pytest.mark.parametrize("name", SUMS)
def test_z_plus_is_conserved_at_additions_of_either_sign_too(name: str) -> None:
    model, inputs = Network(CONSERVED[name]).double().eval(), torch.randn(3, 2, 6, 6, dtype=torch.float64)
    relevance = LRP(model, ZPlusComposite()).attribute(inputs.requires_grad_(), target=1)
    torch.testing.assert_close(relevance.flatten(1).sum(1), model(inputs)[:, 1], rtol=1e-8, atol=1e-10)


def test_a_max_pool_called_as_a_function_follows_the_composite() -> None:
    class Model(nn.Module):
        def __init__(self, pool: nn.Module | None) -> None:
            super().__init__()
            self.pool, self.flat = pool, nn.Flatten()

        def forward(self, x: Tensor) -> Tensor:
            return self.flat(F.max_pool2d(x, 2, 1, 1, 1, True) if self.pool is None else self.pool(x))

    inputs = torch.rand(2, 1, 5, 5)
    for max_pool in ("winner", "average"):
        composite = EpsilonComposite(max_pool=max_pool)
        pool = nn.MaxPool2d(2, 1, 1, 1, ceil_mode=True)
        by_module = LRP(Model(pool), composite).attribute(inputs, target=7)
        assert torch.equal(LRP(Model(None), composite).attribute(inputs, target=7), by_module)
        assert (by_module != 0).sum() == (2 if max_pool == "winner" else 8)


REFUSED: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str]] = {
    "a product": (lambda a, b: a * b, "mul"),
    "a softmax": (lambda a, b: a.softmax(1) + b, "softmax"),
    "a matrix product": (lambda a, b: a @ b, "matmul"),
    "a convolution by a function": (lambda a, b: F.conv2d(a, torch.ones(6, 6, 1, 1).double()) + b, "conv2d"),
    "a maximum": (torch.maximum, "maximum"),
    "a norm by a function": (lambda a, b: F.layer_norm(a, (6, 6)) + b, "layer_norm"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_function_without_a_rule_is_refused_by_name(name: str) -> None:
    between, function = REFUSED[name]

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.ModuleList([nn.Conv2d(2, 6, 3, padding=1) for _ in range(2)])
            self.head = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(between(self.block[0](x), self.block[1](x)).mean((2, 3)))

    model = Model().double()
    inputs = torch.rand(1, 2, 6, 6, dtype=torch.float64)
    with pytest.raises(NotImplementedError, match=f"LRP has no rule for '{function}', which the forward of Model"):
        LRP(model, EpsilonComposite()).attribute(inputs, target=0)


def test_a_function_whose_result_no_relevance_reaches_is_not_refused() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            self.seen = x.softmax(-1)
            return self.head(x)

    assert LRP(Model(), EpsilonComposite()).attribute(torch.rand(1, 3), target=0).shape == (1, 3)


def test_functions_inside_a_layer_with_a_rule_are_the_rules_business() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return x * self.inner(x).softmax(-1)

    model, inputs = nn.Sequential(Gate(), nn.Linear(4, 2)), torch.rand(2, 4)
    with pytest.raises(NotImplementedError, match="'softmax', which the forward of Gate '0'|'mul'"):
        LRP(model, EpsilonComposite()).attribute(inputs, target=0)
    relevance = LRP(model, EpsilonComposite(rules={Gate: PassRule()})).attribute(inputs, target=0)
    assert relevance.shape == inputs.shape


# Modules used more than once


class Twice(nn.Module):
    """One layer used twice, and held under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.relu = nn.Linear(4, 4, bias=False), nn.ReLU(inplace=True)
        self.again, self.head = nn.ModuleDict({"layer": self.layer}), nn.Linear(4, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.again["layer"](self.relu(self.layer(x)))))


class Once(nn.Module):
    """The same function with a copy in place of the second use."""

    def __init__(self, other: Twice) -> None:
        super().__init__()
        self.first, self.second = (nn.Linear(4, 4, bias=False) for _ in range(2))
        self.one, self.two, self.head = nn.ReLU(), nn.ReLU(), nn.Linear(4, 2, bias=False)
        for layer in (self.first, self.second):
            layer.load_state_dict(other.layer.state_dict())
        self.head.load_state_dict(other.head.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.two(self.second(self.one(self.first(x)))))


@pytest.mark.parametrize("make", [EpsilonComposite, ZPlusComposite])
@pytest.mark.parametrize("plain", [False, True], ids=["our LRP", "Captum's LRP"])
def test_a_layer_used_twice_is_two_layers_with_the_same_weights(make, plain: bool) -> None:
    model, inputs = Twice().double(), torch.randn(3, 4, dtype=torch.float64)
    expected = LRP(Once(model).double(), make()).attribute(inputs, target=1)
    if plain:
        with make().context(model):
            relevance = captum.attr.LRP(model).attribute(inputs, target=1)
    else:
        relevance = LRP(model, make()).attribute(inputs, target=1)
    torch.testing.assert_close(relevance, expected)


@pytest.mark.parametrize("plain", [False, True], ids=["our LRP", "Captum's LRP"])
def test_one_activation_in_place_on_one_tensor_twice_is_two_layers(plain: bool) -> None:
    """As in torchvision's residual blocks: the sum is written into what the activation gave."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = (nn.Linear(4, 4, bias=False) for _ in range(2))
            self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4, 2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            out = self.relu(self.one(x))
            out += self.two(x)
            return self.head(self.relu(out))

    model, inputs = Block().double(), torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    composite = EpsilonComposite(1e-15)
    if plain:
        with composite.context(model):
            relevance = captum.attr.LRP(model).attribute(inputs, target=1)
    else:
        relevance = LRP(model, composite).attribute(inputs, target=1)
    torch.testing.assert_close(relevance.sum(1), model(inputs)[:, 1], rtol=1e-7, atol=1e-9)


def test_the_rule_of_additions_is_an_argument() -> None:
    assert isinstance(EpsilonComposite().addition, EpsilonRule)
    assert isinstance(ZPlusComposite().addition, ZPlusRule)
    assert isinstance(ZPlusComposite(addition=EpsilonRule()).addition, EpsilonRule)
    assert isinstance(EpsilonComposite(max_pool="average")._max_pool_rule(), AveragePoolRule)


WITH_A_PARAMETER: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], tuple[Tensor, Tensor]]]] = {
    "h + p": (lambda h, p: h + p, lambda p: (torch.ones(4).double(), p)),
    "h + p.view": (lambda h, p: h + p.view(1, -1), lambda p: (torch.ones(4).double(), p)),
    "h + p[:4]": (lambda h, p: h + p[:4], lambda p: (torch.ones(4).double(), p)),
    "h - 2 * p": (lambda h, p: h - 2 * p, lambda p: (torch.ones(4).double(), -2 * p)),
    "h * p": (lambda h, p: h * p, lambda p: (p, torch.zeros(4).double())),
    "h * p.view": (lambda h, p: h * p.view(1, -1), lambda p: (p, torch.zeros(4).double())),
    "h * p.exp()": (lambda h, p: h * p.exp(), lambda p: (p.exp(), torch.zeros(4).double())),
    "F.linear": (lambda h, p: h * F.linear(p, torch.eye(4).double()), lambda p: (p, torch.zeros(4).double())),
}


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize(("function", "as_numbers"), WITH_A_PARAMETER.values(), ids=WITH_A_PARAMETER.keys())
def test_what_a_forward_makes_of_parameters_is_constant_whether_they_are_trained_or_not(
    function: Callable, as_numbers: Callable, trained: bool
) -> None:
    """With LRP-0 a gain or a shift of an activation passes the relevance of what comes out."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(5, 4, bias=False), nn.Linear(4, 2, bias=False)
            self.p = nn.Parameter(torch.rand(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(function(self.first(x), self.p))

    network, x = Own().double(), torch.randn(3, 5).double()
    network.requires_grad_(trained)
    found = LRP(network, EpsilonComposite(0.0)).attribute(x, target=1)
    assert {p.requires_grad for p in network.parameters()} == {trained}
    with torch.no_grad():
        (gain, shift), h = as_numbers(network.p), network.first(x)
        share = (gain * h + shift) * network.head.weight[1] / h
        torch.testing.assert_close(found, x * (share @ network.first.weight))
