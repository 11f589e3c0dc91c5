"""A road is taken only where its check could have failed: what a check cannot see, and what changes after it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from captum.attr import FeatureAblation, IntegratedGradients, LayerActivation, Saliency
from torch import Tensor, nn

from captum_uq import MCDropout, StochasticAttribution
from captum_uq.execution import plan
from captum_uq.samplers import NoiseGrad, Sampler, WeightSamples
from roads import hold_equal


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def both(method: Any, sampler: Sampler, inputs: Tensor, **options: Any) -> str:
    """The road that "auto" took, once it has given the loop's draws."""
    uq, given = StochasticAttribution(method, sampler), {"seed": 0, "n_draws": 9, "target": 1, **options}
    result = uq.attribute(inputs, **given)
    hold_equal(result, uq.attribute(inputs, **given, execution="loop"))
    return result.execution.road  # type: ignore[no-any-return]


class Attention(nn.Module):
    """A block that draws, or has a weight of its own, and takes a table of positions too, which has no rows."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.qkv = nn.Parameter(torch.ones(6)), nn.Linear(6, 18)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        q, k, v = self.qkv(x + positions).chunk(3, -1)
        weights: Tensor = F.dropout((q @ k.transpose(-1, -2)).softmax(-1), 0.2, self.training)
        return x + self.gain * (weights @ v)


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Sequential(nn.Linear(4, 64), nn.GELU(), nn.Linear(64, 6))
        self.block, self.head = Attention(), nn.Linear(6, 3)
        self.register_buffer("table", torch.randn(64, 6))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.block(self.embed(x), self.table[: x.shape[1]]).mean(1))
        return scores


@pytest.mark.parametrize("method", [Saliency, FeatureAblation, functools.partial(IntegratedGradients)])
@pytest.mark.parametrize("sampler", [MCDropout(), NoiseGrad()])
@pytest.mark.parametrize(
    ("examples", "length", "n_draws"), [(1, 20, 20), (1, 20, 19), (2, 20, 10), (1, 20, 40), (4, 5, 11)]
)
def test_a_table_as_long_as_there_are_rows_is_no_rows(
    method: Any, sampler: Sampler, examples: int, length: int, n_draws: int
) -> None:
    inputs = torch.randn(examples, length, 4, generator=seeded())
    options = {"n_steps": 4, "internal_batch_size": 1} if isinstance(method, functools.partial) else {}
    masks = {"feature_mask": torch.arange(4).expand(1, length, 4)} if method is FeatureAblation else {}
    assert both(method(Positions()), sampler, inputs, n_draws=n_draws, **options, **masks) != "loop"


class DropPath(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.bernoulli(torch.full((len(x), 1), 0.9)) / 0.9 if self.training else x


class Mixing(nn.Module):
    """Rows that see each other behind a mask so small that many draws are alike."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.drop = nn.Linear(5, 6), nn.Linear(6, 6), DropPath()
        self.head = nn.Linear(6, 3)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x).relu()
        hidden = hidden + self.drop(self.second(hidden))
        scores: Tensor = self.head((hidden - hidden.mean(0)).relu())
        return scores


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("method", [Saliency, FeatureAblation])
def test_draws_that_are_alike_show_nothing(method: Any, seed: int) -> None:
    assert both(method(Mixing()), MCDropout(), torch.randn(4, 5, generator=seeded()), seed=seed, n_draws=9) == "loop"


class Normed(torch.autograd.Function):
    """Backwards the rows see each other."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient / gradient.norm()


def test_draws_that_share_a_backward_pass_are_compared() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.before, self.drop, self.after = nn.Linear(5, 80), nn.Dropout(0.4), nn.Linear(80, 3)
            self.eval()

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.after(self.drop(Normed.apply(self.before(x).relu())))
            return scores

    assert both(Saliency(Network()), MCDropout(), torch.randn(3, 5, generator=seeded())) == "loop"


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    hidden = (nn.Linear(5, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU())
    return nn.Sequential(*hidden, nn.Dropout(0.4), nn.Linear(40, 3)).eval()


def softmax(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: network(x).softmax(1)


def mean(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: network(x) / len(x)


def scaled(network: nn.Module, by_rows: bool) -> Callable[[Tensor], Tensor]:
    return lambda x: network(x) / (len(x) if by_rows else 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (softmax, mean),
        (functools.partial(scaled, by_rows=False), functools.partial(scaled, by_rows=True)),
        (lambda n: functools.partial(rows_or_not, n, False), lambda n: functools.partial(rows_or_not, n, True)),
    ],
    ids=["code", "closure", "partial"],
)
def test_another_function_around_the_network_is_checked_anew(one: Any, other: Any) -> None:
    network, inputs = mlp(), torch.randn(3, 5, generator=seeded())
    sampler = MCDropout(network)
    assert both(Saliency(one(network)), sampler, inputs) == "prefix"
    assert both(Saliency(other(network)), sampler, inputs) == "loop"


def rows_or_not(network: nn.Module, by_rows: bool, x: Tensor) -> Tensor:
    scores: Tensor = network(x) / (len(x) if by_rows else 1)
    return scores


class Switched(nn.Module):
    """A network that can be made to mix its rows in several ways."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.drop = nn.Linear(5, 40), nn.Dropout(0.4)
        self.gate, self.head, self.mixes = nn.Parameter(torch.zeros(())), nn.Linear(40, 3), False
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(self.first(x).relu())
        hidden = hidden + self.gate * hidden.mean(0)
        scores: Tensor = self.head(hidden - hidden.mean(0) if self.mixes else hidden)
        return scores


def hook(network: Switched) -> None:
    network.head.register_forward_hook(lambda module, args, output: output / output.norm())


CHANGES: dict[str, Callable[[Switched], Any]] = {
    "a weight": lambda network: nn.init.constant_(network.gate, 1.0),
    "a weight's data": lambda network: setattr(network.gate, "data", torch.tensor(1.0)),
    "an option": lambda network: setattr(network, "mixes", True),
    "a hook": hook,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_network_is_checked_anew(change: Callable[[Switched], Any]) -> None:
    network, inputs = Switched(), torch.randn(3, 5, generator=seeded())
    assert both(Saliency(network), MCDropout(), inputs) != "loop"
    change(network)
    assert both(Saliency(network), MCDropout(), inputs) == "loop"


def test_a_network_of_which_a_check_shows_nothing_is_checked_once_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    network, inputs, checks = mlp(), torch.randn(3, 5, generator=seeded()), list[int]()
    choose = plan._choose
    monkeypatch.setattr(plan, "_choose", lambda *args: checks.append(1) or choose(*args))
    weight = network[5].weight.detach().clone()
    nn.init.zeros_(network[5].weight)
    assert [both(Saliency(network), MCDropout(), inputs) for _ in range(2)] == ["loop"] * 2
    assert len(checks) == 2
    network[5].weight.data = weight
    assert both(Saliency(network), MCDropout(), inputs) == "prefix"


def test_weights_that_the_check_has_not_seen_drawn_loop() -> None:
    """Draws that hold other weights: one of them is used by a function, around the module that owns it."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embed, self.head = nn.Linear(5, 6), nn.Linear(5, 3)
            self.eval()

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.head(self.embed(x) @ self.embed.weight)
            return scores

    network, inputs = Tied(), torch.randn(2, 5, generator=seeded())
    samples = [{"head.weight": torch.randn(3, 5, generator=seeded(t))} for t in range(5)]
    samples += [{"embed.weight": torch.randn(6, 5, generator=seeded(t))} for t in range(4)]
    both(Saliency(network), WeightSamples(samples), inputs)
    other = [{"head.weight": torch.randn(3, 5, generator=seeded(t))} for t in range(9)]
    assert both(Saliency(network), WeightSamples(other), inputs) != "loop"
    both(Saliency(network), WeightSamples(samples[::-1]), inputs)  # of the same name


def test_a_method_with_other_layers_is_checked_anew() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.drop, self.turned = nn.Linear(4, 8), nn.Dropout(0.4), nn.Identity()
            self.recurrent, self.head = nn.GRU(8, 8), nn.Linear(8, 3)
            self.eval()

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.head(self.recurrent(self.turned(self.drop(self.embed(x)).transpose(0, 1)))[0][-1])
            return scores

    network, inputs = Network(), torch.randn(2, 10, 4, generator=seeded())
    for layers in ([network.embed, network.drop], [network.embed, network.turned]):
        uq, given = StochasticAttribution(LayerActivation(network, layers), MCDropout()), {"n_draws": 10, "seed": 0}
        auto, loop = uq.attribute(inputs, **given), uq.attribute(inputs, **given, execution="loop")
        for ours, theirs in zip(auto, loop, strict=True):
            torch.testing.assert_close(ours.draws, theirs.draws)


@pytest.mark.parametrize("mistake", ["target", "inference mode"])
def test_a_mistake_does_not_leave_later_calls_in_the_loop(mistake: str) -> None:
    network, inputs = mlp(), torch.randn(3, 5, generator=seeded())
    uq, given = StochasticAttribution(FeatureAblation(network), MCDropout()), {"n_draws": 9, "seed": 0}
    if mistake == "target":
        with pytest.raises(IndexError):
            uq.attribute(inputs, target=7, **given)
    else:
        with torch.inference_mode():
            uq.attribute(inputs, target=1, **given)
    assert uq.attribute(inputs, target=1, **given).execution.road == "prefix"


def test_hooks_of_the_users_see_tensors_that_live_on() -> None:
    class Rooted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.head = nn.Parameter(torch.randn(4)), nn.Linear(4, 3)
            self.eval()

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.head(torch.tanh(x * self.weight))
            return scores

    network, seen = Rooted(), list[Tensor]()
    network.head.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    assert both(Saliency(network), NoiseGrad(), torch.randn(2, 4, generator=seeded())) == "loop"
    assert sum(bool(output.isfinite().all()) for output in seen) == len(seen) > 9


def test_what_torch_vectorises_slowly_is_refused_without_a_warning() -> None:
    class Token(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.randn(1, 1, 8))
            self.layer, self.head = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 2)
            self.eval()

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.head(self.layer(torch.cat([self.token.expand(len(x), 1, 8), x], 1))[:, 0])
            return scores

    inputs = torch.randn(2, 3, 8, generator=seeded())
    uq = StochasticAttribution(Saliency(Token()), NoiseGrad())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = uq.attribute(inputs, target=1, n_draws=9, seed=0)
    assert [str(warning.message) for warning in caught if "performance" in str(warning.message)] == []
    assert "by a loop of its own" in result.execution.reason
