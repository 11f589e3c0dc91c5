"""What torch keeps of weights by their identity, which stays where their values are swapped."""

from __future__ import annotations

import torch
from torch.nn.utils import parametrize


def forget_weights() -> None:
    """Drop the casts of `torch.autocast` and the values of `torch.nn.utils.parametrize.cached`: they are made anew.

    torch has no public name for the second; ``tests/samplers/test_cached_weights.py`` tells when it moves.
    """
    torch.clear_autocast_cache()
    parametrize._cache.clear()
