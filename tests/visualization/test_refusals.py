"""What cannot be drawn as a map says why, and what can."""

from __future__ import annotations

import pytest
import torch
from matplotlib.figure import Figure

from captum_uq import visualization
from captum_uq.distribution import DistributionAttribution
from visualization.maps import (
    DRAWS,
    HEIGHT,
    MAPS,
    WIDTH,
    batch,
    random_draws,
)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize(
    ("dist", "error", "message"),
    [
        (batch(), ValueError, r"one example, got 2 of shape \(3, 6, 9\); choose one, dist\[i\]"),
        (batch().map(lambda draw: draw[:, 0]), ValueError, r"one example, got 2 of shape \(6, 9\).*dist\[i\]"),
        (DistributionAttribution(random_draws(5)), ValueError, r"\(C, H, W\) or \(H, W\), got \(5,\)"),
        (DistributionAttribution(random_draws(1, 1, 2, 2, 2)), ValueError, r"got \(1, 1, 2, 2, 2\)"),
        (DistributionAttribution(random_draws(1, 3, 0, 4)), ValueError, r"got \(1, 3, 0, 4\)"),
        (torch.ones(3, 6, 9), TypeError, "DistributionAttribution, got Tensor"),
        (
            DistributionAttribution(torch.full((DRAWS, 1, 1, 2, 2), torch.nan), nan_policy="propagate"),
            ValueError,
            r"is NaN at \d+ of \d+ values.*dist.map\(torch.nan_to_num\)",
        ),
    ],
    ids=["batch", "maps", "vector", "volume", "empty", "tensor", "nan"],
)
def test_what_is_no_picture_is_refused_with_the_way_out(name: str, dist, error, message: str) -> None:
    with pytest.raises(error, match=message):
        MAPS[name](dist, use_pyplot=False)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("distribution", {"panels": ("mean", "spread")}, "no statistic is called 'spread'; the names are mean"),
        ("distribution", {"panels": ("image",)}, '"image" needs original_image'),
        ("distribution", {"panels": ()}, "at least one panel"),
        ("distribution", {"outlier_perc": 100}, "outlier_perc is a percentage"),
        ("distribution", {"outlier_perc": -1}, "outlier_perc is a percentage"),
        ("distribution", {"plt_fig_axis": (Figure(), [])}, "one axes for each panel, 4, got 0"),
        ("percentiles", {"q": (5, 101)}, "from 0 to 100"),
        ("percentiles", {"q": ()}, "from 0 to 100"),
        ("draws", {"n": 0}, "at least 1; got 0"),
        ("draws", {"outlier_perc": 200}, "outlier_perc is a percentage"),
    ],
)
def test_wrong_options_are_refused(name: str, options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MAPS[name](batch()[0], use_pyplot=False, **options)


def test_the_deterministic_panel_needs_the_deterministic_map() -> None:
    dist = DistributionAttribution(random_draws(1, 3, HEIGHT, WIDTH))
    with pytest.raises(ValueError, match='"deterministic" needs the map of the network as it stands'):
        visualization.visualize_distribution(dist, panels=("deterministic",), use_pyplot=False)
