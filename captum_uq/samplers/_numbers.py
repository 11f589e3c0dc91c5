"""What counts as a number where a rate or a spread is asked for."""

from __future__ import annotations

import math
import numbers
from typing import TypeGuard


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number, NumPy's included."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_spread(value: object) -> TypeGuard[float]:
    """Whether a value is a standard deviation: a finite number of at least 0."""
    return is_number(value) and 0 <= value < math.inf


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is an integer, NumPy's included."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
