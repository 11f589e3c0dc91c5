"""Pixel flipping, insertion and deletion, and their comparison with intervals and p values.

Curves are exact (step 0 and the uneven last step included), independent of how they are batched, and paired: maps
compared on one seed meet the same fills. From a distribution to a verdict:

    curves = summary_curves(model, images, dist, target=labels, perturb_func=UniformNoise(mean, std))
    print(compare(curves, reference="deterministic"))

The score may be that of the posterior predictive mean instead of the network's: ``transform`` averages probabilities,
without it ``score="softmax"`` is the softmax of the mean logits.

    >>> import torch
    >>> from captum.attr import IntegratedGradients
    >>> from captum_uq import MCDropout, StochasticAttribution
    >>> _ = torch.manual_seed(0)
    >>> layers = torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2)
    >>> model, inputs = torch.nn.Sequential(*layers).eval(), torch.ones(4, 3)
    >>> uq = StochasticAttribution(IntegratedGradients(model), MCDropout())
    >>> dist = uq.attribute(inputs, target=1, n_draws=20, seed=0)
    >>> probability = MCDropout().predictive(model, 20, seed=1, transform=lambda outputs: outputs.softmax(-1))
    >>> curves = summary_curves(probability, inputs, dist, ("mean", "percentile:25"), target=1, n_steps=3)
    >>> list(curves), curves["mean"].scores.shape
    (['deterministic', 'mean', 'percentile:25'], torch.Size([4, 4]))

Captum's own infidelity and sensitivity work on distributions: a ``DistributionAttribution`` is the mean map, each of
its draws is a map of its own, and a ``StochasticAttribution`` explains perturbed inputs on the same networks:

    >>> from captum.metrics import infidelity, sensitivity_max
    >>> def jitter(inputs):
    ...     noise = 0.1 * torch.randn(inputs.shape)
    ...     return noise, inputs - noise
    >>> infidelity(model, jitter, inputs, dist, target=1).shape
    torch.Size([4])
    >>> torch.stack([infidelity(model, jitter, inputs, draw, target=1) for draw in dist.draws]).shape
    torch.Size([20, 4])
    >>> sensitivity_max(uq.attribute, inputs, target=1, n_draws=20, seed=0).shape
    torch.Size([4])

References:
    [1] Samek et al., "Evaluating the visualization of what a deep neural network has learned", 2017.
    [2] Petsiuk et al., "RISE: Randomized input sampling for explanation of black-box models", 2018.
    [3] Bykov et al., "How much can I trust you? Quantifying uncertainties in explaining neural networks", 2020.
    [4] Yeh et al., "On the (in)fidelity and sensitivity of explanations", 2019.
"""

from captum_uq.metrics.accumulate import CurveAccumulator
from captum_uq.metrics.comparison import Comparison, PairedDifference, compare
from captum_uq.metrics.curves import PerturbationCurve, auc
from captum_uq.metrics.directions import deletion, insertion
from captum_uq.metrics.fills import ChannelMean, Constant, Fill, UniformNoise
from captum_uq.metrics.flipping import pixel_flipping
from captum_uq.metrics.image_fills import GaussianBlur, NoisyLinearImputation
from captum_uq.metrics.summaries import summary_curves

__all__ = [
    "ChannelMean",
    "Comparison",
    "Constant",
    "CurveAccumulator",
    "Fill",
    "GaussianBlur",
    "NoisyLinearImputation",
    "PairedDifference",
    "PerturbationCurve",
    "UniformNoise",
    "auc",
    "compare",
    "deletion",
    "insertion",
    "pixel_flipping",
    "summary_curves",
]
