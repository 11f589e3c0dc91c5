"""Captum's methods, each returning a distribution: change one import of any Captum tutorial.

``from captum_uq.attr import IntegratedGradients`` takes what Captum's class takes, plus the keywords ``sampler``
(MC dropout unless told otherwise) and ``summary``. The list is Captum's own: a class that a future Captum adds
appears by itself; what is no attribution method passes through.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import captum.attr as _captum
from torch import Tensor

from captum_uq import lrp
from captum_uq.attribution import StochasticAttribution
from captum_uq.samplers.base import Sampler
from captum_uq.samplers.dropout import MCDropout

__all__: list[str] = list(_captum.__all__)

_IMPROVED: dict[type, type] = {_captum.LRP: lrp.LRP, _captum.LayerLRP: lrp.LayerLRP}
"""Methods of Captum that we have better: LRP takes a ``composite``."""

_OPTIONS = (
    inspect.Parameter("sampler", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Sampler | None"),
    inspect.Parameter("summary", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="str | Callable | None"),
)


@functools.cache
def _mirror(captum_class: type) -> type:
    """The namesake of a method of Captum.

    It inherits from Captum's class too, so ``isinstance`` in Captum and in user code holds, and from the namesakes
    of its bases, so they keep Captum's relations among themselves.
    """
    bases = [_mirror(base) for base in captum_class.__bases__ if issubclass(base, _captum.Attribution)]

    def __init__(  # noqa: N807
        self: StochasticAttribution,
        *args: Any,
        sampler: Sampler | None = None,
        summary: str | Callable[[Tensor], Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        inner = next((value for value in (*args, *kwargs.values()) if isinstance(value, StochasticAttribution)), None)
        made = _IMPROVED.get(captum_class, captum_class)
        method = made(*map(_unwrap, args), **{name: _unwrap(value) for name, value in kwargs.items()})
        if sampler is None:
            sampler = MCDropout() if inner is None else inner.sampler
        if summary is None:
            summary = "mean" if inner is None else inner.summary
        StochasticAttribution.__init__(self, method, sampler, summary=summary)

    body = {"__init__": __init__, "__doc__": _document(captum_class), "__module__": __name__}
    mirror = type(captum_class.__name__, (*(bases or [StochasticAttribution]), captum_class), body)
    mirror.__signature__ = _signature(captum_class)  # type: ignore[attr-defined]
    return mirror


def _unwrap(value: Any) -> Any:
    """A stochastic method inside another (a noise tunnel) is drawn by the outer one."""
    return value.attribution_method if isinstance(value, StochasticAttribution) else value


def _signature(captum_class: type) -> inspect.Signature:
    parameters = list(inspect.signature(_IMPROVED.get(captum_class, captum_class)).parameters.values())
    end = next((i for i, p in enumerate(parameters) if p.kind is p.VAR_KEYWORD), len(parameters))
    return inspect.Signature([*parameters[:end], *_OPTIONS, *parameters[end:]])


def _document(captum_class: type) -> str:
    return (
        f"`captum.attr.{captum_class.__name__}` over the draws of a sampler.\n\n"
        "Takes what Captum's class takes, and the keywords ``sampler`` (default ``MCDropout()``) and ``summary``\n"
        '(``"mean"``), by default those of a stochastic method that it is given, as a noise tunnel is;\n'
        "``attribute`` is that of `captum_uq.StochasticAttribution`. Captum's own description follows.\n\n"
        f"{inspect.getdoc(_IMPROVED.get(captum_class, captum_class)) or ''}"
    )


def __getattr__(name: str) -> Any:
    """Names that Captum added after this module was imported; type checkers read that any name may exist."""
    return _public(getattr(_captum, name))


def _public(value: Any) -> Any:
    return _mirror(value) if isinstance(value, type) and issubclass(value, _captum.Attribution) else value


globals().update({name: _public(getattr(_captum, name)) for name in __all__})
