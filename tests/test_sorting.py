"""Draws in ascending order: torch's and NumPy's sort agree, whatever the dtype, the shape and the blocks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from captum_uq import stats
from captum_uq.stats import _sorting
from captum_uq.stats._sorting import ascending, of_ranks

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool]
SHAPES = [(7,), (1, 5), (7, 1), (7, 2, 3), (40, 300), (7, 0), (7, 2, 0, 3)]


def draws_of(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Draws with equal numbers among them."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(3).round().to(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("block", [1, 50, 2**18])
def test_every_rank_is_that_of_a_sort(
    shape: tuple[int, ...], dtype: torch.dtype, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sorting, "_BLOCK", block)
    draws = draws_of(shape, dtype)
    before, wanted = draws.clone(), torch.sort(draws, dim=0).values
    found = of_ranks(draws, range(len(draws)))
    assert list(found) == list(range(len(draws)))
    for rank, values in found.items():
        assert torch.equal(values, wanted[rank])
        assert values.dtype == dtype
    assert torch.equal(draws, before)


@pytest.mark.parametrize("dtype", DTYPES[:4], ids=str)
def test_numbers_that_are_not_finite(dtype: torch.dtype) -> None:
    draws = draws_of((9, 30), dtype)
    draws[3, ::2], draws[4, ::3], draws[5, ::5] = torch.nan, torch.inf, -torch.inf
    found, wanted = ascending(draws), torch.sort(draws, dim=0).values
    assert torch.equal(found.isnan(), wanted.isnan())
    assert torch.equal(found.nan_to_num(nan=7.0), wanted.nan_to_num(nan=7.0))


@pytest.mark.parametrize("lying", [lambda x: x, lambda x: x.t().contiguous().t(), lambda x: x[::2, 1:]])
def test_the_draws_are_left_as_they_are(lying: object) -> None:
    """A column alone, and draws that lie as NumPy sorts them, are no exception."""
    for shape in ((9, 1), (1, 9), (8, 6)):
        draws = lying(draws_of(shape))  # type: ignore[operator]
        before = draws.clone()
        assert ascending(draws).shape == draws.shape
        assert torch.equal(draws, before)


def test_percentiles_of_draws_in_a_graph_pass_gradients() -> None:
    draws = torch.randn(9, 4, requires_grad=True)
    stats.percentile(draws, 25).sum().backward()
    assert draws.grad is not None
    assert torch.equal(draws.grad.sum(0), torch.ones(4))
    assert torch.equal(draws.grad.count_nonzero(0), torch.ones(4, dtype=torch.int64))
    with torch.no_grad():
        assert torch.equal(stats.percentile(draws, 25), stats.percentile(draws.detach(), 25))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_percentiles_can_be_vectorised() -> None:
    draws = torch.randn(4, 30, 6)
    assert torch.equal(torch.vmap(stats.median)(draws), torch.stack([stats.median(each) for each in draws]))
