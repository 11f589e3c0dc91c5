"""What a random operation of ATen draws, and how the same is drawn from a private generator.

A network's random numbers are found by the dispatcher's ``nondeterministic_seeded`` tag, so no list of modules is
needed. Each operation is read into a `RandomCall`: a standard variate of some shape, and how its value follows
from that. What depends on the input beyond its shape has no value that could be held, and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_uq.samplers.base import DrawError

SEEDED = torch.Tag.nondeterministic_seeded

WAY_OUT = (
    "Leave the module out (modules=), give it a fixed rate, or write a sampler that draws it "
    "(captum_uq.samplers.Sampler)."
)

_STANDARD: dict[str, Callable[..., Any]] = {
    "exponential": lambda rng, shape: rng.standard_exponential(shape),
    "integers": lambda rng, shape, low, high: rng.integers(low, high, shape),
    "permutation": lambda rng, shape: rng.permutation(shape[0]),
}

_WRITTEN: dict[str, Callable[..., Any]] = {
    "keep": lambda rng, out: rng.random(out=out, dtype=np.float32),
    "uniform": lambda rng, out: rng.random(out=out, dtype=np.float32),
    "normal": lambda rng, out: rng.standard_normal(out=out, dtype=np.float32),
}
"""What is written for all draws to memory taken once: to take memory costs more than the numbers in it."""

_VALUES: dict[str, Callable[..., Tensor]] = {
    "keep": lambda u, p: u < p,
    "uniform": lambda u, low, high: low + (high - low) * u,
    "normal": lambda z, mean, std: mean + std * z,
    "exponential": lambda e, rate: e / rate,
    "integers": lambda k, low, high: k,
    "permutation": lambda order: order,
}


@dataclass(frozen=True)
class RandomCall:
    """One random operation of a forward pass.

    Attributes:
        kind: ``keep`` (Bernoulli), ``uniform``, ``normal``, ``exponential``, ``integers`` or ``permutation``.
        shape: Shape of the value.
        parameters: The distribution's parameters: numbers, or tensors of one value an element.
    """

    kind: str
    shape: tuple[int, ...]
    parameters: tuple[Any, ...]

    def sample(self, rng: np.random.Generator) -> Tensor:
        """The standard variate behind the value, on the CPU.

        A Bernoulli draw is kept as its uniform variate, so that it stands for every rate.
        """
        return self.samples([rng])[0]

    def samples(self, rngs: Sequence[np.random.Generator]) -> Tensor:
        """The standard variates of several draws, ``(D, *shape)``, each from its own generator."""
        if self.kind in _WRITTEN:
            values = np.empty((len(rngs), math.prod(self.shape)), np.float32)
            for out, rng in zip(values, rngs, strict=True):
                _WRITTEN[self.kind](rng, out)
            return torch.from_numpy(values.reshape(len(rngs), *self.shape))
        parameters = self.parameters if self.kind == "integers" else ()
        return torch.from_numpy(np.stack([_STANDARD[self.kind](rng, self.shape, *parameters) for rng in rngs]))

    def value(self, variate: Tensor) -> Tensor:
        """The operation's value from its standard variate, already on the right device and of the right shape."""
        return _VALUES[self.kind](variate, *self.parameters)

    def same_distribution(self, other: RandomCall) -> bool:
        """Whether the other call draws from the same distribution, whatever its number of rows."""
        if self.kind != other.kind or (self.kind == "permutation" and self.shape != other.shape):
            return False
        return all(_equal(a, b) for a, b in zip(self.parameters, other.parameters, strict=True))

    @property
    def by_element(self) -> bool:
        """Whether a parameter is a tensor: it may then depend on the input."""
        return any(isinstance(parameter, Tensor) for parameter in self.parameters)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        one, other = (a, b) if a.numel() <= b.numel() else (b, a)
        try:
            return bool(torch.equal(_like(one, other.shape), other))
        except ValueError:
            return False
    return not isinstance(a, Tensor) and not isinstance(b, Tensor) and math.isclose(a, b, rel_tol=1e-9)


def tile(value: Tensor, shape: tuple[int, ...], where: object) -> Tensor:
    """The value of one row, for as many rows as ``shape`` has.

    Args:
        value: Drawn for one row.
        shape: Shape of the same random operation on a whole batch; one dimension is a multiple of the row's.
        where: The module's name, for the error.

    Raises:
        DrawError: More than one dimension differs, so the rows cannot be told.
    """
    try:
        return _like(value, shape)
    except ValueError as error:
        raise DrawError(
            f"One draw is one network for every row, but {where} drew a random tensor of shape "
            f"{tuple(value.shape)} for one row and {tuple(shape)} for the batch. {WAY_OUT}"
        ) from error


def _like(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    if value.shape == shape:
        return value
    grown = [d for d in range(len(shape)) if len(shape) == value.dim() and shape[d] != value.shape[d]]
    if len(grown) != 1 or value.shape[grown[0]] == 0 or shape[grown[0]] % value.shape[grown[0]]:
        raise ValueError("rows cannot be told")
    times = [1] * len(shape)
    times[grown[0]] = shape[grown[0]] // value.shape[grown[0]]
    return value.expand(shape) if value.shape[grown[0]] == 1 else value.repeat(times)


def _of(kind: str) -> Callable[..., Callable[..., RandomCall]]:
    """A reader for an operation, from a function of its arguments to (shape, *parameters)."""

    def make(read: Callable[..., tuple[Any, ...]]) -> Callable[..., RandomCall]:
        def reader(*args: Any, **kwargs: Any) -> RandomCall:
            for ignored in ("generator", "dtype", "layout", "device", "pin_memory", "memory_format"):
                kwargs.pop(ignored, None)
            shape, *parameters = read(*args, **kwargs)
            return RandomCall(kind, tuple(shape), tuple(parameters))

        return reader

    return make


_keep, _uniform, _normal = _of("keep"), _of("uniform"), _of("normal")
_integers, _permutation, _exponential = _of("integers"), _of("permutation"), _of("exponential")

_READERS: dict[str, Callable[..., RandomCall]] = {
    "aten::native_dropout": _keep(lambda x, p, train: (x.shape, 1 - p)),
    "aten::bernoulli": _keep(lambda p: (p.shape, p)),
    "aten::bernoulli.p": _keep(lambda x, p: (x.shape, p)),
    "aten::bernoulli_.float": _keep(lambda x, p=0.5: (x.shape, p)),
    "aten::bernoulli_.Tensor": _keep(lambda x, p: (x.shape, p)),
    "aten::rand": _uniform(lambda size: (size, 0.0, 1.0)),
    "aten::rand_like": _uniform(lambda x: (x.shape, 0.0, 1.0)),
    "aten::uniform": _uniform(lambda x, low=0.0, high=1.0: (x.shape, low, high)),
    "aten::uniform_": _uniform(lambda x, low=0.0, high=1.0: (x.shape, low, high)),
    "aten::randn": _normal(lambda size: (size, 0.0, 1.0)),
    "aten::randn_like": _normal(lambda x: (x.shape, 0.0, 1.0)),
    "aten::normal_": _normal(lambda x, mean=0.0, std=1.0: (x.shape, mean, std)),
    "aten::normal_functional": _normal(lambda x, mean=0.0, std=1.0: (x.shape, mean, std)),
    "aten::normal.float_float": _normal(lambda mean, std, size: (size, mean, std)),
    "aten::normal.Tensor_float": _normal(lambda mean, std=1.0: (mean.shape, mean, std)),
    "aten::normal.float_Tensor": _normal(lambda mean, std: (std.shape, mean, std)),
    "aten::normal.Tensor_Tensor": _normal(lambda mean, std: (mean.shape, mean, std)),
    "aten::randint": _integers(lambda high, size: (size, 0, high)),
    "aten::randint.low": _integers(lambda low, high, size: (size, low, high)),
    "aten::randint_like": _integers(lambda x, high: (x.shape, 0, high)),
    "aten::randint_like.low_dtype": _integers(lambda x, low, high: (x.shape, low, high)),
    "aten::random_.from": _integers(lambda x, low, high: (x.shape, low, high)),
    "aten::random_.to": _integers(lambda x, high: (x.shape, 0, high)),
    "aten::randperm": _permutation(lambda n: ((n,),)),
    "aten::exponential_": _exponential(lambda x, rate=1.0: (x.shape, rate)),
}


def read(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], where: object) -> RandomCall:
    """Read a random operation of ATen.

    Args:
        func: The operation's overload.
        args: Its arguments.
        kwargs: Its keyword arguments.
        where: Name of the module whose code called it, for the error.

    Raises:
        DrawError: The operation's values depend on its input, or it hides its dropout in a fused kernel.
    """
    name = func.name().removesuffix(".generator").replace("_generator", "")
    if name not in _READERS:
        hidden = any(part in name for part in ("attention", "_rnn"))
        raise DrawError(
            f"{where} calls {name}, which "
            + (
                "draws its dropout inside one fused kernel, where it cannot be held. "
                "Use the math backend (torch.nn.attention.sdpa_kernel), or leave the module out (modules=)."
                if hidden
                else "draws random numbers that cannot be held for a draw: they depend on the input, or captum_uq does "
                f"not know the operation. {WAY_OUT}"
            )
        )
    call = _READERS[name](*args, **kwargs)
    return replace(call, parameters=tuple(p.detach().clone() if isinstance(p, Tensor) else p for p in call.parameters))


def deliver(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], value: Tensor) -> Any:
    """What the operation returns, were ``value`` what it drew."""
    name = func.name().split("::")[1].split(".")[0]
    if name == "native_dropout":
        x, p, _ = args
        keep = value.to(x.dtype)
        return x * keep * (0.0 if p == 1 else 1 / (1 - p)), value
    if name.endswith("_"):
        return args[0].copy_(value)
    like = next((a for a in args if isinstance(a, Tensor)), None)
    default = torch.int64 if value.dtype == torch.int64 else torch.get_default_dtype()
    dtype = kwargs.get("dtype") or (like.dtype if like is not None else default)
    return value.to(dtype)


def device_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device:
    """Where a random operation puts its value."""
    like = next((a for a in args if isinstance(a, Tensor)), None)
    return torch.device(kwargs.get("device") or (like.device if like is not None else "cpu"))
