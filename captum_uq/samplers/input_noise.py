"""Noise on the inputs: SmoothGrad's distribution, one draw of it held for a whole attribution."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from captum_uq._model_state import preserved
from captum_uq._rng import generator
from captum_uq._trees import first_row, tree_map
from captum_uq.samplers._forward import Forward, replace_forward
from captum_uq.samplers._numbers import is_spread, is_whole
from captum_uq.samplers.base import BoundSampler, CannotFoldError, NothingToDrawError, Rows, Sampler

Argument = int | str


class InputNoise(Sampler):
    """Draws of a network by Gaussian noise on its inputs: network ``t`` is ``x -> model(x + std * z_t)``.

    A perturbation, not a posterior: it tells how an explanation moves with the input, not what the network does not
    know. One ``z_t``, of one row's shape, is added to every row of every forward pass of the draw, so that the steps
    and baselines of a method meet the same shift; `captum.attr.NoiseTunnel` draws another for each row.

    Args:
        model: The network; None to find it in the attribution method.
        std: Standard deviation, in the units of the input: a number, or one for each of ``arguments``. SmoothGrad
            takes a tenth to a fifth of the input's range.
        arguments: Which arguments of the model's forward get noise: positions, or names of keyword arguments. They
            are batched tensors of floating point, ``(N, *F)``, and each one is there, or the draw raises.

    Raises:
        TypeError: ``arguments`` are no positions and no names.
        ValueError: ``std`` is no finite number of at least 0, or there is not one for each argument.

    References:
        Smilkov et al., SmoothGrad: removing noise by adding noise, 2017.

    Example:
        >>> model = nn.Linear(3, 1, bias=False)
        >>> network = InputNoise(model, std=0.1).network(0, seed=0)
        >>> x = torch.zeros(2, 3)
        >>> bool((network(x)[0] == network(x)[1]).all()), bool((network(x) == model(x)).any())
        (True, False)
    """

    kind: ClassVar[str] = "perturbation"

    def __init__(
        self,
        model: nn.Module | None = None,
        *,
        std: float | Sequence[float] = 0.1,
        arguments: Argument | Sequence[Argument] = 0,
    ) -> None:
        super().__init__(model)
        self.arguments = _checked_arguments(arguments)
        stds = tuple(std) if isinstance(std, Iterable) else (std,) * len(self.arguments)
        if len(stds) != len(self.arguments) or not all(map(is_spread, stds)):
            raise ValueError(
                f"std is a finite number of at least 0, or one for each of {len(self.arguments)} arguments, "
                f"got {std!r}."
            )
        self.stds = tuple(map(float, stds))

    def bind(self, model: nn.Module) -> BoundSampler:
        """The draws of ``model``.

        Raises:
            NothingToDrawError: ``std`` is 0.
        """
        if not any(self.stds):
            raise NothingToDrawError(f"{self!r} has nothing to draw: it needs a standard deviation above 0.")
        return _BoundNoise(self, model)

    def __repr__(self) -> str:
        std = self.stds[0] if len(set(self.stds)) == 1 else self.stds
        return f"InputNoise(std={std!r}{'' if self.arguments == (0,) else f', arguments={self.arguments!r}'})"


def _checked_arguments(arguments: object) -> tuple[Argument, ...]:
    """Positions and names as they were given, one or several.

    Raises:
        TypeError: One is neither.
    """
    several = tuple(arguments) if isinstance(arguments, Iterable) and not isinstance(arguments, str) else (arguments,)
    checked = list[Argument]()
    for each in several:
        if not isinstance(each, str) and not is_whole(each):
            raise TypeError(
                "arguments= are positions in the model's forward, counted from 0, or names of its keyword arguments, "
                f"got {each!r}."
            )
        checked.append(each if isinstance(each, str) else int(each))
    return tuple(checked)


class _BoundNoise(BoundSampler):
    def __init__(self, sampler: InputNoise, model: nn.Module) -> None:
        self._sampler = sampler
        self._model = model
        self._probed = False

    def probe(self, forward_func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """See that the forward takes the arguments that noise is added to.

        Raises:
            NothingToDrawError: It does not take one of them, or that is no tensor of floating point.
        """
        try:
            self._see(forward_func, *first_row((args, kwargs)))
        except NothingToDrawError:
            raise
        except Exception:  # some networks need their whole batch, such as that of all nodes of a graph
            self._see(forward_func, *tree_map(torch.clone, (args, kwargs)))
        self._probed = True

    def _see(self, forward_func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run the network once, with noise on its arguments."""
        context = self._noisy((0,), 0)
        with preserved(self._model, buffers=True), torch.no_grad(), context:
            forward_func(*args, **kwargs)
        context.require_all()

    def draw(self, index: int, seed: int) -> AbstractContextManager[object]:
        """The model with this draw's noise on its inputs."""
        return self._noisy((index,), seed, check=not self._probed)

    def folded(self, indices: Sequence[int], seed: int, rows: Rows) -> AbstractContextManager[object]:
        """The model with the noise of its own draw on each row of its inputs."""
        return self._noisy(indices, seed, rows)

    def _noisy(self, indices: Sequence[int], seed: int, rows: Rows | None = None, check: bool = False) -> _NoisyForward:
        return _NoisyForward(self._model, self._sampler, indices, seed, rows, check)


class _NoisyForward(AbstractContextManager[None]):
    """A context inside which a model's forward adds fixed noise to its arguments.

    Args:
        model: The network.
        sampler: Has the standard deviations of its arguments.
        indices: The draws, `D` of them: one without ``rows``.
        seed: Seed of the draws.
        rows: Tells which of several draws each row belongs to.
        check: Whether the first forward is to have all of the arguments, where no probe has seen them.
    """

    def __init__(
        self,
        model: nn.Module,
        sampler: InputNoise,
        indices: Sequence[int],
        seed: int,
        rows: Rows | None,
        check: bool,
    ) -> None:
        self._model, self._shown, self._rows, self._check = model, repr(sampler), rows, check
        self._stds = dict(zip(sampler.arguments, sampler.stds, strict=True))
        self._found = set[Argument]()
        self._indices, self._seed = indices, seed
        self._noise: dict[Any, Tensor] = {}
        self._undo = ExitStack()

    def __enter__(self) -> None:
        self._undo.callback(replace_forward(self._model, lambda inner: functools.partial(self._forward, inner)))
        if self._rows is not None:
            self._undo.callback(self._rows.part_before(self._model))

    def __exit__(self, *exception: object) -> None:
        self._undo.close()

    def require_all(self) -> None:
        """Refuse a forward without some of the arguments: their noise would be missing, and nothing would show it.

        Raises:
            NothingToDrawError: Some are not there, or no tensors of floating point.
        """
        missing = [name for name, std in self._stds.items() if std and name not in self._found]
        if missing:
            raise NothingToDrawError(
                f"{self._shown} found nothing to draw in {type(self._model).__name__}: it looks for tensors of "
                f"floating point among the arguments of its forward, and {missing} of {list(self._stds)} are none. "
                "Name those that are (arguments=: positions as they are called, or names of keyword arguments), or, "
                "where the inputs are tokens, use a sampler of weights such as NoiseGrad."
            )

    def _forward(self, inner: Forward, *args: Any, **kwargs: Any) -> Any:
        noisy_args = [self._noisy(position, value) for position, value in enumerate(args)]
        noisy_kwargs = {name: self._noisy(name, value) for name, value in kwargs.items()}
        if self._check:
            self.require_all()
        return inner(*noisy_args, **noisy_kwargs)

    def _noisy(self, argument: Argument, value: Any) -> Any:
        """An argument of the forward, with noise where it gets some.

        Raises:
            CannotFoldError: It has not one row for each of the rows' draws.
        """
        std = self._stds.get(argument, 0.0)
        if not std or not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        self._found.add(argument)
        noise = self._of_draws(argument, value)
        if self._rows is None:
            return value + std * noise[0]
        draws = self._rows.draws
        if draws is None or len(draws) != len(value):
            raise CannotFoldError("the noise is on an argument that has not one row for each draw")
        return value + std * noise[draws]

    def _of_draws(self, argument: Argument, value: Tensor) -> Tensor:
        """The noise of one row in every draw, shape ``(D, *F)``: one for each shape."""
        key = (argument, value.shape[1:], value.dtype, value.device)
        if key not in self._noise:
            rngs = (generator(self._seed, "InputNoise", index, str(argument)) for index in self._indices)
            noise = [rng.standard_normal(tuple(value.shape[1:]), dtype=np.float32) for rng in rngs]
            self._noise[key] = torch.as_tensor(np.asarray(noise)).to(value)
        return self._noise[key]
