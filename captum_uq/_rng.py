"""Random numbers: private generators for the draws, and the global generators saved and put back.

Draws never touch a global generator. The methods of Captum do (torch's, NumPy's and Python's, design law 4),
so whoever runs one says here what they start from and what they leave behind.
"""

from __future__ import annotations

import contextlib
import functools
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
            f"A seed is a non-negative integer, got {seed!r}. Pass such a number; attribute(seed=None) alone follows "
            "torch's global generator."
        )
    return int(seed)


def check_index(index: object) -> int:
    """The number of a draw as an ``int``.

    Raises:
        ValueError: It is not a non-negative integer.
    """
    if isinstance(index, bool) or not isinstance(index, numbers.Integral) or int(index) < 0:
        raise ValueError(f"A draw has a number, counted from 0; got {index!r}.")
    return int(index)


def take_seed() -> int:
    """One seed taken from torch's global generator, so that ``torch.manual_seed`` repeats the result."""
    return int(torch.randint(2**63 - 1, ()).item())


def generator(seed: int, *path: int | str) -> np.random.Generator:
    """A private generator that depends on the seed and the path alone.

    NumPy's generators keep the whole seed, where torch's CPU generator keeps its low 32 bits, and give the same
    numbers for every device and dtype.

    Args:
        seed: A non-negative integer.
        path: What the numbers are for: the draw, the module's name, ...
    """
    return np.random.Generator(np.random.PCG64(seed_sequence(seed, *path)))  # type: ignore[arg-type]  # NumPy takes it


def seed_sequence(seed: int, *path: int | str) -> np.random.bit_generator.ISeedSequence:
    """What a private generator starts from: see `generator`."""
    return _Hashed((seed, *path))


class _Hashed(np.random.bit_generator.ISeedSequence):
    """A seed sequence by a cryptographic hash, the same in every process.

    NumPy's own takes integers only, and five times as long: a draw of a small network is mostly that.
    """

    def __init__(self, words: tuple[int | str, ...]) -> None:
        self._text = repr(words).encode()

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        """So many words of the hash."""
        digest = hashlib.shake_256(self._text).digest(n_words * np.dtype(dtype).itemsize)
        return np.frombuffer(digest, dtype).copy()


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
            np.random.get_state(legacy=False),  # noqa: NPY002 -- Captum's methods read the legacy global generator
            random.getstate(),
        )

    def restore(self) -> None:
        """Make this the state again."""
        torch.set_rng_state(self.torch_cpu)
        for module, states in self.accelerators:
            for device, state in enumerate(states):
                module.set_rng_state(state, device) if module is not torch.mps else module.set_rng_state(state)
        words = {name: _listed(value) for name, value in self.numpy["state"].items()}
        np.random.set_state(self.numpy | {"state": words})  # noqa: NPY002
        random.setstate(self.python)


def _listed(words: Any) -> Any:
    """An array as a list, which NumPy reads many times as fast."""
    return words.tolist() if isinstance(words, np.ndarray) else words


def _accelerators() -> list[Any]:
    """The device modules whose generators exist already; asking the others would start them."""
    cuda = [torch.cuda] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    return [*cuda, *([torch.mps] if torch.backends.mps.is_available() else [])]


def _device_states(module: Any) -> list[Tensor]:
    return [module.get_rng_state()] if module is torch.mps else list(module.get_rng_state_all())


def seed_global(seed: int, *path: int | str) -> None:
    """Start every global generator from the seed and the path."""
    number = _number(seed, *path)
    torch.default_generator.manual_seed(number)
    for module in _accelerators():
        module.manual_seed(number) if module is torch.mps else module.manual_seed_all(number)
    np.random.seed(number)  # noqa: NPY002
    random.seed(number)


@functools.lru_cache
def _number(seed: int, *path: int | str) -> int:
    """What the global generators start from; the draws of a call all ask for the same."""
    return int(generator(seed, *path).integers(2**32))


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """The global generators stand afterwards where they stood before."""
    before = GlobalState.now()
    try:
        yield
    finally:
        before.restore()
