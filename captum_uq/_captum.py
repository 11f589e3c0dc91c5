"""Every name of Captum that it does not export, in one place: a change in Captum has this address.

``tests/test_structure.py`` tells when one of them moves.
"""

from captum._utils.models.linear_model import SkLearnLasso, SkLearnLinearRegression, SkLearnRidge
from captum.attr._core.lrp import SUPPORTED_LAYERS_WITH_RULES, SUPPORTED_NON_LINEAR_LAYERS
from captum.attr._utils.custom_modules import Addition_Module
from captum.attr._utils.lrp_rules import EpsilonRule, PropagationRule
from captum.log import log_usage

__all__ = [
    "LEFT_ON_MODULES",
    "SUPPORTED_LAYERS_WITH_RULES",
    "SUPPORTED_NON_LINEAR_LAYERS",
    "SURROGATES_OF_MANY_OUTPUTS",
    "Addition_Module",
    "EpsilonRule",
    "PropagationRule",
    "log_usage",
]

LEFT_ON_MODULES = ("rule", "activations", "input", "input_ref", "output")
"""Attributes that LRP and DeepLift set on the modules of a model, and partly leave there or delete."""

SURROGATES_OF_MANY_OUTPUTS = (SkLearnLinearRegression, SkLearnRidge, SkLearnLasso)
"""Surrogates that fit a column of outputs each by itself, as if it were alone."""
