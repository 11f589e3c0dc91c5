"""Samplers: where the draws of a network come from."""

from captum_uq.samplers._agreement import Agreement, DisagreementWarning
from captum_uq.samplers._weights import BoundWeights, standard_normal
from captum_uq.samplers.base import BoundSampler, DrawError, NothingToDrawError, Sampler
from captum_uq.samplers.bayesian_layers import BayesianLayers
from captum_uq.samplers.compose import Compose
from captum_uq.samplers.dropconnect import DropConnect
from captum_uq.samplers.dropout import MCDropout
from captum_uq.samplers.ensemble import Ensemble
from captum_uq.samplers.from_callable import from_callable
from captum_uq.samplers.input_noise import InputNoise
from captum_uq.samplers.laplace import Laplace
from captum_uq.samplers.noisegrad import NoiseGrad, VariationalDropout
from captum_uq.samplers.swag import SWAG
from captum_uq.samplers.unchanged import Unchanged
from captum_uq.samplers.weight_samples import WeightSamples

__all__ = [
    "SWAG",
    "Agreement",
    "BayesianLayers",
    "BoundSampler",
    "BoundWeights",
    "Compose",
    "DisagreementWarning",
    "DrawError",
    "DropConnect",
    "Ensemble",
    "InputNoise",
    "Laplace",
    "MCDropout",
    "NoiseGrad",
    "NothingToDrawError",
    "Sampler",
    "Unchanged",
    "VariationalDropout",
    "WeightSamples",
    "from_callable",
    "standard_normal",
]
