"""Python's and NumPy's global generators, which a draw cannot see or hold."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import nn

from captum_uq.samplers.base import DrawError


@contextlib.contextmanager
def no_python_randomness(model: nn.Module) -> Iterator[None]:
    """Refuse a model that draws from Python's or NumPy's global generators, which cannot be seen or held.

    Raises:
        DrawError: It does.
    """
    before = _python_states()
    yield
    if _python_states() != before:
        raise DrawError(
            f"{type(model).__name__} draws from Python's or NumPy's global generator, which cannot be held for a "
            "draw. Use torch's random functions in its forward."
        )


def _python_states() -> tuple[Any, ...]:
    state: Any = np.random.get_state()  # noqa: NPY002 -- the legacy generator is the global one
    return random.getstate(), bytes(state[1]), state[2]
