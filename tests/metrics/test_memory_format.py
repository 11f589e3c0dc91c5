"""How perturbed rows lie in memory: with their channels last where that is faster and gives the same scores."""

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
    expected = pixel_flipping(plain.forward, inputs, maps, **options)  # a function sees rows as they lie
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
    passes = [min(limit, n_rows - start) for start in range(0, n_rows, limit)]
    assert [len(rows) for rows in model.seen] == [1, *passes]  # one row first, which tells the layout


CHANNELS_LAST, AS_IT_LIES = (90, 1, 15, 3), (90, 30, 5, 1)


@pytest.mark.parametrize("n", [1, 4])
def test_a_module_that_convolves_sees_channels_last_and_gives_the_scores_of_rows_as_they_lie(n):
    inputs, model, plain = torch.randn(n, 3, 6, 5), Recorder(3), Recorder(3)
    found = pixel_flipping(model, inputs, inputs, target=2, n_steps=9, max_examples_per_batch=7)
    expected = pixel_flipping(plain.forward, inputs, inputs, target=2, n_steps=9, max_examples_per_batch=7)
    assert [rows.stride() for rows in model.seen] == [AS_IT_LIES, *[CHANNELS_LAST] * (len(model.seen) - 1)]
    assert {rows.stride() for rows in plain.seen} == {AS_IT_LIES}
    assert torch.equal(torch.cat(model.seen[1:]), torch.cat(plain.seen))
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-6)


class Views(Recorder):
    """Raises where its input does not lie as usual."""

    def forward(self, inputs):
        inputs.view(len(inputs), -1)
        return super().forward(inputs)


class Strides(Recorder):
    """Reads the memory, whatever lies where."""

    def forward(self, inputs):
        usual = inputs.as_strided(inputs.shape, (90, 30, 5, 1))
        return super().forward(usual)


class Writes(Recorder):
    """Writes into its input."""

    def forward(self, inputs):
        return super().forward(inputs.mul_(2.0))


class Draws(Recorder):
    """Draws from the global generator."""

    def forward(self, inputs):
        return super().forward(inputs) + torch.randn(())


class Disguised(Recorder):
    """Looks like convolutions on pictures of another dtype."""

    def forward(self, inputs):
        return super().forward(inputs.float())


@pytest.mark.parametrize("kind", [Views, Strides, Draws])
def test_a_module_that_needs_rows_as_they_lie_gets_them(kind):
    inputs, scores = torch.randn(2, 3, 6, 5), []
    for model in (kind(3), kind(3).forward):
        torch.manual_seed(0)
        scores.append(pixel_flipping(model, inputs, inputs, target=1, n_steps=9, max_examples_per_batch=7).scores)
    assert torch.equal(*scores)


def test_a_module_may_write_into_rows_of_any_layout():
    inputs = torch.randn(2, 3, 6, 5)
    found, expected = (
        pixel_flipping(model, inputs, inputs, target=1, n_steps=9).scores for model in (Writes(3), Writes(3).forward)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", ["float64", "no convolution", "a function"])
def test_nothing_else_is_run_twice(case):
    inputs, model = torch.randn(2, 3, 6, 5), Disguised(3)
    if case == "no convolution":
        model.net = nn.Sequential(nn.Flatten(), nn.Linear(90, 3))
    given = inputs.double() if case == "float64" else inputs
    pixel_flipping(model.forward if case == "a function" else model, given, inputs, target=1, n_steps=9)
    assert [(rows.shape[0], rows.stride()) for rows in model.seen] == [(20, AS_IT_LIES)]


def test_a_module_is_tried_once_for_each_structure_and_shape():
    model = Recorder(3)

    def passes(size):
        inputs, model.seen = torch.randn(2, 3, size, 5), []
        pixel_flipping(model, inputs, inputs, n_steps=9, score=lambda outputs, target: outputs.sum(-1))
        return [len(rows) for rows in model.seen]

    assert passes(6) == [1, 20]
    assert passes(6) == [20]
    model.net = model.net[:2].append(nn.Flatten())
    assert passes(6) == passes(7) == [1, 20]
    assert passes(6) == passes(7) == [20]
    model.net.train()
    assert passes(6) == [1, 20]


def test_a_module_that_raises_later_gets_rows_as_they_lie_from_then_on():
    class Later(Recorder):
        def forward(self, inputs):
            if len(inputs) == 2:
                inputs.view(2, -1)
            return super().forward(inputs)

    inputs, model = torch.randn(1, 3, 6, 5), Later(3)
    options = {"target": 0, "n_steps": 4, "max_examples_per_batch": 3}
    found = pixel_flipping(model, inputs, inputs, **options)
    assert [rows.stride() for rows in model.seen] == [AS_IT_LIES, CHANNELS_LAST, AS_IT_LIES]
    np.testing.assert_allclose(
        found.scores, pixel_flipping(Later(3).forward, inputs, inputs, **options).scores, atol=1e-6
    )
    model.seen.clear()
    pixel_flipping(model, inputs, inputs, **options)
    assert {rows.stride() for rows in model.seen} == {AS_IT_LIES}


def test_what_a_module_raises_is_raised_from_rows_as_they_lie():
    class Broken(Recorder):
        def forward(self, inputs):
            raise RuntimeError(f"strides {inputs.stride()}")

    inputs = torch.randn(2, 3, 6, 5)
    with pytest.raises(RuntimeError, match=r"strides \(90, 30, 5, 1\)"):
        pixel_flipping(Broken(3), inputs, inputs, target=1, n_steps=9)
