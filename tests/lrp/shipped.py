"""The composites that the library ships, as the laws run over them."""

from __future__ import annotations

from collections.abc import Callable

from captum_uq.lrp import LRPCMP, Composite, EpsilonComposite, EpsilonGammaBox, EpsilonPlus, ZPlusComposite


def shipped(largest: float = 9.0) -> dict[str, Callable[[], Composite]]:
    """What makes each of them, for inputs no larger than so."""
    return {
        "epsilon": EpsilonComposite,
        "z+": ZPlusComposite,
        "epsilon plus": EpsilonPlus,
        "gamma and box": lambda: EpsilonGammaBox(-largest, largest),
        "LRP-CMP": lambda: LRPCMP(-largest, largest),
    }
