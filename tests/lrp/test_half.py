"""In float16 and bfloat16 relevance is what it is in float32, to the dtype's rounding, and never no number."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from captum_uq.lrp import (
    LRP,
    LRPCMP,
    Composite,
    EpsilonComposite,
    EpsilonRule,
    GammaRule,
    ZPlusComposite,
)
from lrp.shipped import shipped

COMPOSITES: dict[str, Callable[[], Composite]] = shipped(3.0) | {
    "LRP-0": lambda: EpsilonComposite(0.0),
    "epsilon, average": lambda: EpsilonComposite(max_pool="average"),
    "relative": lambda: EpsilonComposite(rules={nn.Linear: EpsilonRule(0.25, relative=True)}),
    "z+, average": lambda: ZPlusComposite("average"),
    "gamma": lambda: EpsilonComposite(rules={nn.Linear: GammaRule()}),
    "LRP-CMP, winner": lambda: LRPCMP(-3.0, 3.0, max_pool="winner"),
}


def network(dtype: torch.dtype, scale: float = 1.0) -> nn.Sequential:
    """Of its pool some windows hold nothing but zeros."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)).eval()
    with torch.no_grad():
        model[0].bias -= 0.5
        model[4].weight *= scale
    return model.to(dtype)


def check(composite: Composite, dtype: torch.dtype, scale: float = 1.0) -> None:
    model, inputs = network(dtype, scale), torch.randn(2, 3, 6, 6).clamp(-3, 3).to(dtype)
    found = LRP(model, composite).attribute(inputs, target=1).float()
    wanted = LRP(model.float(), composite).attribute(inputs.float(), target=1)
    assert found.isfinite().all()
    assert (found - wanted).abs().max() <= 8 * torch.finfo(dtype).eps * wanted.abs().max()


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", COMPOSITES)
def test_a_dtype_of_16_bits_gives_what_float32_gives(name: str, dtype: torch.dtype, seed: int) -> None:
    torch.manual_seed(seed)
    check(COMPOSITES[name](), dtype)


def test_an_epsilon_relative_to_outputs_whose_squares_float16_does_not_have_is_finite() -> None:
    torch.manual_seed(0)
    check(COMPOSITES["relative"](), torch.float16, scale=5000.0)
