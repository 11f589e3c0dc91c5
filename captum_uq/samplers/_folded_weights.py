"""Many draws of weights at once: the modules whose weights are drawn run for all draws."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._inside import as_written, hooked_inside, named_tensors, without_hooks
from captum_uq._trees import leaves, tree_map
from captum_uq.samplers._affine_layers import affine_layer, affine_of_draws
from captum_uq.samplers._drawn_tensors import DrawnTensors
from captum_uq.samplers._forward import Forward, replace_forward
from captum_uq.samplers._of_no_draw import Hidden, OnlyDrawn
from captum_uq.samplers._order import Order
from captum_uq.samplers._prefix import CannotFoldError
from captum_uq.samplers._rows import Rows


class FoldedWeights(AbstractContextManager[None]):
    """A context inside which each row of a forward meets the weights of its own draw.

    Args:
        model: The network.
        draws: The weights that each draw changes, by name.
        rows: Tells which of the draws each row belongs to.
    """

    def __init__(self, model: nn.Module, draws: Sequence[Mapping[str, Tensor]], rows: Rows) -> None:
        self._model, self._draws, self._rows = model, draws, rows
        self._inside = 0
        self._undo = ExitStack()

    def __enter__(self) -> None:
        names = {name for weights in self._draws for name in weights}
        self._rows.checked.meet(names)
        with ExitStack() as undo:
            whole = list[Tensor]()
            for module, weights in _by_module(self._model, names):
                every = {key: _tensor(module, key) for key in weights}
                whole += every.values()
                own = {key: (first, every[key].detach()) for key, first in weights.items()}
                drawn = DrawnTensors(self._draws, own)
                hidden = undo.enter_context(Hidden(module, own, drawn.stack, self._under_way))
                undo.callback(replace_forward(module, self._for_all_draws(module, drawn, hidden)))
                undo.callback(self._rows.part_before(module))
            undo.enter_context(OnlyDrawn(whole, lambda: self._rows.draws is not None and not self._inside))
            self._undo = undo.pop_all()

    def __exit__(self, *exception: object) -> None:
        self._undo.close()

    def _under_way(self) -> Order:
        """How the rows of the draws lie in the forward under way.

        Raises:
            CannotFoldError: There is none, or its draws have different numbers of rows.
        """
        if self._rows.draws is None:
            raise CannotFoldError("a module with drawn weights runs outside the network's forward")
        return self._rows.order

    @contextmanager
    def _running(self) -> Iterator[None]:
        """While a module runs with weights of its own."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def _for_all_draws(self, module: nn.Module, drawn: DrawnTensors, own: Hidden) -> Callable[[Forward], Forward]:
        """A forward of the module for all draws, without its hooks: those stay around it."""
        bare = without_hooks(module)
        affine = affine_layer(module, drawn.names)

        def forward(*args: Any, **kwargs: Any) -> Any:
            arguments = (args, kwargs)
            order = self._under_way()
            if hooked_inside(module):
                raise CannotFoldError("a hook inside a module with weights of its own would see no tensors of one draw")
            size = order.rows.numel()
            if not self._rows.checked.rows(arguments, size):
                raise CannotFoldError("a module with drawn weights takes nothing of which the first dimension is rows")
            apart = tree_map(lambda leaf: order.apart(leaf) if leaf.shape[:1] == (size,) else leaf, arguments)
            stacks = drawn.of(order) if affine is not None and len(args) == 1 else None
            if affine is not None and stacks is not None:
                return order.together(affine_of_draws(affine, stacks, apart[0][0]))
            with own.shown(), self._running():
                return tree_map(order.together, _for_each_draw(bare, drawn, order, arguments, apart))

        return lambda inner: forward


def _for_each_draw(module: nn.Module, drawn: DrawnTensors, order: Order, arguments: Any, apart: Any) -> Any:
    """What a module gives for all draws.

    Args:
        module: The module.
        drawn: Its tensors in each draw.
        order: How the rows of the draws lie.
        arguments: What it is called with, positional and by keyword.
        apart: The same with the rows of each draw apart, ``(D, U, *row)``; what has no rows is as it was.

    Returns:
        A tree with leaves ``(D, U, *outputs)``.
    """
    pairs = zip(leaves(arguments), leaves(apart), strict=True)
    rows, made = [parted for whole, parted in pairs if parted is not whole], list[Any]()

    def one(weights: dict[str, Tensor], *own: Tensor) -> tuple[Tensor, ...]:
        of_draw = iter(own)
        args, kwargs = tree_map(lambda whole, parted: whole if parted is whole else next(of_draw), arguments, apart)
        made.append(torch.func.functional_call(module, weights, args, kwargs))
        return tuple(leaves(made[-1]))

    results = iter(drawn.run(one, order, rows))
    return tree_map(lambda _: next(results), made[-1])


def _by_module(model: nn.Module, names: Container[str]) -> list[tuple[nn.Module, dict[str, str]]]:
    """The modules whose forwards use drawn weights, with their weights: name in the module -> name in the draw.

    A module inside another that has drawn weights of its own is run by that one; one of two names is taken once.
    """
    first, every = dict[int, str](), named_tensors(model)
    for name, tensor in every:
        first.setdefault(id(tensor), as_written(name))
    drawn = {name: first[id(tensor)] for name, tensor in every if first[id(tensor)] in names}
    owners = {name.rpartition(".")[0] for name in drawn}
    outermost = {owner for owner in owners if not any(_inside(owner, other) for other in owners)}
    modules = dict(model.named_modules(remove_duplicate=False))
    once = {modules[owner]: owner for owner in sorted(outermost, reverse=True)}
    return [
        (module, {name[len(owner) + bool(owner) :]: drawn[name] for name in drawn if _owns(owner, name)})
        for module, owner in once.items()
    ]


def _inside(name: str, other: str) -> bool:
    return name != other and (not other or name.startswith(f"{other}."))


def _owns(owner: str, name: str) -> bool:
    return not owner or name.startswith(f"{owner}.")


def _tensor(module: nn.Module, name: str) -> Tensor:
    path, _, last = name.rpartition(".")
    tensor: Tensor = getattr(module.get_submodule(path), last)
    return tensor
