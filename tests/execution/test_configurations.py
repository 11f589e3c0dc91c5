"""Law 8 over the (configuration, method) pairs that Captum ships: every road gives the loop's draws, or its error."""

from __future__ import annotations

import copy
from typing import Any

import captum.attr
import pytest
import torch
from captum.testing.attr.helpers.gen_test_utils import get_target_layer, parse_test_config
from captum.testing.attr.helpers.test_config import config

from captum_uq import StochasticAttribution
from captum_uq.samplers import NoiseGrad
from roads import hold_equal

CONFIGURATIONS = [(case, algorithm) for case in config for algorithm in case["algorithms"]]

TOLERANCE = 1e-4
"""Some of these networks end in a softmax of logits in the hundreds, which makes rounding errors larger."""


def outcome(case: dict[str, Any], algorithm: type, execution: str) -> Any:
    """The result of three draws of the weights; or what the call raises."""
    torch.manual_seed(3)
    _, model, args, layer, noise_tunnel, _ = parse_test_config(copy.deepcopy(case))
    method = algorithm(*((model,) if layer is None else (model, get_target_layer(model, layer))))
    method = captum.attr.NoiseTunnel(method) if noise_tunnel else method
    uq = StochasticAttribution(method, NoiseGrad(std=0.1))
    try:
        return uq.attribute(**args, n_draws=3, seed=0, execution=execution, nan_policy="propagate")
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("case", "algorithm"), CONFIGURATIONS, ids=[f"{case['name']}-{a.__name__}" for case, a in CONFIGURATIONS]
)
def test_every_road_gives_the_draws_of_the_loop(case: dict[str, Any], algorithm: type) -> None:
    reference = outcome(case, algorithm, "loop")
    for execution in ("fold", "prefix", "auto"):
        result = outcome(case, algorithm, execution)
        if isinstance(reference, Exception):
            assert (type(result), str(result)) == (type(reference), str(reference))
        else:
            assert not isinstance(result, Exception), result
            hold_equal(result, reference, TOLERANCE)
