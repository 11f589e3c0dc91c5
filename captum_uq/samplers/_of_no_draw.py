"""The weights that a module has of its own while it runs with those of many draws: to compute with them is an error.

Who can compute with those of all draws finds them there too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_uq._inside import replace_tensors
from captum_uq.samplers._order import Order
from captum_uq.samplers._prefix import CannotFoldError

_ONE_DRAW = "what reads weights that are drawn must meet those of one draw"

_WHAT_IT_IS = frozenset(
    getattr(torch.Tensor, name).__get__
    for name in ("shape", "dtype", "device", "layout", "ndim", "requires_grad", "is_cuda", "is_nested")
) | {
    *(torch.Tensor.size, torch.Tensor.dim, torch.Tensor.numel, torch.Tensor.is_floating_point),
    *(torch.Tensor.is_complex, torch.Tensor.__len__),
}


class OfNoDraw(torch.Tensor):
    """A tensor whose shape and kind may be asked for, and whose values may not.

    Attributes:
        of_draws: Gives its values in every draw, ``(D, *shape)``.
        under_way: Tells how the rows of the draws lie in the forward under way; raises `CannotFoldError` outside one.
    """

    of_draws: Callable[[], Tensor]
    under_way: Callable[[], Order]

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer what does not depend on the values.

        Raises:
            CannotFoldError: It does.
        """
        if func not in _WHAT_IT_IS:
            raise CannotFoldError(_ONE_DRAW)
        answered: Any = super()
        return answered.__torch_function__(func, types, args, kwargs)

    @classmethod
    def of(cls, tensor: Tensor, of_draws: Callable[[], Tensor], under_way: Callable[[], Order]) -> OfNoDraw:
        """One that stands for a parameter or a buffer."""
        made = tensor.detach().requires_grad_(tensor.requires_grad).as_subclass(cls)
        made.of_draws, made.under_way = of_draws, under_way
        return made


class OnlyDrawn(TorchFunctionMode):
    """Refuses every computation with weights that are drawn, wherever they were found: in a list, by `parameters`.

    Args:
        own: The network's own tensors that are drawn.
        watched: Whether a forward is under way, in which none may compute with them.
    """

    def __init__(self, own: Iterable[Tensor], watched: Callable[[], bool]) -> None:
        super().__init__()
        self._own, self._watched = {id(tensor): tensor for tensor in own}, watched

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run what computes with other tensors.

        Raises:
            CannotFoldError: It computes with one of them.
        """
        kwargs = kwargs or {}
        if self._watched() and func not in _WHAT_IT_IS and (self._among(args) or self._among(kwargs.values())):
            raise CannotFoldError(_ONE_DRAW)
        return func(*args, **kwargs)

    def _among(self, values: Iterable[Any]) -> bool:
        """Whether some of a function's arguments are such tensors, or lists of them: a walk over trees takes longer."""
        own = self._own
        return any(id(value) in own or (isinstance(value, (tuple, list)) and self._among(value)) for value in values)


class _StandIns(dict[str, Any]):
    """A module's own tensors, of which some are looked up as `OfNoDraw`; walks over all of them see what there is."""

    def __init__(self, own: dict[str, Any], stand_ins: dict[str, OfNoDraw], hidden: Callable[[], bool]) -> None:
        super().__init__(own)
        self._stand_ins, self._hidden = stand_ins, hidden

    def __getitem__(self, name: str) -> Any:
        return self._stand_ins[name] if name in self._stand_ins and self._hidden() else super().__getitem__(name)


class Hidden(contextlib.AbstractContextManager["Hidden"]):
    """Hides tensors of a module from whatever looks them up: hooks, rules of LRP, the forward of a module around it.

    Args:
        module: The module.
        names: The tensors, by their names in it.
        of_draws: Gives the values of one in every draw, ``(D, *shape)``, by its name.
        under_way: How the rows of the draws lie in the forward under way.
    """

    def __init__(
        self,
        module: nn.Module,
        names: Iterable[str],
        of_draws: Callable[[str], Tensor],
        under_way: Callable[[], Order],
    ) -> None:
        self._module, self._of_draws, self._under_way = module, of_draws, under_way
        self._hidden, self._undo = True, contextlib.ExitStack()
        self._inside: dict[str, dict[str, str]] = {}
        for name in names:
            path, _, last = name.rpartition(".")
            self._inside.setdefault(path, {})[last] = name

    def __enter__(self) -> Hidden:
        with contextlib.ExitStack() as undo:
            for path, names in self._inside.items():
                undo.callback(replace_tensors(self._module.get_submodule(path), partial(self._stand_ins, names)))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._undo.close()

    def _stand_ins(self, names: dict[str, str], own: dict[str, Any]) -> dict[str, Any]:
        stand_ins = {
            name: OfNoDraw.of(own[name], partial(self._of_draws, whole), self._under_way)
            for name, whole in names.items()
            if own.get(name) is not None
        }
        return _StandIns(own, stand_ins, lambda: self._hidden)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """For the time of the module's own forward."""
        self._hidden = False
        try:
            yield
        finally:
            self._hidden = True
