"""A table's features: bars with intervals, by what the artists hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captum_uq import stats, visualization
from captum_uq.distribution import DistributionAttribution
from visualization.maps import (
    DRAWS,
    batch,
    labels,
    random_draws,
    render,
    table,
)


@pytest.mark.parametrize("chosen", [lambda dist: dist, lambda dist: dist[0]], ids=["batch of one", "row"])
def test_bars_are_means_and_lines_intervals(chosen) -> None:
    dist = table(0.5, -9.0, 3.0)
    figure, axes = visualization.visualize_features(chosen(dist), ["a", "b", "c"], level=0.8, use_pyplot=False)
    assert labels(axes) == ["b", "c", "a"]
    assert axes.yaxis_inverted()
    order = [1, 2, 0]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], dist.point[0, order], rtol=1e-5)
    low, high = stats.interval(dist.draws[:, 0, order], 0.8)
    lines = np.array([[line[0][0], line[1][0]] for line in axes.collections[0].get_segments()])
    np.testing.assert_allclose(lines, torch.stack([low, high], dim=1), rtol=1e-5)
    assert [bar.get_alpha() is None for bar in axes.patches] == [True, True, False]
    red, blue = axes.patches[1].get_facecolor(), axes.patches[0].get_facecolor()
    assert red[0] > red[2]
    assert blue[0] < blue[2]
    assert axes.get_title() == "mean and 80% interval of 24 draws"
    render(figure)


def test_features_are_sorted_by_certainty_and_the_first_of_them_shown() -> None:
    steps = torch.linspace(-1, 1, DRAWS)
    draws = torch.stack([100 * steps + 30, 0 * steps, steps / 9 - 2, 0 * steps + 1], dim=1)
    dist = DistributionAttribution(draws[:, None])
    assert labels(visualization.visualize_features(dist, use_pyplot=False)[1]) == ["0", "2", "3", "1"]
    _, axes = visualization.visualize_features(dist, sort="certainty", use_pyplot=False)
    assert labels(axes) == ["2", "3", "0", "1"]  # always 0 is not certain
    assert labels(visualization.visualize_features(dist, sort="certainty", n=2, use_pyplot=False)[1]) == ["2", "3"]


def test_a_mean_outside_its_interval_is_drawn() -> None:
    draws = torch.zeros(100, 1, 1)
    draws[0] = 1000.0
    _, axes = visualization.visualize_features(DistributionAttribution(draws), use_pyplot=False)
    assert axes.patches[0].get_width() == 10
    assert axes.collections[0].get_segments()[0][:, 0].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("dist", "options", "message"),
    [
        (DistributionAttribution(random_draws(2, 3)), {}, r"one example, got 2 of shape \(3,\); choose one, dist\[i\]"),
        (batch()[0], {}, r"shape \(F,\), got \(3, 6, 9\)"),
        (DistributionAttribution(random_draws(1, 0)), {}, r"shape \(F,\), got \(1, 0\).*an axis without entries"),
        (table(1.0, 2.0), {"feature_names": ["a"]}, "each of the 2 features, got 1"),
        (table(1.0), {"sort": "name"}, r"sort is one of \('mean', 'certainty', None\), got 'name'"),
        (table(1.0), {"n": 0}, "at least 1; got 0"),
        (table(1.0), {"level": 2}, "level"),
    ],
)
def test_wrong_tables_are_refused(dist: DistributionAttribution, options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        visualization.visualize_features(dist, use_pyplot=False, **options)
