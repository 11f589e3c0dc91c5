"""How a DistributionAttribution behaves as a tensor: plain results, no silent change, no ambiguous reduction."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch._C import DisableTorchFunctionSubclass

_OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
_WRITERS = frozenset({"__setitem__", "__ilshift__", "__irshift__"})
_HARMLESS = frozenset({"requires_grad_", "share_memory_", "detach_"})
_SET_DATA = getattr(torch.Tensor.data, "__set__")  # noqa: B009 (the descriptor, which the stubs do not show)


class PointTensor(torch.Tensor):
    """A tensor whose operations return plain tensors, and which refuses to be written into."""

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Runs ``func`` as on plain tensors, and returns plain tensors.

        Raises:
            RuntimeError: If ``func`` would write into the values, in place or as ``out=``: the draws would not
                follow.
        """
        kwargs = kwargs or {}
        if any(isinstance(each, PointTensor) for each in _written(func, args, kwargs)):
            name = getattr(func, "__name__", repr(func))
            raise RuntimeError(
                f"{name} would change the values of a {cls.__name__} and not its draws. Work on a plain copy, "
                "dist.point.clone(), or change every draw with dist.map(fn)."
            )
        with DisableTorchFunctionSubclass():
            return _as_plain(func(*args, **kwargs))

    @property
    def point(self) -> Tensor:
        """Its own values as a plain tensor, on the same memory: elements, where accessors mean draws."""
        return self.as_subclass(torch.Tensor)

    def numpy(self, *, force: bool = False) -> Any:
        """Its own values as a numpy array; a copy, so that writing into it leaves the distribution whole."""
        return self.point.numpy(force=force).copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self.numpy(), dtype=dtype)

    def __format__(self, spec: str) -> str:
        return format(self.point.detach(), spec) if spec else str(self)

    def mean(self, *args: Any, **kwargs: Any) -> Any:
        """Torch's mean of the values along ``dim``; without ``dim`` it raises, see ``expectation``."""
        return self._along("mean", args, kwargs)

    def std(self, *args: Any, **kwargs: Any) -> Any:
        """Torch's standard deviation of the values along ``dim``; without ``dim`` it raises, see ``stdev``."""
        return self._along("std", args, kwargs)

    def var(self, *args: Any, **kwargs: Any) -> Any:
        """Torch's variance of the values along ``dim``; without ``dim`` it raises, see ``variance``."""
        return self._along("var", args, kwargs)

    def median(self, *args: Any, **kwargs: Any) -> Any:
        """Torch's median of the values along ``dim``; without ``dim`` it raises, see ``percentile(50)``."""
        return self._along("median", args, kwargs)

    def quantile(self, q: float | Tensor, *args: Any, **kwargs: Any) -> Any:
        """Torch's quantile of the values along ``dim``; without ``dim`` it raises, see ``percentile``."""
        if not _names_dim(args, kwargs):
            _refuse("quantile")
        return self.point.quantile(q, *args, **kwargs)

    def _along(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if not _names_dim(args, kwargs):
            _refuse(name)
        return getattr(self.point, name)(*args, **kwargs)


def _rebinding(name: str) -> Callable[[PointTensor, Any], Any]:
    """``total += dist`` gives the name a plain tensor, as ``total + dist`` does; nothing is written into."""
    apply: Callable[[Any, Any], Any] = getattr(operator, f"__{name}__")

    def rebind(self: PointTensor, other: Any) -> Any:
        return apply(self.point, other)

    return rebind


for _name in _OPERATORS:
    setattr(PointTensor, f"__i{_name}__", _rebinding(_name))

_OVER_DRAWS = {
    "mean": "expectation()",
    "std": "stdev()",
    "var": "variance()",
    "median": "percentile(50)",
    "quantile": "percentile(100 * q)",
}


def _refuse(name: str) -> NoReturn:
    raise TypeError(
        f".{name}() without dim could mean over draws or over elements: ask for dist.{_OVER_DRAWS[name]} over "
        f"draws, or dist.point.{name}({'q' if name == 'quantile' else ''}) over the elements of the map."
    )


def _names_dim(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether arguments name an axis; ``std(False)`` is torch's old ``unbiased``, not an axis."""
    dim = kwargs.get("dim", kwargs.get("axis", args[0] if args else None))
    return dim is not None and not isinstance(dim, bool)


def _written(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments that ``func`` writes into."""
    name = getattr(func, "__name__", "")
    in_place = name in _WRITERS or (name.endswith("_") and not name.endswith("__") and name not in _HARMLESS)
    written = [kwargs.get("out")]
    if args and (in_place or kwargs.get("inplace") or func == _SET_DATA):
        written.append(args[0])
    return [leaf for each in written for leaf in (each if isinstance(each, (tuple, list)) else [each])]


def _as_plain(result: Any) -> Any:
    """Results in which torch handed back the very tensor it was given."""
    if isinstance(result, PointTensor):
        return result.as_subclass(torch.Tensor)
    if type(result) in {tuple, list}:
        return type(result)(map(_as_plain, result))
    return result
