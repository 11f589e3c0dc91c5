"""How random operations of ATen are read, drawn privately and given back, against the operations themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from captum_uq._rng import generator
from captum_uq.samplers._random_calls import RandomCall, deliver, device_of, read, tile
from captum_uq.samplers._random_mode import RandomMode

N = 4000


class Drawing(RandomMode):
    """Answers every random operation from a private generator."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = generator(0, "test")
        self.seen: list[str] = []

    def random(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.seen.append(func.name())
        call = read(func, args, kwargs, "a test")
        return deliver(func, args, kwargs, call.value(call.sample(self.rng).to(device_of(args, kwargs))))


OPERATIONS: dict[str, Callable[[], Tensor]] = {
    "native_dropout": lambda: torch.ops.aten.native_dropout(torch.ones(N), 0.3, True)[0],
    "dropout": lambda: torch.nn.functional.dropout(torch.ones(N), 0.3),
    "bernoulli": lambda: torch.bernoulli(torch.full((N,), 0.3)),
    "bernoulli.p": lambda: torch.bernoulli(torch.empty(N), 0.3),
    "bernoulli_.float": lambda: torch.empty(N).bernoulli_(0.3),
    "bernoulli_ of one half": lambda: torch.empty(N).bernoulli_(),
    "bernoulli_.Tensor": lambda: torch.empty(N).bernoulli_(torch.linspace(0.2, 0.4, N)),
    "rand": lambda: torch.rand(N),
    "rand with a generator": lambda: torch.rand(N, generator=torch.Generator()),
    "rand_like": lambda: torch.rand_like(torch.empty(N, dtype=torch.float64)),
    "uniform_": lambda: torch.empty(N).uniform_(-2, 3),
    "randn": lambda: torch.randn(N),
    "randn_like": lambda: torch.randn_like(torch.empty(N)),
    "normal_": lambda: torch.empty(N).normal_(2, 3),
    "normal.float_float": lambda: torch.normal(1.0, 2.0, (N,)),
    "normal.Tensor_float": lambda: torch.normal(torch.full((N,), 2.0), 0.5),
    "normal.float_Tensor": lambda: torch.normal(1.0, torch.full((N,), 2.0)),
    "normal.Tensor_Tensor": lambda: torch.normal(torch.zeros(N), torch.ones(N)),
    "randint": lambda: torch.randint(7, (N,)),
    "randint.low": lambda: torch.randint(3, 7, (N,)),
    "randint_like": lambda: torch.randint_like(torch.empty(N), 7),
    "random_": lambda: torch.empty(N).random_(2, 9),
    "randperm": lambda: torch.randperm(N),
    "exponential_": lambda: torch.empty(N).exponential_(2.0),
    "dropout in inference mode": lambda: torch.inference_mode()(torch.nn.functional.dropout)(torch.ones(N), 0.3),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_keeps_its_distribution_dtype_and_shape(name: str) -> None:
    """Mean and spread as torch's own, and torch's global generator untouched."""
    theirs = OPERATIONS[name]()
    before = torch.get_rng_state()
    with Drawing() as mode:
        ours = OPERATIONS[name]()
    assert torch.equal(torch.get_rng_state(), before)
    assert mode.seen, "the operation was not seen"
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    one, other = ours.double(), theirs.double()
    scale = other.std()
    assert (one.mean() - other.mean()).abs() < 0.1 * scale
    assert (one.std() / scale - 1).abs() < 0.1
    assert one.min() >= other.min() - scale
    assert (one.quantile(0.01) - other.quantile(0.01)).abs() <= 0.2 * scale
    assert (one.quantile(0.99) - other.quantile(0.99)).abs() <= 0.5 * scale
    if name != "exponential_":  # the largest of two samples of it differ by more
        assert one.max() <= other.max() + scale


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_rates_of_0_and_1_are_exact(p: float) -> None:
    with Drawing():
        output, _ = torch.ops.aten.native_dropout(torch.full((5,), 3.0), p, True)
    assert torch.equal(output, torch.full((5,), 3.0 * (1 - p)))


class FusedKernel:
    """An operation of another device, which this machine cannot run."""

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        return f"aten::{self._name}"


@pytest.mark.parametrize("name", ["_flash_attention_forward", "_scaled_dot_product_efficient_attention", "_cudnn_rnn"])
def test_a_fused_kernel_that_hides_its_dropout_is_refused(name: str) -> None:
    with pytest.raises(RuntimeError, match=r"inside one fused kernel.*math backend.*modules="):
        read(FusedKernel(name), (), {}, "Attention 'layer'")


def test_an_attention_kernel_without_dropout_passes() -> None:
    q = torch.randn(1, 2, 3, 4)
    with Drawing() as mode:
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, q, q, 0.0)
    assert mode.seen == []


@pytest.mark.parametrize(
    ("row", "batch"), [((1, 3), (4, 3)), ((2, 3), (8, 3)), ((3, 1, 2), (3, 5, 2)), ((3,), (3,)), ((), ())]
)
def test_a_row_is_repeated_along_the_dimension_that_grew(row: tuple[int, ...], batch: tuple[int, ...]) -> None:
    value = torch.randn(row)
    tiled = tile(value, batch, "a test")
    assert tiled.shape == batch
    grown = next((d for d in range(len(row)) if row[d] != batch[d]), None)
    if grown is not None:
        for part in tiled.split(row[grown], grown):
            assert torch.equal(part, value)


@pytest.mark.parametrize(("row", "batch"), [((1, 3), (4, 6)), ((2, 3), (5, 3)), ((1, 3), (1, 4, 3)), ((0, 3), (4, 3))])
def test_shapes_whose_rows_cannot_be_told_are_refused(row: tuple[int, ...], batch: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeError, match="for one row"):
        tile(torch.zeros(row), batch, "a test")


REFERENCES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Any]] = {
    "keep": lambda rng, shape: rng.random(shape, dtype=np.float32),
    "uniform": lambda rng, shape: rng.random(shape, dtype=np.float32),
    "normal": lambda rng, shape: rng.standard_normal(shape, dtype=np.float32),
    "exponential": lambda rng, shape: rng.standard_exponential(shape),
    "integers": lambda rng, shape: rng.integers(2, 9, shape),
    "permutation": lambda rng, shape: rng.permutation(shape[0]),
}


SHAPES = ((1,), (7,), (2, 3, 4), (0, 3), ())


@pytest.mark.parametrize(("kind", "shape"), [(k, s) for k in REFERENCES for s in SHAPES if s or k != "permutation"])
def test_variates_are_numpys_for_one_draw_and_for_many(kind: str, shape: tuple[int, ...]) -> None:
    call = RandomCall(kind, shape, {"integers": (2, 9), "keep": (0.5,)}.get(kind, ()))
    expected = [np.asarray(REFERENCES[kind](generator(seed), shape)) for seed in range(3)]
    many = call.samples([generator(seed) for seed in range(3)])
    assert many.numpy().dtype == expected[0].dtype
    assert np.array_equal(many, np.stack(expected))
    assert np.array_equal(call.sample(generator(1)), expected[1])
