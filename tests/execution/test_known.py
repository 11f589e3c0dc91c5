"""A check of a road holds for calls like the one that was checked, and for no other."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, NeuronGradient, Saliency
from torch import Tensor, nn

from captum_uq import MCDropout, StochasticAttribution
from captum_uq.execution import plan
from captum_uq.samplers import NoiseGrad
from methods import METHODS
from networks import Dense

FLAG = False


class Options(nn.Module):
    """A network that mixes its rows where one of its settings says so."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.4), nn.Linear(8, 3))
        self.settings, self.options = SimpleNamespace(mixes=False), {"mixes": [False]}
        self.eval()

    def forward(self, x: Tensor, flag: Any = None) -> Tensor:
        scores: Tensor = self.body(x)
        while isinstance(flag, tuple):
            flag = flag[-1]
        asked = flag.mixes if isinstance(flag, SimpleNamespace) else flag is not None and bool(flag)
        mixes = asked or self.settings.mixes or self.options["mixes"][0]
        return scores - scores.mean(0) if mixes else scores


class Caller:
    """An object around a network."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.mixes = network, False

    def __call__(self, x: Tensor) -> Tensor:
        scores: Tensor = self.network(x)
        return scores - scores.mean(0) if self.mixes else scores

    def predict(self, x: Tensor) -> Tensor:
        return self(x)


pytestmark = pytest.mark.filterwarnings("ignore::captum_uq.samplers.DisagreementWarning")
"""No network here is trained."""


def helper(scores: Tensor) -> Tensor:
    return scores


def mixing_helper(scores: Tensor) -> Tensor:
    return scores - scores.mean(0)


def with_flag(network: nn.Module) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        scores: Tensor = network(x)
        return mixing_helper(scores) if FLAG else scores

    return forward


def with_helper(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: helper(network(x))


def switch(name: str, value: Any) -> Callable[..., None]:
    """Change a variable of this file, until the test is over."""
    return lambda patch, *_: patch.setitem(globals(), name, value)


def set_option(patch: Any, network: Options, forward: Any) -> None:
    network.options["mixes"][0] = True


CHANGES: dict[str, tuple[Callable[[Any], Any], Callable[..., None]]] = {
    "a function that it calls": (with_helper, switch("helper", mixing_helper)),
    "a variable of its file": (with_flag, switch("FLAG", True)),
    "an attribute of an object": (Caller, lambda patch, network, forward: setattr(forward, "mixes", True)),
    "an attribute of a method's object": (
        lambda network: Caller(network).predict,
        lambda patch, network, forward: setattr(forward.__self__, "mixes", True),
    ),
    "a setting of the network": (lambda n: n, lambda patch, network, _: setattr(network.settings, "mixes", True)),
    "a list in a dict of the network": (lambda n: n, set_option),
}


def both(method: Any, **given: Any) -> str:
    """The road of a call, which gives what the loop gives."""
    uq = StochasticAttribution(method, MCDropout())
    inputs = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    auto, loop = (uq.attribute(inputs, n_draws=20, seed=0, execution=road, **given) for road in ("auto", "loop"))
    torch.testing.assert_close(auto.draws, loop.draws)
    return auto.execution.road


@pytest.mark.parametrize("method", [Saliency, FeatureAblation])
@pytest.mark.parametrize(("around", "change"), CHANGES.values(), ids=CHANGES.keys())
def test_what_changes_without_a_new_function_is_checked_anew(
    around: Any, change: Any, method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Options()
    forward = around(network)
    assert both(method(forward), target=1) != "loop"
    change(monkeypatch, network, forward)
    assert both(method(forward), target=1) == "loop"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.tensor(0.0), torch.tensor(1.0)),
        (torch.tensor([False]), torch.tensor([True])),
        (0, 1),
        (np.int64(0), np.int64(1)),
        (np.zeros(1), np.ones(1)),
        ((((), 0),), (((), 1),)),
    ],
    ids=["a number", "a tensor of one", "a Python number", "one of NumPy's", "an array", "a number inside tuples"],
)
def test_other_settings_among_the_arguments_are_checked_anew(one: Any, other: Any) -> None:
    method = FeatureAblation(Options())
    assert both(method, target=1, additional_forward_args=(one,)) != "loop"
    assert both(method, target=1, additional_forward_args=(other,)) == "loop"


def test_an_object_among_the_arguments_that_was_changed_is_checked_anew() -> None:
    method, setting = FeatureAblation(Options()), SimpleNamespace(mixes=False)
    assert both(method, target=1, additional_forward_args=(setting,)) != "loop"
    setting.mixes = True
    assert both(method, target=1, additional_forward_args=(setting,)) == "loop"


def test_a_function_among_the_arguments_is_told_by_its_code() -> None:
    """A new one may lie where an old one lay."""
    network = Options()
    for _ in range(3):
        roads = [
            both(NeuronGradient(network, network.body[3]), neuron_selector=lambda a: a[:, 0]),
            both(NeuronGradient(network, network.body[3]), neuron_selector=lambda a: (a - a.sum(0))[:, 0]),
        ]
        assert roads[0] != "loop" == roads[1]


def test_a_function_written_anew_at_one_place_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    choose, checks, network = plan._choose, [], Options()
    monkeypatch.setattr(plan, "_choose", lambda *args: checks.append(1) or choose(*args))
    kept = []
    for _ in range(3):
        kept.append(lambda a: a[:, 0])  # at another address than the one before
        uq = StochasticAttribution(NeuronGradient(network, network.body[3]), MCDropout())
        uq.attribute(torch.rand(4, 6), neuron_selector=kept[-1], n_draws=20, seed=0)
    assert len(checks) == 1


@pytest.mark.parametrize("sampler", [MCDropout(), NoiseGrad()], ids=repr)
@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"GuidedGradCam"}))  # all 0 here: a check shows nothing
def test_the_same_call_on_other_values_is_not_checked_again(
    name: str, sampler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose, checks = plan._choose, []
    monkeypatch.setattr(plan, "_choose", lambda *args: checks.append(1) or choose(*args))
    method, network = METHODS[name], Dense(nn.Dropout(0.5)).eval()
    uq = StochasticAttribution(method.make(network, network.hidden), sampler)
    counts = []
    for seed in range(3):
        inputs = torch.randn(2, 5, generator=torch.Generator().manual_seed(seed))
        targets = {"target": seed} if method.targeted else {}
        uq.attribute(inputs, n_draws=10, seed=seed, **targets, **method.arguments(inputs))
        counts.append(len(checks))
    assert counts in ([0, 0, 0], [1, 1, 1])


def test_the_last_checks_of_a_network_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_REMEMBERED", 2)
    network = Dense(nn.Dropout(0.5)).eval()
    uq = StochasticAttribution(Saliency(network), MCDropout())
    for rows in (1, 2, 3, 4, 4):
        uq.attribute(torch.randn(rows, 5), target=0, n_draws=10, seed=0)
    assert len(plan._KNOWN[network]) == 2
