"""Pictures of a distribution of attributions, with Captum's argument names; the only importer of matplotlib.

    fig, axes = visualization.visualize_distribution(dist[3], images[3])   # MCRP's row
    fig, axes = visualization.visualize_percentiles(dist[3], images[3])    # B-LRP's row
    fig, axes = visualization.visualize_bivariate(dist[3], images[3])      # mean and certainty in one map
    fig, axes = visualization.visualize_features(rows[3], names)           # a table: bars with intervals
    fig, axes = visualization.visualize_text(sentences[3], tokens)         # text; text_html for notebooks
    fig, axes = visualization.visualize_channels(layer[3])                 # channels of a layer
    fig, axes = visualization.visualize_predictions(dist[:4])              # what the draws predict
    fig, axes = visualization.visualize_curves(curves)                     # pixel flipping, with bands
    fig, axes = visualization.visualize_comparison(compare(curves))        # a forest plot
    visualization.explore(dist[3], images[3])                              # a notebook's slider over percentiles

Channels are summed in every draw, before any statistic: the stdev of a sum is no sum of stdevs. For another
reduction change the draws first, as in ``dist.map(normalization.channel_mean)``.

Every picture of attributions shows one example. Every function returns ``(figure, axes)``, takes axes of one's own
as ``plt_fig_axis=(figure, axes)``, and needs no screen with ``use_pyplot=False``. Pictures stand on white and look the
same under every matplotlib style; axes of one's own get a white ground too, and letters that suit their figure.
"""

from captum_uq.visualization.bivariate import visualize_bivariate
from captum_uq.visualization.channels import visualize_channels
from captum_uq.visualization.comparison import visualize_comparison
from captum_uq.visualization.curves import visualize_curves
from captum_uq.visualization.draws import visualize_draws
from captum_uq.visualization.features import visualize_features
from captum_uq.visualization.html_text import text_html
from captum_uq.visualization.percentiles import visualize_percentiles
from captum_uq.visualization.predictions import visualize_predictions
from captum_uq.visualization.signs import visualize_sign_certainty
from captum_uq.visualization.slider import PercentilePicture, explore, percentile_picture
from captum_uq.visualization.spreads import visualize_feature_draws
from captum_uq.visualization.statistics import visualize_distribution
from captum_uq.visualization.text import visualize_text

__all__ = [
    "PercentilePicture",
    "explore",
    "percentile_picture",
    "text_html",
    "visualize_bivariate",
    "visualize_channels",
    "visualize_comparison",
    "visualize_curves",
    "visualize_distribution",
    "visualize_draws",
    "visualize_feature_draws",
    "visualize_features",
    "visualize_percentiles",
    "visualize_predictions",
    "visualize_sign_certainty",
    "visualize_text",
]
