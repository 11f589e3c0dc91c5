"""The model under test: each row with its additional arguments, in the layout in which it runs fastest."""

import contextlib
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from captum_uq._layout import channels_last, convolves, moves, same_outputs
from captum_uq._rng import isolated

__all__ = ["Forward"]


class Forward:
    """A forward function with the additional arguments of each row.

    A module that convolves is shown pictures of float32 on a CPU with their channels last, which often halves its
    time. Its first pass on such pictures tells whether it gives the same then: one row is run as it lies too. A module
    that does not, or that raises (``x.view(len(x), -1)`` behind a convolution), sees rows as they lie.

    Args:
        forward_func: Called as ``forward_func(*inputs, *additional_forward_args)``.
        additional_forward_args: Tensors of ``N`` rows follow their example, anything else is passed as it is.
        inputs: The examples, tensors of shape ``(N, *F)``.
    """

    def __init__(
        self, forward_func: Callable[..., Tensor], additional_forward_args: tuple[Any, ...], inputs: tuple[Tensor, ...]
    ) -> None:
        self.forward_func = forward_func
        self.additional_forward_args = additional_forward_args
        self.n_examples = inputs[0].shape[0]
        self._channels_last = _verdict(forward_func, inputs)

    def __call__(self, rows: tuple[Tensor, ...], examples: Tensor) -> Tensor:
        """Run the model on some rows.

        Args:
            rows: For each input a tensor ``(R, *F)``.
            examples: Example of each row, shape ``(R,)``.

        Returns:
            The outputs, shape ``(R, *O)``.
        """
        if self._channels_last.same is None:
            outputs = self._tried(rows, examples)
            self._channels_last.same = outputs is not None
            if outputs is not None:
                return outputs
        if self._channels_last.same:
            with contextlib.suppress(Exception):  # raised again by the rows as they lie, unless the layout is to blame
                return self._run(tuple(map(channels_last, rows)), examples)
            self._channels_last.same = False
        return self._run(rows, examples)

    def _run(self, rows: tuple[Tensor, ...], examples: Tensor) -> Tensor:
        return self.forward_func(*rows, *(self._follow(arg, examples) for arg in self.additional_forward_args))

    def _follow(self, argument: Any, examples: Tensor) -> Any:
        follows = isinstance(argument, Tensor) and argument.ndim > 0 and len(argument) == self.n_examples
        return argument.index_select(0, examples.to(argument.device)) if follows else argument

    def _tried(self, rows: tuple[Tensor, ...], examples: Tensor) -> Tensor | None:
        """The outputs with the channels last; None where they are not those of the rows as they lie."""
        with isolated(), contextlib.suppress(Exception):
            one = self._run(tuple(x[:1].clone() for x in rows), examples[:1])
            outputs = self._run(tuple(map(channels_last, rows)), examples)
            if same_outputs(outputs[:1], one):
                return outputs
        return None


@dataclass
class _Verdict:
    """Whether a module gives the same with the channels last; None before it was tried."""

    same: bool | None = None


_VERDICTS: weakref.WeakKeyDictionary[nn.Module, dict[Hashable, _Verdict]] = weakref.WeakKeyDictionary()


def _verdict(forward_func: object, inputs: tuple[Tensor, ...]) -> _Verdict:
    """What is known of a forward function on such inputs."""
    if not any(map(moves, inputs)) or not convolves(forward_func):
        return _Verdict(same=False)
    assert isinstance(forward_func, nn.Module)
    structure = tuple((name, type(module), module.training) for name, module in forward_func.named_modules())
    key = structure, tuple((x.shape[1:], x.stride()[1:], x.dtype, x.device) for x in inputs)
    return _VERDICTS.setdefault(forward_func, {}).setdefault(key, _Verdict())
