"""Law 5 and its neighbours: what cannot be drawn is refused, with the way out; it never gives a zero spread."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import LRP, IntegratedGradients, Saliency
from torch import Tensor, nn

from captum_uq import MCDropout, StochasticAttribution, Unchanged
from networks import KINDS, Dense, build


class Custom(Dense):
    """A network whose middle is a function of (network, activation)."""

    def __init__(self, middle: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__(nn.Identity())
        self.middle = middle

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self, self.relu(self.hidden(x))))


def input_dependent_rate(network: nn.Module, x: Tensor) -> Tensor:
    return x * torch.bernoulli(torch.sigmoid(x.detach()))


def more_calls_for_some_inputs(network: nn.Module, x: Tensor) -> Tensor:
    for _ in range(1 if x.sum() > 2 else 2):
        x = F.dropout(x, 0.5, network.training)
    return x


def fewer_calls_in_a_batch(network: nn.Module, x: Tensor) -> Tensor:
    return F.dropout(x, 0.5, network.training) if len(x) == 1 else x


def rate_from_the_batch(network: nn.Module, x: Tensor) -> Tensor:
    return F.dropout(x, 0.5 if len(x) == 1 else 0.25, network.training)


def rows_shuffled(network: nn.Module, x: Tensor) -> Tensor:
    return x * torch.rand(x.shape[1], x.shape[0] + 1).sum()


def another_rank_in_a_batch(network: nn.Module, x: Tensor) -> Tensor:
    return x * (torch.rand(1, x.shape[1]) if len(x) == 1 else torch.rand(*x.shape, 1).squeeze(-1))


def python_noise(network: nn.Module, x: Tensor) -> Tensor:
    return x * random.random()


def numpy_noise(network: nn.Module, x: Tensor) -> Tensor:
    return x * float(np.random.rand())


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "nothing random": (lambda: Dense(nn.Identity()), "found nothing to draw in Dense.*rate between 0 and 1"),
    "rates of 0": (lambda: Dense(nn.Dropout(0.0)), "found nothing to draw"),
    "only BatchNorm": (lambda: Dense(nn.BatchNorm1d(8)), "found nothing to draw"),
    "RReLU": (lambda: Dense(nn.RReLU()), "RReLU 'dropout'.*depend on the input"),
    "bernoulli(p(x))": (lambda: Custom(input_dependent_rate), "depends on the input"),
    "more calls": (lambda: Custom(more_calls_for_some_inputs), "control flow"),
    "fewer calls": (lambda: Custom(fewer_calls_in_a_batch), "control flow"),
    "a rate that changes": (lambda: Custom(rate_from_the_batch), "changes with the input"),
    "rows that cannot be told": (lambda: Custom(rows_shuffled), "for one row"),
    "another rank": (lambda: Custom(another_rank_in_a_batch), "for one row"),
    "Python's generator": (lambda: Custom(python_noise), "Python's or NumPy's"),
    "NumPy's generator": (lambda: Custom(numpy_noise), "Python's or NumPy's"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_one_network_is_refused(name: str) -> None:
    make, message = REFUSED[name]
    uq = StochasticAttribution(IntegratedGradients(make()), MCDropout())
    with pytest.raises(RuntimeError, match=message):
        uq.attribute(4 * torch.ones(3, 5), target=0, n_draws=2, n_steps=4)


def test_nothing_random_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        MCDropout(Dense(nn.Identity())).network(0, torch.ones(1, 5))


class Repeating(Dense):
    """Calls its dropout module as often as the function of its activation says."""

    def __init__(self, times: Callable[[Tensor], int]) -> None:
        super().__init__(nn.Dropout(0.5))
        self.other = nn.Dropout(0.5)
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        x = self.other(self.relu(self.hidden(x)))
        for _ in range(self.times(x)):
            x = self.dropout(x)
        return self.head(x)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (lambda x: 2 if len(x) == 1 else 1, "'dropout' was called 1 times, in the probe 2"),
        (lambda x: 1 if len(x) == 1 else 2, "'dropout' was called more often than in the probe"),
        (lambda x: 0 if len(x) == 1 else 1, "'dropout' drew more random tensors"),
    ],
    ids=["less often", "more often", "for the first time"],
)
def test_a_module_may_not_be_called_more_or_less_often_than_in_the_probe(
    times: Callable[[Tensor], int], message: str
) -> None:
    uq = StochasticAttribution(Saliency(Repeating(times)), MCDropout())
    with pytest.raises(RuntimeError, match=message):
        uq.attribute(torch.ones(3, 5), target=0, n_draws=2, seed=0)


def test_a_module_that_the_probe_did_not_see_may_not_draw_later() -> None:
    class Branching(Dense):
        def forward(self, x: Tensor) -> Tensor:
            h = self.relu(self.hidden(x))
            return self.head(self.dropout(h) if x.mean() > 0 else h + 0 * F.dropout(h, 0.5, True))

    network = Branching(nn.Dropout(0.5))
    with pytest.raises(RuntimeError, match="drew more random tensors|control flow"):
        StochasticAttribution(IntegratedGradients(network), MCDropout()).attribute(
            -torch.ones(1, 5), baselines=torch.ones(1, 5), target=0, n_draws=1
        )


def test_a_rate_that_is_a_tensor_but_not_of_the_input_is_held() -> None:
    def learned_rate(network: nn.Module, x: Tensor) -> Tensor:
        rate = torch.linspace(0.2, 0.8, x.shape[1]).expand_as(x)
        return x * torch.bernoulli(rate) if network.training else x

    network, x = Custom(learned_rate), torch.randn(3, 5)
    dist = StochasticAttribution(Saliency(network), MCDropout()).attribute(x, target=0, n_draws=4, seed=0)
    for index in range(4):
        draw = MCDropout(network).network(index, x, seed=0)
        assert torch.equal(dist.draws[index], Saliency(draw).attribute(x, target=0))
    assert dist.stdev().max() > 0


@pytest.mark.parametrize("n_draws", [0, -1, 2.0, True, "many"])
def test_fewer_than_one_draw_is_refused(n_draws: Any) -> None:
    with pytest.raises(ValueError, match="n_draws is a positive integer"):
        StochasticAttribution(Saliency(build("Dropout")), MCDropout()).attribute(torch.ones(1, 5), n_draws=n_draws)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0"])
def test_a_seed_that_is_no_non_negative_integer_is_refused(seed: Any) -> None:
    with pytest.raises(ValueError, match="non-negative integer"):
        StochasticAttribution(Saliency(build("Dropout")), MCDropout()).attribute(torch.ones(1, 5), seed=seed)


@pytest.mark.parametrize("seed", [0, 2**31, 2**63, 10**30, np.int64(3)])
def test_any_non_negative_integer_is_a_seed(seed: int) -> None:
    network = build("Dropout")
    dist = StochasticAttribution(Saliency(network), MCDropout()).attribute(
        torch.ones(1, 5), target=0, seed=seed, n_draws=2
    )
    assert dist.seed == seed


def test_seeds_that_share_their_low_bits_are_different_seeds() -> None:
    """A CPU generator of torch would take only the low 32 bits."""
    uq = StochasticAttribution(Saliency(build("Dropout")), MCDropout())
    one, other = (uq.attribute(torch.ones(1, 5), target=0, seed=seed, n_draws=4).draws for seed in (1, 1 + 2**32))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("estimator_seed", ["same", None, 1])
def test_an_unknown_estimator_seed_is_refused(estimator_seed: Any) -> None:
    with pytest.raises(ValueError, match="'shared' or 'independent'"):
        StochasticAttribution(Saliency(build("Dropout")), MCDropout()).attribute(
            torch.ones(1, 5), estimator_seed=estimator_seed
        )


@pytest.mark.parametrize("p", [-0.1, 1.1, "half", True])
def test_a_rate_outside_0_and_1_is_refused(p: Any) -> None:
    with pytest.raises(ValueError, match=r"number in \[0, 1\]"):
        MCDropout(p=p)


def test_a_selection_that_matches_nothing_names_what_there_is() -> None:
    with pytest.raises(ValueError, match="'classifier' matches no module.*hidden"):
        MCDropout(build("Dropout"), modules="classifier").network(0, torch.ones(1, 5))


def test_a_model_that_is_no_module_is_refused() -> None:
    with pytest.raises(TypeError, match=r"draws from a torch.nn.Module, got a float"):
        MCDropout(0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("what", [Saliency, "Saliency", None])
def test_only_a_method_of_captum_can_be_wrapped(what: Any) -> None:
    with pytest.raises(TypeError, match="wraps an attribution method of Captum"):
        StochasticAttribution(what, MCDropout())


def test_a_sampler_is_needed() -> None:
    with pytest.raises(TypeError, match=r"an object such as MCDropout\(\)"):
        StochasticAttribution(Saliency(build("Dropout")), MCDropout)  # type: ignore[arg-type]


def test_a_stochastic_method_is_not_wrapped_twice() -> None:
    uq = StochasticAttribution(Saliency(build("Dropout")), MCDropout())
    with pytest.raises(TypeError, match="stochastic already"):
        StochasticAttribution(uq, Unchanged())


@pytest.mark.parametrize("kind", ["F.dropout", "F.alpha_dropout"])
def test_lrp_refuses_dropout_that_is_no_module(kind: str) -> None:
    with pytest.raises(RuntimeError, match="as a module"):
        StochasticAttribution(LRP(build(kind)), MCDropout()).attribute(KINDS[kind].inputs(1), target=0)


def test_draws_that_are_not_finite_are_named() -> None:
    class Exploding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sqrt(self.dropout(x))

    uq = StochasticAttribution(Saliency(Exploding()), MCDropout())
    with pytest.raises(ValueError, match=r"[Dd]raw \d"):
        uq.attribute(torch.ones(1, 3), target=0, n_draws=8, seed=0)
    assert uq.attribute(torch.ones(1, 3), target=0, n_draws=8, seed=0, nan_policy="propagate").draws.isnan().any()


def test_captums_own_errors_come_through() -> None:
    uq = StochasticAttribution(Saliency(build("Dropout")), MCDropout())
    with pytest.raises(AssertionError, match="Target not provided when necessary"):
        uq.attribute(torch.ones(1, 5))
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_step'"):
        uq.attribute(torch.ones(1, 5), target=0, n_step=3)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        uq.attribute(torch.ones(1, 4), target=0)


def test_an_unknown_summary_is_refused_before_anything_is_drawn() -> None:
    with pytest.raises(ValueError, match="no statistic is called 'best'; the names are mean"):
        StochasticAttribution(Saliency(build("Dropout")), MCDropout(), summary="best")
