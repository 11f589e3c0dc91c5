"""Warnings that point at the user's own line, however deep inside they are found."""

from __future__ import annotations

import inspect
import warnings

_INSIDE = {"captum_uq", "captum", "torch", "contextlib"}
"""Whose frames are passed over: decorators of torch and Captum stand between a user and us."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, at the first line outside this package.

    Args:
        message: What is wrong, and the way out.
        category: What kind of warning it is.
    """
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level + 1)
