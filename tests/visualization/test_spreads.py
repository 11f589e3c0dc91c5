"""Boxes, violins and channels: what the artists hold is what numpy and scipy say of the draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import gaussian_kde

from captum_uq import visualization
from captum_uq.distribution import DistributionAttribution
from visualization.maps import labels, random_draws

NAMES = ["a", "b", "c"]


def rows() -> DistributionAttribution:
    """Three features: of an open sign, surely below 0, surely above 0 and largest."""
    return DistributionAttribution(random_draws(1, 3) * 0.3 + torch.tensor([0.1, -3.0, 5.0]))


def means(dist: DistributionAttribution) -> np.ndarray:
    return dist.draws.double().numpy().mean(0).ravel()


def test_boxes_hold_quartiles_median_interval_and_the_draws_beyond() -> None:
    dist = rows()
    _, axes = visualization.visualize_feature_draws(dist, NAMES, level=0.8, use_pyplot=False)
    order = np.argsort(-np.abs(means(dist)))
    assert labels(axes) == [NAMES[at] for at in order] == ["c", "b", "a"]
    assert axes.yaxis_inverted()
    boxes = [patch for patch in axes.patches if patch.get_facecolor()[:3] != (1, 1, 1)]
    for place, at in enumerate(order):
        values = dist.draws.double().numpy()[:, 0, at]
        low, left, middle, right, high = np.percentile(values, [10, 25, 50, 75, 90])
        box, line, stroke = boxes[place], axes.collections[2 * place], axes.collections[2 * place + 1]
        np.testing.assert_allclose([box.get_x(), box.get_x() + box.get_width()], [left, right], rtol=1e-5)
        np.testing.assert_allclose(line.get_segments()[0][:, 0], [low, high], rtol=1e-5)
        np.testing.assert_allclose(stroke.get_segments()[0][:, 0], [middle, middle], rtol=1e-5)
        beyond = np.sort(values[(values < low) | (values > high)])
        np.testing.assert_allclose(axes.lines[place].get_xdata(), beyond, rtol=1e-5)
        assert np.all(axes.lines[place].get_ydata() == place)
        assert (box.get_alpha() is not None) == (low <= 0 <= high) == (NAMES[at] == "a")
        red, _, blue, _ = box.get_facecolor()
        assert (red > blue) == (middle > 0)


def test_violins_hold_the_kernel_density_median_and_interval() -> None:
    dist = rows()
    _, axes = visualization.visualize_feature_draws(dist, kind="violin", use_pyplot=False)
    for place, at in enumerate(np.argsort(-np.abs(means(dist)))):
        values = dist.draws.double().numpy()[:, 0, at]
        body, line = axes.collections[2 * place], axes.collections[2 * place + 1]
        outline = body.get_paths()[0].vertices
        assert outline[:, 0].min() == pytest.approx(values.min())
        assert outline[:, 0].max() == pytest.approx(values.max())
        upper = outline[outline[:, 1] > place]
        density = gaussian_kde(values)(upper[:, 0])
        np.testing.assert_allclose((upper[:, 1] - place) / 0.36, density / density.max(), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(line.get_segments()[0][:, 0], np.percentile(values, [5, 95]), rtol=1e-5)
        assert axes.lines[place].get_xdata()[0] == pytest.approx(np.median(values))


def test_kind_and_names_are_checked() -> None:
    with pytest.raises(ValueError, match=r"kind is one of \('box', 'violin'\), got 'strip'"):
        visualization.visualize_feature_draws(rows(), kind="strip", use_pyplot=False)
    with pytest.raises(ValueError, match="feature_names has one name for each of the 3 features, got 2"):
        visualization.visualize_feature_draws(rows(), ["a", "b"], use_pyplot=False)
    assert labels(visualization.visualize_feature_draws(rows(), NAMES, sort=None, n=2, use_pyplot=False)[1]) == [
        "a",
        "b",
    ]


def test_few_draws_warn_and_one_is_counted_as_one() -> None:
    with pytest.warns(UserWarning, match="needs at least 20 draws, got 1"):
        _, axes = visualization.visualize_feature_draws(DistributionAttribution(torch.ones(1, 1, 2)), use_pyplot=False)
    assert axes.get_title() == "1 draw, lines hold 90% of them"


def test_the_network_as_it_stands_is_marked_in_the_order_of_the_bars() -> None:
    draws = rows().draws
    dist = DistributionAttribution(draws, deterministic=torch.tensor([[7.0, 8.0, 9.0]]))
    _, axes = visualization.visualize_features(dist, NAMES, show_deterministic=True, use_pyplot=False)
    assert labels(axes) == ["c", "b", "a"]
    assert axes.collections[-1].get_offsets().tolist() == [[9, 0], [8, 1], [7, 2]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["network as it stands"]
    with pytest.raises(ValueError, match="dist keeps none. Attribute with return_deterministic=True"):
        visualization.visualize_features(rows(), show_deterministic=True, use_pyplot=False)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("space", [(), (6,), (4, 3), (2, 2, 3)], ids=str)
def test_channels_are_reduced_over_space_in_every_draw(reduction: str, space: tuple[int, ...]) -> None:
    draws = random_draws(2, 7, *space)
    dist = DistributionAttribution(draws, deterministic=draws[0] / 2)
    names = [f"channel {at}" for at in range(7)]
    options = {"reduction": reduction, "level": 0.8, "show_deterministic": True, "use_pyplot": False}
    _, axes = visualization.visualize_channels(dist[1], names, n=3, **options)
    every = getattr(np, reduction)(draws[:, 1].double().numpy().reshape(len(draws), 7, -1), axis=-1)
    order = np.argsort(-np.abs(every.mean(0)))[:3]
    assert labels(axes) == [names[at] for at in order]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], every.mean(0)[order], rtol=1e-4)
    lines = [line[:, 0] for line in axes.collections[0].get_segments()]
    np.testing.assert_allclose(lines, np.percentile(every, [10, 90], axis=0).T[order], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(axes.collections[1].get_offsets()[:, 0], every[0, order] / 2, rtol=1e-4)
    assert axes.get_title() == f"3 of 7 channels: mean and 80% interval of {len(draws)} draws"
    assert axes.get_xlabel() == f"attribution, {reduction} over space"


def test_channels_are_sorted_by_certainty_or_left_as_they_come() -> None:
    steps = torch.linspace(-1, 1, 24)[:, None, None]
    draws = torch.cat([100 * steps + 30, 0 * steps, steps / 9 - 2], dim=2)[..., None]  # (T, 1, 3, 1)
    orders = {"mean": ["0", "2", "1"], "certainty": ["2", "0", "1"], None: ["0", "1", "2"]}
    for sort, expected in orders.items():
        _, axes = visualization.visualize_channels(DistributionAttribution(draws), sort=sort, use_pyplot=False)
        assert labels(axes) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": "max"}, r"reduction is one of \('sum', 'mean'\), got 'max'"),
        ({"n": 0}, "number of channels to show, at least 1; got 0"),
        ({"channel_names": ["a"]}, "channel_names has one name for each of the 5 channels, got 1"),
        ({"sort": "name"}, "sort is one of"),
        ({"show_deterministic": True}, "return_deterministic=True"),
    ],
)
def test_wrong_options_of_channels_are_refused(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        visualization.visualize_channels(DistributionAttribution(random_draws(1, 5, 2)), use_pyplot=False, **options)


def test_a_layer_without_channels_is_refused() -> None:
    for shape in [(1, 0, 2), (1, 2, 0)]:
        with pytest.raises(ValueError, match=r"shape \(C, \*space\), as \(C, H, W\), got"):
            visualization.visualize_channels(DistributionAttribution(random_draws(*shape)), use_pyplot=False)
