"""Whether the graph that a forward builds will be passed backwards many times: what depends on it alone is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

_SHARED: ContextVar[Callable[[], bool]] = ContextVar("shared", default=lambda: False)


@contextlib.contextmanager
def sharing(shared: Callable[[], bool]) -> Iterator[None]:
    """For the time of a forward.

    Args:
        shared: Whether the part that runs now is one that many draws share.
    """
    token = _SHARED.set(shared)
    try:
        yield
    finally:
        _SHARED.reset(token)


def is_shared() -> bool:
    """Whether what runs now is passed backwards many times."""
    return _SHARED.get()()
