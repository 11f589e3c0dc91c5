"""Samplers: where the draws of a network come from."""

from captum_uq.samplers.base import BoundSampler, Sampler
from captum_uq.samplers.dropout import MCDropout
from captum_uq.samplers.unchanged import Unchanged

__all__ = ["BoundSampler", "MCDropout", "Sampler", "Unchanged"]
