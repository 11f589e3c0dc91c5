"""Statistics over draws: pure functions ``(T, *shape) -> (*shape)`` on plain tensors.

Floating draws give back their own dtype; half precision is computed in float32. Integers and booleans give
torch's default dtype, but the mean, median or percentile of one draw is that draw. Ratios never make NaN of
finite draws: 0/0 is 0, x/0 is infinity with the sign of x. A NaN among the draws of an entry makes the entry
NaN, whatever the statistic. Gradients reach the draws through all but ``probability_positive`` and
``sign_certainty``, which are steps.
"""

from captum_uq.stats.certainty import confusion, cv, snr
from captum_uq.stats.moments import expectation, kurtosis, moment, skewness, stdev, variance
from captum_uq.stats.order import (
    intersection,
    interval,
    median,
    percentile,
    probability_positive,
    sign_certainty,
    union,
)
from captum_uq.stats.summary import Summary, summarize

__all__ = [
    "Summary",
    "confusion",
    "cv",
    "expectation",
    "intersection",
    "interval",
    "kurtosis",
    "median",
    "moment",
    "percentile",
    "probability_positive",
    "sign_certainty",
    "skewness",
    "snr",
    "stdev",
    "summarize",
    "union",
    "variance",
]
