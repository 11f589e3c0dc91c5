"""Linear layers with weights of their own in every draw: what `torch.vmap` gives, and the loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_uq.samplers import _folded_weights
from captum_uq.samplers._folded_weights import FoldedWeights
from captum_uq.samplers.base import Rows

DRAWS = [2, 0, 1, 1, 0, 2]
LAYERS = {"with a bias": True, "without": False}


class Own(nn.Linear):
    """A layer of the user's, which does more."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).tanh()


def replaced() -> nn.Linear:
    """A layer whose forward the user has replaced."""
    layer = nn.Linear(4, 3)
    plain = layer.forward
    layer.forward = lambda x: plain(x) * 2  # type: ignore[method-assign]
    return layer


def with_more() -> nn.Linear:
    """A layer to which the user has added a parameter, which hooks may use."""
    layer = nn.Linear(4, 3)
    layer.register_parameter("more", nn.Parameter(torch.zeros(3)))
    return layer


def weights_of(layer: nn.Module, names: list[str]) -> list[dict[str, Tensor]]:
    torch.manual_seed(1)
    own = dict(layer.named_parameters())
    return [{name: torch.randn_like(own[name]) for name in names if name in own} for _ in range(3)]


def by_the_loop(layer: nn.Module, draws: list[dict[str, Tensor]], rows: Tensor) -> Tensor:
    each = [torch.func.functional_call(layer, draws[t], (rows[i : i + 1],)) for i, t in enumerate(DRAWS)]
    return torch.cat(each)


def folded(layer: nn.Module, draws: list[dict[str, Tensor]], rows: Tensor) -> Tensor:
    at_once = Rows(3, 0)
    with FoldedWeights(layer, draws, at_once):
        result: Tensor = at_once.folded(layer)(rows, torch.tensor(DRAWS))
    return result


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many dimensions the inputs had that did not go through `torch.vmap`."""
    seen: list[int] = []
    linear = _folded_weights._linear

    def counted(layer: nn.Linear, drawn: Any, inputs: Tensor) -> Tensor:
        seen.append(inputs.dim())
        return linear(layer, drawn, inputs)

    monkeypatch.setattr(_folded_weights, "_linear", counted)
    return seen


@pytest.mark.parametrize("names", [["weight", "bias"], ["weight"], ["bias"]], ids=" and ".join)
@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 5, 4)], ids=str)
@pytest.mark.parametrize("bias", LAYERS.values(), ids=LAYERS)
def test_every_row_meets_the_weights_of_its_draw(
    bias: bool, shape: tuple[int, ...], names: list[str], by_hand: list[int]
) -> None:
    layer = nn.Linear(4, 3, bias=bias).double()
    draws, rows = weights_of(layer, names), torch.randn(6, *shape, dtype=torch.float64, requires_grad=True)
    found, wanted = folded(layer, draws, rows), by_the_loop(layer, draws, rows)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    towards = torch.randn_like(wanted)
    gradients = [torch.autograd.grad(output, rows, towards, retain_graph=True)[0] for output in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
    assert by_hand == ([len(shape) + 2] if draws[0] else [])
    assert "forward" not in vars(layer)


@pytest.mark.parametrize("layer", [Own(4, 3), replaced(), with_more()])
def test_other_layers_are_vectorised(layer: nn.Module, by_hand: list[int]) -> None:
    draws, rows = weights_of(layer, [name for name, _ in layer.named_parameters()]), torch.randn(6, 4)
    torch.testing.assert_close(folded(layer, draws, rows), by_the_loop(layer, draws, rows))
    assert not by_hand


@pytest.mark.parametrize("names", [["weight", "bias"], ["weight"], ["bias"]], ids=" and ".join)
def test_autocast_is_respected(names: list[str], by_hand: list[int]) -> None:
    layer = nn.Linear(4, 3)
    draws, rows = weights_of(layer, names), torch.randn(6, 4)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found, wanted = folded(layer, draws, rows), by_the_loop(layer, draws, rows)
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-2 * float(wanted.abs().max()))
    assert by_hand == [3]
