"""Random numbers that belong to an example, not to its place in a batch, a chunk or a device."""

import hashlib
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

__all__ = ["ORDER_STREAM", "TIE_STREAM", "ExampleNoise", "fill_stream"]

TIE_STREAM, ORDER_STREAM = 0, 1


def fill_stream(position: int) -> int:
    """Number of the stream that fills input ``position`` of a tuple of inputs.

    Args:
        position: Place of the tensor in the tuple.

    Returns:
        A stream that no other use shares.
    """
    return 2 + position


def _digest(example: list[Tensor]) -> int:
    """Recognise an example by its values: a 128-bit hash of its bytes, tensor after tensor."""
    seen = hashlib.blake2b(digest_size=16)
    for tensor in example:
        seen.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return int.from_bytes(seen.digest(), "little")


class ExampleNoise:
    """Private random numbers of each example, a function of ``(seed, example, stream)`` alone.

    An example is recognised by its values, so the same picture meets the same numbers wherever it stands: alone
    or in a batch, in any chunk, on any device, whatever map is under test. Maps compared on one seed are therefore
    compared under common random numbers. No global generator is read or written.

    Args:
        inputs: Tensors of shape ``(N, *F)``; together they identify the examples.
        seed: Non-negative integer.

    References:
        Glasserman and Yao, "Some guidelines and guarantees for common random numbers", 1992.
    """

    def __init__(self, inputs: tuple[Tensor, ...], seed: int) -> None:
        self._inputs = inputs
        self._seed = seed

    @cached_property
    def _examples(self) -> list[int]:
        host = [tensor.cpu().contiguous() for tensor in self._inputs]
        return [_digest([tensor[i] for tensor in host]) for i in range(len(host[0]))]

    def _generators(self, stream: int) -> list[np.random.Generator]:
        keys = ([self._seed, example, stream] for example in self._examples)
        return [np.random.default_rng(np.random.SeedSequence(key)) for key in keys]

    def uniform(self, shape: tuple[int, ...], stream: int) -> Tensor:
        """Draw from the uniform distribution on [0, 1).

        Args:
            shape: Shape ``F`` of one example.
            stream: Which use of the numbers this is.

        Returns:
            Shape ``(N, *F)``, float64, on the CPU.
        """
        return torch.from_numpy(np.stack([g.random(shape) for g in self._generators(stream)]))

    def normal(self, shape: tuple[int, ...], stream: int) -> Tensor:
        """Draw from the standard normal distribution.

        Args:
            shape: Shape ``F`` of one example.
            stream: Which use of the numbers this is.

        Returns:
            Shape ``(N, *F)``, float64, on the CPU.
        """
        return torch.from_numpy(np.stack([g.standard_normal(shape) for g in self._generators(stream)]))

    def permutations(self, counts: list[int], n_features: int, stream: int) -> Tensor:
        """Draw one random order of its features for each example.

        Args:
            counts: Number of features of each example, at most ``F``.
            n_features: ``F``, the most that one has in this batch, on which the order of another does not depend.
            stream: Which use of the numbers this is.

        Returns:
            Shape ``(N, F)``, int64, on the CPU; row ``i`` a permutation of ``0 .. counts[i] - 1``, and then the rest.
        """
        orders = np.tile(np.arange(n_features), (len(counts), 1))
        for order, count, g in zip(orders, counts, self._generators(stream), strict=True):
            order[:count] = g.permutation(count)
        return torch.from_numpy(orders)
