"""How many draws run at once: never more than fit, and about the same number in every eval."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from captum_uq.execution import sizes as module
from captum_uq.execution.sizes import Sizes, sizes
from captum_uq.execution.work import Work

NUMBERS = (1, 2, 3, 7, 20, 91, 100, 1000)


@pytest.mark.parametrize("n_draws", NUMBERS)
def test_evals_fit_and_are_even(n_draws: int) -> None:
    for fits, cached in itertools.product(NUMBERS, repeat=2):
        many = Sizes(fits, min(fits, cached), 0).draws_per_eval(n_draws)
        evals = -(-n_draws // many)
        assert 1 <= many <= min(fits, n_draws)
        assert many <= 2 * cached, "a little more than is best for the cache is better than a small rest"
        assert evals == 1 or many > min(fits, cached) / 2
        assert many * evals - n_draws < evals, "the last is as large as the others, as far as it goes"


def job(device: str) -> Any:
    inputs = torch.empty(1, 1000, device=device)
    return SimpleNamespace(call=SimpleNamespace(forward_arguments=(inputs,)))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("rows", [1, 50])
def test_memory_bounds_what_runs_at_once(rows: int, device: str) -> None:
    work = Work(operations=10**9, shared=10**8, bytes=3 * 10**6, shared_bytes=10**6)
    shared = sizes(work, True, rows, job(device))
    folded = sizes(work._replace(shared=0, shared_bytes=0), False, rows, job(device))
    assert folded.fits * rows * 2 * work.bytes <= 2**30
    assert shared.fits >= folded.fits, "what they share is held once"
    assert folded.draws_per_product == 0 < shared.draws_per_product
    assert shared.draws_per_product * rows * work.shared_bytes <= max(2**30, rows * work.shared_bytes)
    if device == "cpu":
        assert folded.cached * rows * work.bytes <= max(module._CACHE["cpu"], rows * work.bytes)


@pytest.mark.parametrize("rows", [1, 4, 50])
@pytest.mark.parametrize("row_bytes", [10**3, 10**5, 10**6, 10**7, 10**9])
def test_a_product_fits_the_cache_or_has_few_rows(row_bytes: int, rows: int) -> None:
    draws = sizes(Work(10**9, 10**8, 2 * row_bytes, row_bytes), True, rows, job("cpu")).draws_per_product
    fits, few = draws * rows * row_bytes <= module._PRODUCT["cpu"], draws * rows <= module._ROWS
    assert draws == 1 or fits or (few and draws * rows * row_bytes <= module._ROWS_CACHE["cpu"])
    more = (draws + 1) * rows
    assert more * row_bytes > module._PRODUCT["cpu"]
    assert more > module._ROWS or more * row_bytes > module._ROWS_CACHE["cpu"]


def test_nothing_to_hold_is_no_division_by_zero() -> None:
    assert sizes(Work(0, 0, 0, 0), True, 1, job("cpu")).draws_per_eval(10) == 10


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("roots", [1, 30, 600, 5000])
def test_outputs_that_are_passed_backwards_one_by_one_are_few(roots: int, share: bool) -> None:
    found = sizes(Work(10**5, 10**4, 10**3, 10**2), share, roots, job("cpu"), roots=roots)
    assert found.fits == max(1, module._ROOTS // roots)


@pytest.mark.parametrize("rows", [1, 50, 5000])
@pytest.mark.parametrize("row_bytes", [10**3, 10**5, 10**6])
def test_what_draws_do_not_share_fits_the_cache_or_they_are_few(row_bytes: int, rows: int) -> None:
    found = sizes(Work(10**9, 10**8, 5 * row_bytes, 4 * row_bytes), True, rows, job("cpu"))
    draws = found.draws_per_eval(10**6)
    assert draws <= max(2 * module._SHARING, 2 * module._OWN["cpu"] / (rows * row_bytes))
    assert draws >= min(found.fits, module._SHARING) / 2


@pytest.mark.parametrize("share", [True, False])
def test_outputs_that_are_asked_for_together_bound_nothing(share: bool) -> None:
    work = Work(10**4, 10**3, 10**2, 10)
    assert sizes(work, share, 1, job("cpu")).fits > 10 * sizes(work, share, 1, job("cpu"), roots=1).fits


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("rows", [1, 8, 500])
@pytest.mark.parametrize("row_bytes", [10**2, 10**4, 10**5, 10**6])
def test_ten_thousand_draws_take_about_the_memory_of_a_hundred(row_bytes: int, rows: int, share: bool) -> None:
    """The largest eval: as large, or what the cache holds, and twice that where evals are made even."""
    found = sizes(Work(10**9, 10**8, 5 * row_bytes, 4 * row_bytes * share), share, rows, job("cpu"))
    few, many = (found.draws_per_eval(n) * rows * row_bytes * (1 if share else 5) for n in (100, 10_000))
    assert many <= max(1.1 * few, 2 * module._CACHE["cpu"])
