"""Distributions of attributions: a tensor that remembers the draws behind it."""

from captum_uq.distribution.attribution import DistributionAttribution

__all__ = ["DistributionAttribution"]
