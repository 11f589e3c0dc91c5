"""captum_uq: every attribution of Captum as a distribution over the draws of a network.

Example:
    >>> import torch
    >>> from captum.attr import IntegratedGradients
    >>> from captum_uq import MCDropout, StochasticAttribution
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))
    >>> uq = StochasticAttribution(IntegratedGradients(model), MCDropout())
    >>> dist = uq.attribute(torch.ones(4, 3), target=1, n_draws=20, seed=0)
    >>> dist.percentile(5).shape
    torch.Size([4, 3])
"""

from captum_uq.attribution import StochasticAttribution
from captum_uq.distribution import DistributionAttribution
from captum_uq.recipes import BLRP, MCRP, ExplanationUncertainty
from captum_uq.samplers.dropout import MCDropout
from captum_uq.samplers.unchanged import Unchanged

__all__ = [
    "BLRP",
    "MCRP",
    "DistributionAttribution",
    "ExplanationUncertainty",
    "MCDropout",
    "StochasticAttribution",
    "Unchanged",
]
__version__ = "0.1.0"
