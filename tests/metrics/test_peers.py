"""Curves against two independent implementations: Quantus, and the loop of RISE written out here in numpy."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from captum_uq.metrics import auc, deletion, insertion, pixel_flipping

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def network(shape, dtype):
    torch.manual_seed(1)
    width = int(np.prod(shape))
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 7), nn.Tanh(), nn.Linear(7, 4)).to(dtype).eval()


def example(shape, dtype, map_shape=None, n=5):
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(n, *shape, generator=generator).to(dtype)  # exact in float32, which Quantus casts to
    maps = torch.randn(n, *(map_shape or shape), generator=generator).to(dtype)
    return inputs, maps, torch.randint(4, (n,), generator=generator)


def rise_curve(model, start, finish, saliency, step, target):
    """Petsiuk et al. 2018, one example at a time: pixels of all channels move from start to finish, step at a time."""
    channels, pixels = start.shape[0], int(np.prod(start.shape[1:]))
    order = np.argsort(-saliency.reshape(-1), kind="stable")
    current, goal = start.reshape(channels, pixels).copy(), finish.reshape(channels, pixels)
    scores, fractions = [], []
    for k in range((pixels + step - 1) // step + 1):
        with torch.no_grad():
            scores.append(model(torch.from_numpy(current.reshape(1, *start.shape)))[0, target].item())
        fractions.append(min(k * step, pixels) / pixels)
        chosen = order[k * step : (k + 1) * step]
        current[:, chosen] = goal[:, chosen]
    return np.array(scores), np.array(fractions)


class Cast(nn.Module):
    """Quantus hands every model float32; this one goes on in the dtype under test."""

    def __init__(self, model, dtype):
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, inputs):
        return self.model(inputs.to(self.dtype))


def quantus_scores(model, inputs, maps, target, step, softmax, baseline):
    quantus = pytest.importorskip("quantus", reason="Quantus is a peer: pip install quantus")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = quantus.PixelFlipping(
            features_in_step=step, perturb_baseline=baseline, normalise=False, disable_warnings=True
        )
        arrays = inputs.numpy(), target.numpy(), maps.numpy()
        cast = Cast(model, inputs.dtype).eval()
        return np.array(metric(cast, *arrays, softmax=softmax, device="cpu", batch_size=3))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("shape", "step"), [((1, 6, 4), 4), ((3, 6, 4), 8), ((3, 5, 7), 5), ((8,), 1), ((12,), 1)])
@pytest.mark.parametrize(("score", "softmax"), [("output", False), ("softmax", True)])
def test_deletion_of_elements_equals_quantus(shape, step, dtype, score, softmax):
    inputs, maps, target = example(shape, dtype)
    model = network(shape, dtype)
    expected = quantus_scores(model, inputs, maps, target, step, softmax, baseline=0.25)
    curve = pixel_flipping(model, inputs, maps, 0.25, target=target, n_steps=int(np.prod(shape)) // step, score=score)
    np.testing.assert_allclose(curve.scores[:, 1:], expected, rtol=0, atol=TOLERANCE[dtype])
    areas = ((expected[:, 1:] + expected[:, :-1]) / 2).sum(1)  # np.trapz(values, dx=1) of Quantus
    np.testing.assert_allclose(auc(curve, "quantus"), areas, rtol=0, atol=100 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_deletion_of_rgb_pixels_equals_quantus_told_to_flip_the_channels_of_a_pixel_together(dtype):
    shape = (3, 6, 4)
    inputs, maps, target = example(shape, dtype, map_shape=(1, 6, 4))
    model = network(shape, dtype)
    ranks = maps.flatten(1).argsort(1).argsort(1).view_as(maps)
    expanded = 3 * ranks + torch.arange(3).view(1, 3, 1, 1)  # Quantus ranks elements; these stay together
    expected = quantus_scores(model, inputs, expanded.to(dtype), target, 12, False, baseline=0.0)
    curve = pixel_flipping(model, inputs, maps, target=target, n_steps=6)
    np.testing.assert_allclose(curve.scores[:, 1:], expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("step", [1, 5, 6, 9])  # 35 pixels: 6 and 9 leave an uneven last step
@pytest.mark.parametrize("measure", [deletion, insertion])
@pytest.mark.parametrize("baseline", ["constant", "tensor", "of each example"])
def test_flipping_of_rgb_pixels_equals_the_loop_of_rise(measure, step, dtype, baseline):
    shape = (3, 5, 7)
    inputs, maps, target = example(shape, dtype, map_shape=(1, 5, 7))
    generator = torch.Generator().manual_seed(3)
    fills = {
        "constant": -0.5,
        "tensor": torch.randn(1, *shape, dtype=dtype, generator=generator),
        "of each example": torch.randn(5, *shape, dtype=dtype, generator=generator),
    }
    fill = torch.as_tensor(fills[baseline], dtype=dtype).expand_as(inputs).numpy()
    model = network(shape, dtype)
    curve = measure(model, inputs, maps, fills[baseline], target=target, n_steps=-(-35 // step))
    for i in range(5):
        ends = (inputs[i].numpy(), fill[i]) if measure is deletion else (fill[i], inputs[i].numpy())
        expected, fractions = rise_curve(model, *ends, maps[i].numpy(), step, target[i])
        np.testing.assert_allclose(curve.scores[i], expected, rtol=0, atol=TOLERANCE[dtype])
        np.testing.assert_allclose(curve.fractions, fractions, rtol=1e-6)
        rise_area = (expected.sum() - expected[0] / 2 - expected[-1] / 2) / (len(expected) - 1)
        np.testing.assert_allclose(auc(curve, "rise")[i], rise_area, rtol=0, atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_flipping_of_a_table_equals_a_loop_over_columns(dtype):
    inputs, maps, target = example((9,), dtype)
    model, fill = network((9,), dtype), torch.linspace(-1, 1, 9, dtype=dtype)
    curve = deletion(model, inputs, maps, fill, target=target, n_steps=9)
    for i in range(5):
        row = inputs[i].clone()
        for k, column in enumerate(maps[i].argsort(descending=True), start=1):
            row[column] = fill[column]
            expected = model(row.unsqueeze(0))[0, target[i]].item()
            assert curve.scores[i, k].item() == pytest.approx(expected, abs=TOLERANCE[dtype])
