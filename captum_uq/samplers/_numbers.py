"""What counts as a number where a rate or a spread is asked for."""

from __future__ import annotations

import numbers
from typing import TypeGuard


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number, NumPy's included."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
