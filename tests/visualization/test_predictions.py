"""Histograms of the explained score: counts and marks by numpy, for every kind of target that Captum takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captum_uq import DistributionAttribution, MCDropout, StochasticAttribution, visualization
from captum_uq.attr import Saliency
from networks import Convolutional
from visualization.maps import DRAWS, render

EXAMPLES, CLASSES = 3, 4


def explained(*outputs: int, target=None, own: bool = True, examples: int = EXAMPLES) -> DistributionAttribution:
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn(DRAWS, examples, *outputs, generator=generator)
    return DistributionAttribution(
        torch.randn(DRAWS, examples, 5, generator=generator),
        predictions=scores,
        own_predictions=20 * scores.mean(0) if own else None,
        target=target,
    )


def counts(axes) -> list[int]:
    return [bar.get_height() for bar in axes.patches]


EACH = range(EXAMPLES)
# A target, the outputs of an example, and what Captum chooses from the outputs of all of them, (N, ...).
TARGETS = {
    "one": (1, (CLASSES,), lambda outputs: outputs[:, 1]),
    "a tensor": (torch.tensor([0, 3, 1]), (CLASSES,), lambda outputs: outputs[EACH, [0, 3, 1]]),
    "a tensor of one": (torch.tensor([2]), (CLASSES,), lambda outputs: outputs[:, 2]),
    "a list": ([0, 3, 1], (CLASSES,), lambda outputs: outputs[EACH, [0, 3, 1]]),
    "a tuple": ((1, 2), (CLASSES, 3), lambda outputs: outputs[:, 1, 2]),
    "tuples": ([(1, 2), (0, 0), (3, 1)], (CLASSES, 3), lambda outputs: outputs[EACH, [1, 0, 3], [2, 0, 1]]),
    "a regression": (None, (), lambda outputs: outputs),
    "a single output": (None, (1,), lambda outputs: outputs[:, 0]),
}


@pytest.mark.parametrize(("target", "outputs", "chosen"), TARGETS.values(), ids=TARGETS)
def test_bars_count_the_draws_at_captums_target(target, outputs: tuple[int, ...], chosen) -> None:
    dist = explained(*outputs, target=target)
    _, axes = visualization.visualize_predictions(dist, bins=7, use_pyplot=False)
    scores = np.stack([chosen(draw) for draw in dist.predictions.outputs.double().numpy()])
    own = chosen(dist.predictions.deterministic.double().numpy())
    edges = np.linspace(scores.min(), scores.max(), 8)
    assert [each.get_title() for each in axes] == [f"example {at}" for at in range(EXAMPLES)]
    for at, each in enumerate(axes):
        assert counts(each) == np.histogram(scores[:, at], edges)[0].tolist()
        np.testing.assert_allclose([bar.get_x() for bar in each.patches], edges[:-1], atol=1e-6)
        mean, mark = each.lines
        assert mean.get_xdata()[0] == pytest.approx(scores[:, at].mean(), abs=1e-6)
        assert mark.get_xdata()[0] == pytest.approx(own[at], abs=1e-6)
    assert len({each.get_xlim() for each in axes}) == 1


@pytest.mark.parametrize(("target", "outputs", "chosen"), TARGETS.values(), ids=TARGETS)
def test_an_example_by_itself_is_its_panel(target, outputs: tuple[int, ...], chosen) -> None:
    dist = explained(*outputs, target=target)
    for at in range(EXAMPLES):
        _, (alone,) = visualization.visualize_predictions(dist[at], bins=5, use_pyplot=False)
        _, (slice_,) = visualization.visualize_predictions(dist[at : at + 1], bins=5, use_pyplot=False)
        assert counts(alone) == counts(slice_)
        assert sum(counts(alone)) == DRAWS
        assert [list(line.get_xdata()) for line in alone.lines] == [list(line.get_xdata()) for line in slice_.lines]
        assert alone.get_title() == f"{DRAWS} draws"


def test_another_target_than_the_one_explained() -> None:
    dist = explained(CLASSES, target=1)
    _, axes = visualization.visualize_predictions(dist, 3, use_pyplot=False)
    _, expected = visualization.visualize_predictions(explained(CLASSES, target=3), use_pyplot=False)
    assert [counts(each) for each in axes] == [counts(each) for each in expected]


def test_each_draws_own_class_is_its_largest_output() -> None:
    dist = explained(CLASSES, target="draw")
    _, axes = visualization.visualize_predictions(dist, bins=6, use_pyplot=False)
    largest = dist.predictions.outputs.amax(2).double().numpy()
    edges = np.linspace(largest.min(), largest.max(), 7)
    assert [counts(each) for each in axes] == [np.histogram(each, edges)[0].tolist() for each in largest.T]


@pytest.mark.parametrize("target", [1, "predicted", "draw"])
def test_what_attribute_returns_is_drawn(target) -> None:
    model, images = Convolutional().eval(), torch.randn(2, 2, 6, 6)
    dist = StochasticAttribution(Saliency(model).attribution_method, MCDropout()).attribute(
        images, target=target, n_draws=8, seed=0
    )
    figure, axes = visualization.visualize_predictions(dist, use_pyplot=False)
    own = model(images).detach()
    expected = own[:, 1] if target == 1 else own.amax(1)
    np.testing.assert_allclose([each.lines[1].get_xdata()[0] for each in axes], expected, rtol=1e-5)
    assert [sum(counts(each)) for each in axes] == [8, 8]
    render(figure)


def test_without_the_networks_own_outputs_nothing_is_marked() -> None:
    _, axes = visualization.visualize_predictions(explained(CLASSES, target=1, own=False), use_pyplot=False)
    assert [len(each.lines) for each in axes] == [1] * EXAMPLES


@pytest.mark.parametrize("value", [0.0, 1.0, -1e-30, 1e30])
def test_one_score_in_all_draws_is_one_bar_around_it(value: float) -> None:
    dist = DistributionAttribution(torch.ones(DRAWS, 1, 2), predictions=torch.full((DRAWS, 1, 1), value))
    figure, (axes,) = visualization.visualize_predictions(dist, use_pyplot=False)
    assert counts(axes) == [0, DRAWS, 0]
    bar = axes.patches[1]
    assert bar.get_x() < torch.tensor(value).item() < bar.get_x() + bar.get_width()
    render(figure)


def test_draws_far_tighter_than_their_distance_to_the_networks_own_score_are_seen() -> None:
    outputs = 1 + 1e-6 * torch.randn(DRAWS, 1, 1, dtype=torch.float64)
    dist = DistributionAttribution(torch.ones(DRAWS, 1, 2), predictions=outputs, own_predictions=outputs[0] + 29)
    figure, (axes,) = visualization.visualize_predictions(dist, use_pyplot=False)
    assert sum(counts(axes)) == DRAWS
    render(figure)
    for bar in axes.patches:
        assert bar.get_window_extent().width > 3
        assert bar.get_x() + bar.get_width() / 2 == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("own", [False, True])
def test_scores_that_are_not_finite_are_refused_with_a_way_out_that_works(value: float, own: bool) -> None:
    dist = explained(CLASSES, target=1)
    outputs = dist.predictions.deterministic[None] if own else dist.predictions.outputs
    outputs[0, 2, 1] = value
    with pytest.raises(ValueError, match=r"a score is (NaN|infinite) at 1 of .*dist\[i\], or attribute a forward"):
        visualization.visualize_predictions(dist, use_pyplot=False)
    visualization.visualize_predictions(dist[:2], use_pyplot=False)


@pytest.mark.parametrize(
    ("dist", "options", "message"),
    [
        (DistributionAttribution(torch.ones(2, 1, 3)), {}, "keeps no predictions.*return_predictions=True"),
        (explained(CLASSES), {}, r"outputs of shape \(3, 4\) need a target: give target="),
        (explained(CLASSES), {"target": 4}, r"target 4 lies outside the outputs of shape \(4,\)"),
        (explained(CLASSES), {"target": (1, 2)}, r"target \(1, 2\) does not choose one of the outputs of shape \(4,\)"),
        (explained(CLASSES), {"target": [1, 2]}, "one entry for each of the 3 examples, got 2"),
        (explained(CLASSES, target=1), {"bins": 0}, "bins is a number of bins, at least 1; got 0"),
        (explained(CLASSES, target=1, examples=65), {}, r"64 at most, got 65; choose some, dist\[:16\]"),
        (explained(CLASSES, target=1)[:0], {}, r"no predictions to draw: their shape is \(24, 0, 4\)"),
    ],
)
def test_what_cannot_be_counted_is_refused(dist: DistributionAttribution, options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        visualization.visualize_predictions(dist, use_pyplot=False, **options)


def test_predictions_that_are_not_one_for_each_example_are_refused() -> None:
    dist = DistributionAttribution(torch.ones(2, 3, 4), predictions=torch.ones(2, 1, 5), target=0)
    with pytest.raises(ValueError, match=r"one output for each of the 3 examples.*got shape \(2, 1, 5\)"):
        visualization.visualize_predictions(dist, use_pyplot=False)
