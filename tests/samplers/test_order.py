"""How the rows of many draws lie: taken draw by draw and put back, forwards and backwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captum_uq.samplers._order import Order
from captum_uq.samplers._prefix import Prefix

DRAWS = {
    "draw by draw": [0, 0, 1, 1, 2, 2],
    "step by step": [0, 1, 2, 0, 1, 2],
    "mixed": [2, 0, 1, 1, 0, 2],
    "some of them": [2, 0, 2, 0],
    "in another order": [2, 2, 1, 1, 0, 0],
    "one row each": [0, 1, 2],
    "one draw": [1, 1, 1],
}


@pytest.mark.parametrize("name", DRAWS)
def test_rows_are_told_apart_and_put_back(name: str) -> None:
    draws = np.array(DRAWS[name])
    order = Order.of(torch.tensor(draws), 3)
    assert order is not None
    rows = torch.randn(len(draws), 4, 2, dtype=torch.float64, requires_grad=True)
    there = sorted(set(draws))
    expected = np.stack([rows.detach().numpy()[draws == draw] for draw in there])
    apart = order.apart(rows)
    np.testing.assert_array_equal(apart.detach(), expected)
    assert torch.equal(order.together(apart), rows)
    stack = torch.arange(3.0)
    assert order.of_draws(stack).tolist() == there
    weights = torch.randn_like(apart)
    (gradient,) = torch.autograd.grad((order.together(apart * weights) ** 2).sum(), rows)
    whole = order.together(weights).detach()
    torch.testing.assert_close(gradient, 2 * rows.detach() * whole**2)


@pytest.mark.parametrize("name", ["draw by draw", "one row each"])
def test_what_lies_draw_by_draw_is_not_copied(name: str) -> None:
    order = Order.of(torch.tensor(DRAWS[name]), 3)
    rows, stack = torch.randn(len(DRAWS[name]), 5), torch.randn(3, 2)
    assert order is not None
    assert order.apart(rows).data_ptr() == order.together(order.apart(rows)).data_ptr() == rows.data_ptr()
    assert order.of_draws(stack) is stack


@pytest.mark.parametrize("draws", [[0, 0, 1], [0, 1, 1, 2], [0, 0, 0, 1]])
def test_draws_of_different_numbers_of_rows_have_no_order(draws: list[int]) -> None:
    assert Order.of(torch.tensor(draws), 3) is None


@pytest.mark.parametrize("name", DRAWS)
def test_only_rows_that_are_the_same_in_every_draw_are_shared(name: str) -> None:
    order = Order.of(torch.tensor(DRAWS[name]), 3)
    assert order is not None
    distinct = torch.randn(order.rows.shape[1], 4)
    rows = order.together(distinct.expand(len(order.rows), -1, -1).clone())
    prefix, (shared,) = Prefix.of(order, (rows,), 1)
    assert prefix is not None
    assert torch.equal(shared, distinct)
    for place in range(len(rows)):
        other = rows.clone()
        other[place, 2] += 1
        found, (given,) = Prefix.of(order, (other,), 1)
        assert given is other or len(order.rows) == 1
        assert (found is None) == (len(order.rows) > 1), "a row of one draw differs from that of the others"
