"""Random numbers for all the weights of a network, several times as fast as from a `numpy.random.Generator`.

They come from private bit generators (SFC64, by seed and path, as in `captum_uq._rng`) and are worked out in blocks
that stay in the cache, on the CPU: the same for every device and dtype.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_uq._rng import seed_sequence

_BLOCK = 1 << 15
"""64-bit words at a time: more would leave the cache, and memory taken anew costs more than the numbers in it."""
_RADIUS, _ANGLE = np.float32(2.0**-31), np.float32(math.pi * 2.0**-31)

Path = int | str


def fill_standard_normal(out: NDArray[np.float32], seed: int, *path: Path) -> None:
    """Standard normal numbers by the transform of Box and Muller, two from a word of 64 bits.

    ``r cos a`` and ``r sin a``, ``r = sqrt(-2 log u)``, ``u`` uniform in (0, 1] and ``a`` in [-pi, pi]. With 31 bits
    for ``u`` the largest ``r`` is 6.66: one normal number in 3e10 would lie beyond.

    Args:
        out: Where they go, shape ``(count,)``.
        seed: A non-negative integer.
        path: What the numbers are for.

    References:
        Box and Muller, A Note on the Generation of Random Normal Deviates, 1958.
    """
    bits, radii, angles = _bits(seed, *path), np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    for start in range(0, len(out), 2 * _BLOCK):
        block = out[start : start + 2 * _BLOCK]
        pairs, rest = -(-len(block) // 2), len(block) // 2
        words = bits.random_raw(pairs).view(np.int32)
        radius, angle = radii[:pairs], angles[:pairs]
        np.copyto(radius, words[:pairs], casting="unsafe")
        np.abs(radius, out=radius)
        radius += np.float32(0.5)  # never log 0
        radius *= _RADIUS
        np.log(radius, out=radius)
        radius *= np.float32(-2)
        np.sqrt(radius, out=radius)
        np.copyto(angle, words[pairs:], casting="unsafe")
        angle *= _ANGLE
        np.multiply(radius, np.cos(angle, out=block[:pairs]), out=block[:pairs])
        np.multiply(radius[:rest], np.sin(angle[:rest], out=block[pairs:]), out=block[pairs:])


def fill_bernoulli(out: NDArray[np.float32], rate: float, seed: int, *path: Path) -> None:
    """Bernoulli numbers: 0 with probability ``rate``, else 1.

    8 bits decide, and where they tie with the rate 53 more: the probability is the rate to 2**-61.

    Args:
        out: Where they go, shape ``(count,)``.
        rate: In [0, 1).
        seed: A non-negative integer.
        path: What the numbers are for.
    """
    bits, keeps = _bits(seed, *path), np.empty(8 * _BLOCK, bool)
    fine, (whole, rest) = np.random.Generator(bits), divmod(256 * rate, 1)
    threshold = np.uint8(whole)
    for start in range(0, len(out), len(keeps)):
        block = out[start : start + len(keeps)]
        numbers = bits.random_raw(-(-len(block) // 8)).view(np.uint8)[: len(block)]
        keep = keeps[: len(block)]
        np.equal(numbers, threshold, out=keep)
        tied = np.flatnonzero(keep) if rest else np.empty(0, np.intp)
        np.greater_equal(numbers, threshold, out=keep)
        keep[tied] = fine.random(len(tied)) >= rest
        np.copyto(block, keep)


def _bits(seed: int, *path: Path) -> Any:
    """A bit generator that depends on the seed and the path alone."""
    return np.random.SFC64(seed_sequence(seed, *path))  # type: ignore[arg-type]  # NumPy takes it
