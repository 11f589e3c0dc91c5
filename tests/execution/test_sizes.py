"""How many draws run at once: never more than fit, and about the same number in every eval."""

from __future__ import annotations

import itertools
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from captum.attr import KernelShap, Lime, Saliency
from torch import nn

from captum_uq import MCDropout, StochasticAttribution
from captum_uq.execution import sizes as module
from captum_uq.execution.sizes import Asked, Sizes, sizes
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
    shared = sizes(work, True, Asked(rows, rows), job(device))
    folded = sizes(work._replace(shared=0, shared_bytes=0), False, Asked(rows, rows), job(device))
    assert folded.fits * rows * 2 * work.bytes <= 2**30
    assert shared.fits >= folded.fits, "what they share is held once"
    assert folded.draws_per_product == 0 < shared.draws_per_product
    assert shared.draws_per_product * rows * work.shared_bytes <= max(2**30, rows * work.shared_bytes)
    if device == "cpu":
        assert folded.cached * rows * work.bytes <= max(module._CACHE["cpu"], rows * work.bytes)


@pytest.mark.parametrize("rows", [1, 4, 50])
@pytest.mark.parametrize("row_bytes", [10**3, 10**5, 10**6, 10**7, 10**9])
def test_a_product_fits_the_cache_or_has_few_rows(row_bytes: int, rows: int) -> None:
    draws = sizes(Work(10**9, 10**8, 2 * row_bytes, row_bytes), True, Asked(rows, rows), job("cpu")).draws_per_product
    fits, few = draws * rows * row_bytes <= module._PRODUCT["cpu"], draws * rows <= module._ROWS
    assert draws == 1 or fits or (few and draws * rows * row_bytes <= module._ROWS_CACHE["cpu"])
    more = (draws + 1) * rows
    assert more * row_bytes > module._PRODUCT["cpu"]
    assert more > module._ROWS or more * row_bytes > module._ROWS_CACHE["cpu"]


def test_nothing_to_hold_is_no_division_by_zero() -> None:
    assert sizes(Work(0, 0, 0, 0), True, Asked(1, 1), job("cpu")).draws_per_eval(10) == 10


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("roots", [1, 30, 600, 5000])
def test_outputs_that_are_passed_backwards_one_by_one_are_few(roots: int, share: bool) -> None:
    found = sizes(Work(10**5, 10**4, 10**3, 10**2), share, Asked(roots, roots, roots=roots), job("cpu"))
    assert found.fits == max(1, module._ROOTS // roots)


@pytest.mark.parametrize("rows", [1, 50, 5000])
@pytest.mark.parametrize("row_bytes", [10**3, 10**5, 10**6])
def test_what_draws_do_not_share_fits_the_cache_or_they_are_few(row_bytes: int, rows: int) -> None:
    found = sizes(Work(10**9, 10**8, 5 * row_bytes, 4 * row_bytes), True, Asked(rows, rows), job("cpu"))
    draws = found.draws_per_eval(10**6)
    assert draws <= max(2 * module._SHARING, 2 * module._OWN["cpu"] / (rows * row_bytes))
    assert draws >= min(found.fits, module._SHARING) / 2


@pytest.mark.parametrize("share", [True, False])
def test_outputs_that_are_asked_for_together_bound_nothing(share: bool) -> None:
    work = Work(10**4, 10**3, 10**2, 10)
    together, each = (sizes(work, share, Asked(1, 1, roots=roots), job("cpu")).fits for roots in (0, 1))
    assert together > 10 * each


@pytest.mark.parametrize("share", [True, False])
def test_a_few_large_forwards_count_for_the_memory_alone(share: bool) -> None:
    work = Work(10**9, 10**8, 10**6, 10**5)
    found, usual, largest = (sizes(work, share, Asked(*rows), job("cpu")) for rows in ((4, 1), (1, 1), (4, 4)))
    assert found.fits == largest.fits < usual.fits
    assert found.cached == usual.cached > largest.cached
    assert found.draws_per_product == usual.draws_per_product


@pytest.mark.parametrize("method", [KernelShap, Lime])
def test_what_is_asked_about_one_example_after_another_is_folded_as_for_one(
    method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captum shows the network the whole batch once, and then one example at a time."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2)).eval()
    monkeypatch.setitem(module._CACHE, "cpu", 10 * 4 * (8 + 8 + 8 + 2))
    uq = StochasticAttribution(method(model), MCDropout())

    def at_once(examples: int) -> int:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You are providing multiple inputs")
            given: dict[str, Any] = {"target": 1, "n_samples": 40, "n_draws": 30, "seed": 0, "execution": "fold"}
            dist = uq.attribute(torch.ones(examples, 3), **given, return_predictions=False)
        return dist.execution.draws_per_eval  # type: ignore[no-any-return]

    assert at_once(8) == at_once(1) < 30


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("rows", [1, 8, 500])
@pytest.mark.parametrize("row_bytes", [10**2, 10**4, 10**5, 10**6])
def test_ten_thousand_draws_take_about_the_memory_of_a_hundred(row_bytes: int, rows: int, share: bool) -> None:
    """The largest eval: as large, or what the cache holds, and twice that where evals are made even."""
    found = sizes(Work(10**9, 10**8, 5 * row_bytes, 4 * row_bytes * share), share, Asked(rows, rows), job("cpu"))
    few, many = (found.draws_per_eval(n) * rows * row_bytes * (1 if share else 5) for n in (100, 10_000))
    assert many <= max(1.1 * few, 2 * module._CACHE["cpu"])


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("drawn_bytes", [10**3, 10**6, 10**7, 10**9])
def test_weights_of_their_own_count(drawn_bytes: int, device: str) -> None:
    """Where draws share nothing they fill the cache as activations do; where they share something they must fit."""
    work = Work(10**6, 10**5, 10**4, 10**3)
    for share in (True, False):
        without, found = (
            sizes(each, share, Asked(1, 1), job(device)) for each in (work, work._replace(drawn_bytes=drawn_bytes))
        )
        assert found.fits == 1 or found.fits * 2 * drawn_bytes <= 2**30
        assert found.draws_per_product == without.draws_per_product
        if device == "cpu" and not share:
            assert found.cached == 1 or found.cached * drawn_bytes <= module._CACHE["cpu"]
        if drawn_bytes == 10**3 and device == "cpu":
            assert found.cached == without.cached


def test_weights_that_are_kept_for_many_backward_passes_are_no_rows() -> None:
    """A prefix keeps copies of them with their channels last."""
    model = nn.Sequential(nn.Conv2d(3, 512, 3, padding=1), nn.ReLU(), nn.Conv2d(512, 512, 3), nn.Flatten())
    model = nn.Sequential(*model, nn.Dropout(), nn.Linear(2048, 3)).eval()
    uq = StochasticAttribution(Saliency(model), MCDropout())
    execution = uq.attribute(torch.ones(1, 3, 4, 4), target=1, n_draws=20, seed=0).execution
    assert (execution.road, execution.draws_per_product) == ("prefix", 20)
