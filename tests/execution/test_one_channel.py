"""Pictures of one channel: the same gradients to rounding, by other code of torch, and no trace of the change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import captum.attr as attr
import pytest
import torch
from torch import Tensor, nn

from captum_uq import MCDropout, StochasticAttribution
from captum_uq.execution.one_channel import one_channel
from captum_uq.samplers import DropConnect

CONVOLUTIONS = {
    "plain": {},
    "strided": {"stride": 2},
    "padded": {"padding": 2},
    "dilated": {"dilation": 2},
    "reflecting": {"padding": 1, "padding_mode": "reflect"},
    "without bias": {"bias": False},
}
OWN_CODE = "aten::_slow_conv2d_backward"


def libraries() -> tuple[bool, bool]:
    """Whether oneDNN and NNPACK are on."""
    (nnpack,) = torch.backends.nnpack.set_flags(False)
    torch.backends.nnpack.set_flags(nnpack)
    return torch.backends.mkldnn.enabled, nnpack


@pytest.fixture(autouse=True)
def both_stand() -> Iterator[None]:
    """Whatever a test does, they are left as they were found."""
    before = libraries()
    yield
    assert libraries() == before


def pictures(rows: int = 4, channels: int = 1) -> Tensor:
    return torch.randn(rows, channels, 12, 12, generator=torch.Generator().manual_seed(0)).requires_grad_()


def gradient(module: nn.Module, inputs: Tensor) -> Tensor:
    return torch.autograd.grad(module(inputs).square().sum(), inputs)[0]


def operations(run: Any) -> set[str]:
    """The names of what torch ran."""
    with torch.profiler.profile() as profile:
        run()
    return {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("rows", [1, 10, 20])
def test_gradients_are_those_of_float64(options: dict[str, Any], rows: int) -> None:
    module = nn.Conv2d(1, 5, 3, **options)
    with one_channel(module):
        found = gradient(module, pictures(rows))
    wanted = gradient(module.double(), pictures(rows).detach().double().requires_grad_())
    assert torch.allclose(found.double(), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is built without oneDNN")


@onednn
@pytest.mark.parametrize("rows", [4, 20])
@pytest.mark.parametrize(
    ("module", "dtype", "changed"),
    [
        (nn.Conv2d(1, 5, 3), torch.float32, True),
        (nn.Conv2d(1, 5, 3, stride=2), torch.float32, True),
        (nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3)), torch.float32, True),
        (nn.Conv2d(3, 5, 3), torch.float32, False),
        (nn.Conv2d(1, 5, 3), torch.bfloat16, False),
    ],
)
def test_only_one_channel_of_float32_is_passed_backwards_otherwise(
    module: nn.Module, dtype: torch.dtype, changed: bool, rows: int
) -> None:
    channels = next(m for m in module.modules() if isinstance(m, nn.Conv2d)).in_channels
    inputs = pictures(rows, channels).detach().to(dtype).requires_grad_()
    module.to(dtype)
    assert OWN_CODE not in operations(lambda: gradient(module, inputs)), "oneDNN would be faster without us"
    with one_channel(module):
        assert (OWN_CODE in operations(lambda: gradient(module, inputs))) == changed
    assert OWN_CODE not in operations(lambda: gradient(module, inputs))
    assert not any("forward" in vars(m) for m in module.modules())


@onednn
@pytest.mark.parametrize("sampler", [MCDropout(), DropConnect(p=0.2)], ids=repr)
@pytest.mark.parametrize("road", ["loop", "fold", "prefix"])
def test_the_fast_roads_take_it_and_the_loop_does_not(road: str, sampler: Any) -> None:
    network = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(500, 3)).eval()
    uq = StochasticAttribution(attr.Saliency(network), sampler)

    def attribute(execution: str) -> Any:
        return uq.attribute(pictures(2), target=1, n_draws=9, seed=0, execution=execution)

    taken, ran = attribute(road).execution.road, operations(lambda: attribute(road))
    if isinstance(sampler, MCDropout):
        assert taken == road
        assert (OWN_CODE in ran) == (road != "loop")
    result, wanted = attribute(road).draws, attribute("loop").draws
    assert torch.allclose(result, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def test_an_error_on_the_way_back_leaves_no_trace() -> None:
    module, before = nn.Conv2d(1, 5, 3), libraries()

    def stop(gradients: Any) -> None:
        raise RuntimeError("stopped")

    with one_channel(module):
        output = module(pictures())
        output.grad_fn.register_prehook(stop)
        with pytest.raises(RuntimeError, match="stopped"):
            output.sum().backward()
    assert libraries() == before


@onednn
def test_what_the_user_switched_off_stays_off() -> None:
    module = nn.Conv2d(1, 5, 3)
    torch.backends.mkldnn.enabled = False
    try:
        with one_channel(module):
            gradient(module, pictures())
        assert libraries() == (False, True)
    finally:
        torch.backends.mkldnn.enabled = True


@onednn
def test_two_networks_on_their_way_back_at_once() -> None:
    """One in the middle of the other, as two threads may be: both are on again with the last of them."""
    one, other = nn.Conv2d(1, 5, 3), nn.Conv2d(1, 5, 3)
    seen = []
    with one_channel(one), one_channel(other):
        output = one(pictures())

        def between(gradients: Any) -> None:
            with torch.enable_grad():
                gradient(other, pictures())
            seen.append(libraries())

        output.grad_fn.register_prehook(between)
        output.sum().backward()
        assert seen == [(False, False)]
        assert libraries() == (True, True)
