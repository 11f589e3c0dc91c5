"""Random numbers: private generators for the draws, and the global generators saved and put back.

Draws never touch a global generator. The methods of Captum do (torch's, NumPy's and Python's, design law 4),
so whoever runs one says here what they start from and what they leave behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import numbers
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


def check_seed(seed: object) -> int:
    """The seed as an ``int``.

    Raises:
        ValueError: The seed is not a non-negative integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or int(seed) < 0:
        raise ValueError(
            f"A seed is a non-negative integer, got {seed!r}. Pass such a number, or seed=None to follow "
            "torch's global generator."
        )
    return int(seed)


def take_seed() -> int:
    """One seed taken from torch's global generator, so that ``torch.manual_seed`` repeats the result."""
    return int(torch.randint(2**63 - 1, ()).item())


def generator(seed: int, *path: int | str) -> np.random.Generator:
    """A private generator that depends on the seed and the path alone.

    NumPy's seed sequence keeps the whole seed, where torch's CPU generator keeps its low 32 bits, and gives the
    same numbers for every device and dtype.

    Args:
        seed: A non-negative integer.
        path: What the numbers are for: the draw, the module's name, ...
    """
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=tuple(map(_word, path))))


def _word(part: int | str) -> int:
    """Names become numbers by a hash that is the same in every process."""
    return part if isinstance(part, int) else int.from_bytes(hashlib.sha256(part.encode()).digest()[:8], "little")


@dataclass(frozen=True)
class GlobalState:
    """What torch's, NumPy's and Python's global generators were at one moment."""

    torch_cpu: Tensor
    accelerators: tuple[tuple[Any, list[Tensor]], ...]
    numpy: Any
    python: Any

    @classmethod
    def now(cls) -> GlobalState:
        """The state of this moment."""
        return cls(
            torch.get_rng_state(),
            tuple((module, _device_states(module)) for module in _accelerators()),
            np.random.get_state(),  # noqa: NPY002 -- Captum's methods read the legacy global generator
            random.getstate(),
        )

    def restore(self) -> None:
        """Make this the state again."""
        torch.set_rng_state(self.torch_cpu)
        for module, states in self.accelerators:
            for device, state in enumerate(states):
                module.set_rng_state(state, device) if module is not torch.mps else module.set_rng_state(state)
        np.random.set_state(self.numpy)  # noqa: NPY002
        random.setstate(self.python)


def _accelerators() -> list[Any]:
    """The device modules whose generators exist already; asking the others would start them."""
    cuda = [torch.cuda] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    return [*cuda, *([torch.mps] if torch.backends.mps.is_available() else [])]


def _device_states(module: Any) -> list[Tensor]:
    return [module.get_rng_state()] if module is torch.mps else list(module.get_rng_state_all())


def seed_global(seed: int, *path: int | str) -> None:
    """Start every global generator from the seed and the path."""
    number = int(generator(seed, *path).integers(2**32))
    torch.default_generator.manual_seed(number)
    for module in _accelerators():
        module.manual_seed(number) if module is torch.mps else module.manual_seed_all(number)
    np.random.seed(number)  # noqa: NPY002
    random.seed(number)


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """The global generators stand afterwards where they stood before."""
    before = GlobalState.now()
    try:
        yield
    finally:
        before.restore()
