"""Pictures of a distribution of attributions, with Captum's argument names; the only importer of matplotlib.

    fig, axes = visualization.visualize_distribution(dist[3], images[3])   # MCRP's row
    fig, axes = visualization.visualize_percentiles(dist[3], images[3])    # B-LRP's row
    fig, axes = visualization.visualize_features(rows[3], names)           # a table: bars with intervals

Channels are summed in every draw, before any statistic: the stdev of a sum is no sum of stdevs. For another
reduction change the draws first, as in ``dist.map(normalization.channel_mean)``.

Every function draws one example, returns ``(figure, axes)``, and needs no screen with ``use_pyplot=False``.
"""

from captum_uq.visualization.draws import visualize_draws
from captum_uq.visualization.features import visualize_features
from captum_uq.visualization.percentiles import visualize_percentiles
from captum_uq.visualization.signs import visualize_sign_certainty
from captum_uq.visualization.statistics import visualize_distribution

__all__ = [
    "visualize_distribution",
    "visualize_draws",
    "visualize_features",
    "visualize_percentiles",
    "visualize_sign_certainty",
]
