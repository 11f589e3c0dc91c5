"""Linear layers and convolutions with weights of their own in every draw: what `torch.vmap` gives, and the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_uq.lrp import EpsilonRule
from captum_uq.lrp._attach import attach
from captum_uq.samplers import _folded_weights
from captum_uq.samplers._folded_weights import FoldedWeights
from captum_uq.samplers.base import Rows

DRAWS = [2, 0, 1, 1, 0, 2]
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(4, 3), (4,)),
    "linear, without a bias": (lambda: nn.Linear(4, 3, bias=False), (4,)),
    "linear, on a sequence": (lambda: nn.Linear(4, 3), (5, 4)),
    "linear, on a picture": (lambda: nn.Linear(4, 3), (2, 5, 4)),
    "convolution": (lambda: nn.Conv2d(4, 3, 2), (4, 5, 6)),
    "convolution, without a bias": (lambda: nn.Conv2d(4, 3, 2, bias=False), (4, 5, 6)),
    "convolution with options": (lambda: nn.Conv2d(4, 3, (2, 3), (2, 1), (1, 0), (1, 2)), (4, 5, 6)),
    "convolution of the same size": (lambda: nn.Conv2d(4, 3, 3, padding="same"), (4, 5, 6)),
    "convolution of as many channels as rows": (lambda: nn.Conv2d(6, 3, 2), (6, 6, 6)),
    "depthwise convolution": (lambda: nn.Conv2d(4, 8, 3, groups=4), (4, 5, 6)),
    "convolution of two groups": (lambda: nn.Conv1d(4, 6, 3, groups=2), (4, 7)),
    "convolution of volumes": (lambda: nn.Conv3d(2, 3, 2, stride=2), (2, 4, 5, 4)),
}


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
    affine = _folded_weights.affine_of_draws

    def counted(layer: Any, drawn: Any, inputs: Tensor) -> Tensor:
        seen.append(inputs.dim())
        return affine(layer, drawn, inputs)

    monkeypatch.setattr(_folded_weights, "affine_of_draws", counted)
    return seen


@pytest.mark.parametrize("names", [["weight", "bias"], ["weight"], ["bias"]], ids=" and ".join)
@pytest.mark.parametrize("name", LAYERS)
def test_every_row_meets_the_weights_of_its_draw(name: str, names: list[str], by_hand: list[int]) -> None:
    make, shape = LAYERS[name]
    layer = make().double()
    draws, rows = weights_of(layer, names), torch.randn(6, *shape, dtype=torch.float64, requires_grad=True)
    found, wanted = folded(layer, draws, rows), by_the_loop(layer, draws, rows)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    towards = torch.randn_like(wanted)
    gradients = [torch.autograd.grad(output, rows, towards, retain_graph=True)[0] for output in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
    assert by_hand == ([len(shape) + 2] if draws[0] else [])
    assert "forward" not in vars(layer)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_with_a_rule_of_lrp_are_layers_too(name: str, by_hand: list[int]) -> None:
    make, shape = LAYERS[name]
    layer = make().double()
    draws, rows = weights_of(layer, ["weight"]), torch.randn(6, *shape, dtype=torch.float64)
    undo = attach(layer, name, EpsilonRule())
    found, wanted = folded(layer, draws, rows), by_the_loop(layer, draws, rows)
    undo()
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    assert by_hand == [len(shape) + 2]


OTHERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "of a class of the user's": (lambda: Own(4, 3), (4,)),
    "with a forward of the user's": (replaced, (4,)),
    "with a parameter more": (with_more, (4,)),
    "that pads by reflection": (lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"), (4, 5, 6)),
    "that is transposed": (lambda: nn.ConvTranspose2d(4, 3, 2), (4, 5, 6)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_layers_are_vectorised(name: str, by_hand: list[int]) -> None:
    make, shape = OTHERS[name]
    layer = make()
    draws = weights_of(layer, [name for name, _ in layer.named_parameters()])
    rows = torch.randn(6, *shape)
    torch.testing.assert_close(folded(layer, draws, rows), by_the_loop(layer, draws, rows))
    assert not by_hand


def test_a_convolution_that_takes_the_rows_for_channels_is_refused() -> None:
    """As it takes one picture, without a batch."""
    network = nn.Sequential(nn.Conv1d(6, 6, 1, groups=6))
    draws = [{"0.weight": torch.randn(6, 1, 1)} for _ in range(3)]
    with pytest.raises(RuntimeError):
        folded(network, draws, torch.randn(6, 5))


@pytest.mark.parametrize("names", [["weight", "bias"], ["weight"], ["bias"]], ids=" and ".join)
@pytest.mark.parametrize("name", ["linear", "convolution"])
def test_autocast_is_respected(name: str, names: list[str], by_hand: list[int]) -> None:
    make, shape = LAYERS[name]
    layer = make()
    draws, rows = weights_of(layer, names), torch.randn(6, *shape)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found, wanted = folded(layer, draws, rows), by_the_loop(layer, draws, rows)
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-2 * float(wanted.abs().max()))
    assert by_hand == [len(shape) + 2]
