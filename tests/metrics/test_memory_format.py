"""Perturbed rows lie in memory as the inputs do, so that a channels-last network runs at its own speed."""

import numpy as np
import pytest
import torch
from torch import nn

from captum_uq.metrics import ChannelMean, Fill, GaussianBlur, NoisyLinearImputation, UniformNoise, pixel_flipping

FILLS = {
    "constant": None,
    "mean": ChannelMean(),
    "noise": UniformNoise(0.2, 0.5),
    "blur": GaussianBlur(5, 2.0),
    "imputation": NoisyLinearImputation(0.1),
    "function": lambda rows, flipped: rows.masked_fill_(flipped, 0.7),
}


class Recorder(nn.Module):
    """A small network that keeps every row it is shown, where it lies."""

    def __init__(self, channels):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)).eval()
        self.seen = []

    def forward(self, inputs):
        self.seen.append(inputs)
        return self.net(inputs)


@pytest.mark.parametrize("of_pixels", [True, False], ids=["pixels", "elements"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
def test_rows_are_those_of_contiguous_inputs_in_the_memory_format_of_the_inputs(fill, n, channels, of_pixels):
    inputs = torch.randn(n, channels, 6, 5)
    last = inputs.to(memory_format=torch.channels_last)
    maps = torch.randn(n, 1 if of_pixels else channels, 6, 5)
    plain, model = Recorder(channels), Recorder(channels)
    options = {"target": 1, "n_steps": 7, "perturb_func": fill, "max_examples_per_batch": 10}
    expected = pixel_flipping(plain, inputs, maps, **options)
    found = pixel_flipping(model, last, maps, **options)
    assert {rows.stride() for rows in plain.seen} == {inputs.stride()}
    assert {rows.stride() for rows in model.seen} == {last.stride()}
    assert inputs.stride() != last.stride()
    rounding = 1e-6 if isinstance(fill, ChannelMean) else 0  # a sum, in the order of the memory
    np.testing.assert_allclose(torch.cat(model.seen), torch.cat(plain.seen), rtol=0, atol=rounding)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("several", [False, True], ids=["one input", "a tuple"])
def test_rows_are_made_for_the_fill_that_may_write_into_them(n, several):
    class Zero(Fill):
        def values(self, inputs, noise, stream):
            return inputs

        def apply(self, rows, flipped, values):
            assert (values == 1).all()
            return rows.mul_(~flipped)

    inputs, maps = torch.ones(n, 4), torch.arange(4.0).repeat(n, 1)
    pair = ((inputs, inputs), (maps, maps + 0.5)) if several else (inputs, maps)
    curve = pixel_flipping(lambda *rows: sum(rows).sum(1), *pair, n_steps=4, perturb_func=Zero())
    assert curve.scores.tolist() == [[(1 + several) * k for k in (4, 3, 2, 1, 0)]] * n
    assert (inputs == 1).all()


@pytest.mark.parametrize("limit", [1, 7, 256])
@pytest.mark.parametrize(("n", "n_steps"), [(1, 1), (1, 30), (5, 7), (64, 30)])
def test_each_step_of_each_example_is_one_row_and_passes_are_full(n, n_steps, limit):
    model = Recorder(1)
    inputs = torch.randn(n, 1, 6, 5)
    pixel_flipping(model, inputs, inputs, target=0, n_steps=n_steps, max_examples_per_batch=limit)
    n_rows = n * (n_steps + 1)
    assert [len(rows) for rows in model.seen] == [min(limit, n_rows - start) for start in range(0, n_rows, limit)]
