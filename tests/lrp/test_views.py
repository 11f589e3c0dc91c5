"""Operations in place on a view of an activation are what they are on a part of it, out of place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_uq.lrp import LRP, Composite, EpsilonComposite, ZPlusComposite


class Network(nn.Module):
    """Something between two layers without bias."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.between = nn.Linear(5, 4, bias=False), nn.Linear(4, 3, bias=False), between

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self.first(x)))


def written(write: Callable[[Tensor], object]) -> Callable[[Tensor], Tensor]:
    def between(y: Tensor) -> Tensor:
        write(y)
        return y

    return between


def statement_add(y: Tensor) -> Tensor:
    y[:, :2] += 1.0
    return y


def statement_sub(y: Tensor) -> Tensor:
    y[:, 1:] -= y[:, :3].clone()
    return y


def statement_mul(y: Tensor) -> Tensor:
    y[:, :2] *= 3.0
    return y


def statement_square(y: Tensor) -> Tensor:
    y[:, :2] *= y[:, :2].clone()
    return y


def preallocated(y: Tensor) -> Tensor:
    whole = torch.zeros_like(y)
    whole[:, :3].copy_(y[:, :3])
    whole[:, 3:] = y[:, 3:]
    return whole


def halved_in_place(y: Tensor) -> Tensor:
    y[:, :1].mul_(0.5)
    return y


def added_up(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def between(y: Tensor) -> Tensor:
        part = y[:, :1]
        changed = change(y)
        return changed + (part if changed is y else changed[:, :1]).expand(-1, 4)

    return between


def joined(*parts: Tensor) -> Tensor:
    return torch.cat(parts, 1)


PAIRS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "y[:, :2] += 1": (statement_add, lambda y: joined(y[:, :2] + 1.0, y[:, 2:])),
    "y[:, :2] *= 3": (statement_mul, lambda y: joined(y[:, :2] * 3.0, y[:, 2:])),
    "y[:, 1:] -= a part": (statement_sub, lambda y: joined(y[:, :1], y[:, 1:] - y[:, :3])),
    "y.view(-1).mul_(2)": (written(lambda y: y.view(-1).mul_(2)), lambda y: y * 2),
    "y.squeeze().add_(z)": (written(lambda y: y[:, None].squeeze().add_(y.relu())), lambda y: y + y.relu()),
    "F.relu_(y[:, :2])": (written(lambda y: F.relu_(y[:, :2])), lambda y: joined(y[:, :2].relu(), y[:, 2:])),
    "F.relu(y[:, :2], inplace)": (
        written(lambda y: F.relu(y[:, :2], inplace=True)),
        lambda y: joined(y[:, :2].relu(), y[:, 2:]),
    ),
    "a view of a view": (
        written(lambda y: y[:, :3][:, 1:].add_(2 * y[:, :2].clone())),
        lambda y: joined(y[:, :1], y[:, 1:3] + 2 * y[:, :2], y[:, 3:]),
    ),
    "the view goes on": (lambda y: y[:, :4].mul_(0.5), lambda y: y * 0.5),
    "the view and the whole go on": (added_up(halved_in_place), added_up(lambda y: joined(y[:, :1] * 0.5, y[:, 1:]))),
    "zero_ on a part": (written(lambda y: y[:, :2].zero_()), lambda y: joined(0 * y[:, :2], y[:, 2:])),
    "preallocated": (preallocated, lambda y: y),
}


@pytest.mark.parametrize("composite", [EpsilonComposite(0.0), ZPlusComposite()], ids=repr)
@pytest.mark.parametrize("name", PAIRS)
def test_in_place_on_a_view_is_out_of_place_on_a_part(name: str, composite: Composite) -> None:
    in_place, out_of_place = PAIRS[name]
    one, other = Network(in_place).double(), Network(out_of_place).double()
    other.load_state_dict(one.state_dict())
    inputs = torch.randn(6, 5, dtype=torch.float64)
    assert torch.equal(one(inputs), other(inputs))
    found, wanted = (LRP(model, composite).attribute(inputs.clone(), target=1) for model in (one, other))
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    outputs = one(inputs)[:, 1]
    torch.testing.assert_close(found.sum(1), outputs, rtol=1e-8, atol=1e-10)


REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "a product": (written(lambda y: y[:, :2].mul_(y[:, 2:].clone())), "mul_"),
    "a limit": (written(lambda y: y[:, :2].clamp_(min=0.0)), "clamp_"),
    "by statement": (statement_square, "mul_"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_function_without_a_rule_is_refused_on_a_view_too(name: str) -> None:
    """Relevance comes to the whole, and need not come to the view."""
    between, function = REFUSED[name]
    with pytest.raises(NotImplementedError, match=f"LRP has no rule for '{function}', which the forward of Network"):
        LRP(Network(between), EpsilonComposite()).attribute(torch.randn(6, 5), target=1)
