"""What is read off curves, their areas under each convention, and their accumulation over batches."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy import stats as scipy_stats

from captum_uq.metrics import CurveAccumulator, PerturbationCurve, UniformNoise, auc, deletion, insertion

POINTS = torch.tensor([0.0, 0.3, 0.6, 0.9, 1.0], dtype=torch.float64)
SCORES = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CURVE = PerturbationCurve(POINTS, SCORES, torch.zeros(8))
LABELS = torch.tensor([3, 0, 3, 1, 0, 0, 3, 1])


@pytest.mark.parametrize(
    ("convention", "expected"),
    [
        ("unit", np.trapezoid(SCORES, POINTS, axis=1)),
        ("rise", (SCORES.sum(1) - SCORES[:, 0] / 2 - SCORES[:, -1] / 2).numpy() / 4),
        ("quantus", np.trapezoid(SCORES[:, 1:], dx=1, axis=1)),
    ],
)
def test_the_area_is_that_of_its_convention(convention, expected):
    np.testing.assert_allclose(auc(CURVE, convention), expected, rtol=1e-12)


def test_the_area_of_a_curve_is_that_of_the_unit_convention():
    assert torch.equal(CURVE.auc, auc(CURVE))
    with pytest.raises(ValueError, match=r"convention must be one of .*got 'sum'"):
        auc(CURVE, "sum")


def test_mean_standard_error_and_interval_are_those_of_scipy():
    np.testing.assert_allclose(CURVE.mean(), SCORES.numpy().mean(0))
    np.testing.assert_allclose(CURVE.sem(), scipy_stats.sem(SCORES.numpy()))
    for level in (0.8, 0.95):
        low, high = CURVE.ci(level)
        expected = scipy_stats.t.interval(level, 7, SCORES.numpy().mean(0), scipy_stats.sem(SCORES.numpy()))
        np.testing.assert_allclose((low, high), expected, rtol=1e-3)


def test_draws_are_averaged_before_anything_is_said_of_examples():
    draws = PerturbationCurve(POINTS, torch.stack([SCORES, 3 * SCORES]), torch.zeros(2, 8))
    assert len(draws) == 8
    assert draws.auc.shape == (2, 8)
    np.testing.assert_allclose(draws.mean(), 2 * CURVE.mean())
    np.testing.assert_allclose(draws.sem(), 2 * CURVE.sem())
    assert "draws=2" in repr(draws)
    assert draws.by_class(LABELS)[3].scores.shape == (2, 3, 5)


@pytest.mark.parametrize(
    ("mode", "order", "direction"),
    [
        ("deletion", "morf", "lower"),
        ("deletion", "random", "lower"),
        ("deletion", "lerf", "higher"),
        ("insertion", "morf", "higher"),
        ("insertion", "lerf", "lower"),
    ],
)
def test_the_direction_tells_which_area_is_better(mode, order, direction):
    assert PerturbationCurve(POINTS, SCORES, torch.zeros(8), mode, order).direction == direction


def test_classes_are_the_curves_of_their_examples():
    split = CURVE.by_class(LABELS)
    assert list(split) == [0, 1, 3]
    for label, part in split.items():
        assert torch.equal(part.scores, SCORES[label == LABELS])
    assert torch.equal(CURVE.by_class(LABELS.tolist())[1].auc, split[1].auc)
    with pytest.raises(ValueError, match="labels must hold one integer for each of 8 examples"):
        CURVE.by_class(LABELS[:7])


@pytest.mark.parametrize("labels", [LABELS / 10, ["a"] * 8, 3, None, [[0]] * 8])
def test_labels_are_integers(labels):
    with pytest.raises(ValueError, match="labels must hold one integer for each of 8 examples"):
        CURVE.by_class(labels)


def test_examples_are_selected_by_their_numbers_or_one_mask():
    assert torch.equal(CURVE.select([2, 0]).scores, SCORES[[2, 0]])
    assert len(CURVE.select(LABELS == 1)) == int((LABELS == 1).sum())
    for none in ([], torch.zeros(8, dtype=torch.bool), np.array([])):
        assert CURVE.select(none).scores.shape == (0, SCORES.shape[1])
        assert len(replace(CURVE, fractions=POINTS.expand(8, -1)).select(none).fractions) == 0
    for part in (slice(2), slice(None, None, -3), slice(6, 99), slice(0)):
        assert torch.equal(CURVE.select(part).scores, torch.from_numpy(SCORES.numpy()[part].copy()))
    with pytest.raises(ValueError, match=r"takes indices.*got shape \(2,\) of torch.float32"):
        CURVE.select([0.0, 1.0])
    draws = replace(CURVE, scores=SCORES.expand(3, -1, -1), tie_fraction=torch.zeros(3, 8))
    assert draws.select([1, 4]).scores.shape == (3, 2, SCORES.shape[1])
    with pytest.raises(ValueError, match=r"got shape \(3, 8\).*\.all\(0\)"):
        draws.select(draws.auc.isfinite())
    with pytest.raises(ValueError, match="a bool for each of the 8 examples"):
        CURVE.select(torch.ones(7, dtype=torch.bool))


def test_a_curve_goes_to_json_whole():
    found = json.loads(json.dumps(CURVE.to_dict()))
    assert found["direction"] == "lower"
    np.testing.assert_allclose(found["scores"], SCORES)
    np.testing.assert_allclose(found["auc"], CURVE.auc)
    np.testing.assert_allclose(found["fractions"], POINTS)


@pytest.mark.parametrize("n", [1, 8])
def test_a_plot_shows_the_mean_curve_with_its_band_and_names_its_axes(n):
    ax = Figure().add_subplot()
    assert CURVE.select(torch.arange(n)).plot(ax, "mean") is ax
    (line,) = ax.get_lines()
    np.testing.assert_allclose(line.get_xdata(), POINTS)
    np.testing.assert_allclose(line.get_ydata(), SCORES[:n].mean(0))
    assert line.get_label().startswith("mean (area ")
    assert len(ax.collections) == (n > 1)
    assert ax.get_xlabel() == "fraction removed"
    assert "lower area is better" in ax.get_ylabel()
    inserted = PerturbationCurve(POINTS.expand(8, 5), SCORES, torch.zeros(8), "insertion")
    assert inserted.plot(Figure().add_subplot()).get_xlabel() == "fraction inserted"


def test_one_example_has_no_standard_error():
    one = CURVE.select(torch.tensor([0]))
    with pytest.raises(ValueError, match="at least 2 examples, got 1"):
        one.sem()
    with pytest.raises(ValueError, match="at least 2 examples, got 1"):
        one.ci()
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        CURVE.ci(95)


INPUTS = torch.randn(10, 6, generator=torch.Generator().manual_seed(1))
MAPS = torch.randn(10, 6, generator=torch.Generator().manual_seed(2))


def flip(part, measure=deletion, **options):
    options = {"n_steps": 4, "perturb_func": UniformNoise(), "tie_break": "random", "seed": 2} | options
    return measure(lambda x: x.sum(1).tanh(), INPUTS[part], MAPS[part], **options)


@pytest.mark.parametrize("size", [1, 3, 10])
def test_a_loader_gives_the_curves_of_the_whole_data_set_however_it_is_cut(size):
    whole, total = flip(slice(None)), CurveAccumulator()
    labels = torch.arange(10) % 3
    for start in range(0, 10, size):
        total.update(flip(slice(start, start + size)), labels[start : start + size])
    assert len(total) == 10
    np.testing.assert_allclose(total.compute().scores, whole.scores, rtol=0, atol=1e-6)
    np.testing.assert_allclose(total.compute().tie_fraction, whole.tie_fraction)
    for label, part in total.by_class().items():
        np.testing.assert_allclose(part.scores, whole.by_class(labels)[label].scores, rtol=0, atol=1e-6)


def test_several_curves_by_name_are_accumulated_side_by_side():
    total = CurveAccumulator()
    for part in (slice(0, 4), slice(4, 10)):
        total.update({"map": flip(part), "random": flip(part, order="random")}, [0, 1] * (2 if part.start == 0 else 3))
    joined, split = total.compute(), total.by_class()
    assert list(joined) == ["map", "random"]
    np.testing.assert_allclose(joined["random"].scores, flip(slice(None), order="random").scores, atol=1e-6)
    assert list(split) == [0, 1]
    assert len(split[1]["map"]) == 5


def test_examples_with_their_own_fractions_are_joined():
    masks = torch.tensor([[0, 0, 1, 1, 2, 3], [0, 1, 2, 3, 4, 5]])
    total = CurveAccumulator()
    for i in range(2):
        total.update(flip(slice(i, i + 1), feature_mask=masks[i : i + 1], n_steps=3))
    together = flip(slice(0, 2), feature_mask=masks, n_steps=3)
    assert total.compute().fractions.shape == (2, 4)
    np.testing.assert_allclose(total.compute().fractions, together.fractions)
    np.testing.assert_allclose(total.compute().auc, together.auc, atol=1e-6)


@pytest.mark.parametrize(
    "second",
    [
        (lambda: flip(slice(3), n_steps=3), None),
        (lambda: flip(slice(3), insertion), None),
        (lambda: flip(slice(3), max_fraction=0.7), None),
        (lambda: {"other": flip(slice(3))}, None),
        (lambda: flip(slice(3)), [0, 1, 2]),
    ],
    ids=["steps", "mode", "fraction", "name", "labels"],
)
def test_batches_of_different_settings_do_not_mix(second):
    total = CurveAccumulator()
    total.update(flip(slice(3)))
    make, labels = second
    with pytest.raises(ValueError, match="Use one accumulator for each setting"):
        total.update(make(), labels)


def test_an_accumulator_without_curves_or_labels_says_so():
    total = CurveAccumulator()
    with pytest.raises(ValueError, match="update was never called"):
        total.compute()
    with pytest.raises(ValueError, match="one integer for each of 3 examples"):
        total.update(flip(slice(3)), [0, 1])
    with pytest.raises(TypeError, match="update takes a PerturbationCurve, or a dict.*got list"):
        total.update([flip(slice(3))])
    with pytest.raises(ValueError, match="of the same examples, got {'a': 3, 'b': 4}"):
        total.update({"a": flip(slice(3)), "b": flip(slice(4))})
    assert len(total) == 0
    total.update(flip(slice(3)))
    with pytest.raises(ValueError, match="by_class needs labels"):
        total.by_class()
