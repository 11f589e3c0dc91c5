"""What Captum takes and returns - a tensor, a tuple of tensors, tuples of tuples, a result object - as one tree."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor


def tree_map(fn: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Apply ``fn`` to every tensor of ``tree`` and to its counterparts in ``rest``.

    Args:
        fn: Takes one tensor of each tree.
        tree: A tensor, or a tuple, list, dict or dataclass of trees; anything else is kept as it is.
        rest: Trees of the same structure.

    Returns:
        A tree of the same structure and types.
    """
    if isinstance(tree, Tensor):
        return fn(tree, *rest)
    if isinstance(tree, (tuple, list)):
        parts = [tree_map(fn, *items) for items in zip(tree, *rest, strict=True)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    if isinstance(tree, dict):
        return {key: tree_map(fn, value, *(other[key] for other in rest)) for key, value in tree.items()}
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        result = copy.copy(tree)
        for name in _state(tree):
            setattr(result, name, tree_map(fn, getattr(tree, name), *(getattr(other, name) for other in rest)))
        return result
    return tree


def leaves(tree: Any) -> Iterator[Tensor]:
    """The tensors of a tree, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        yield from leaves(list(tree.values()))
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        yield from leaves([getattr(tree, name) for name in _state(tree)])


def _state(tree: Any) -> list[str]:
    """Field names of a dataclass that this object has set."""
    return [field.name for field in dataclasses.fields(tree) if hasattr(tree, field.name)]


def batch_size(tensors: Iterable[Tensor]) -> int:
    """How many examples there are: the first tensor with a dimension tells."""
    return next((tensor.shape[0] for tensor in tensors if tensor.dim()), 1)


def first_row(tree: Any, copies: int = 1) -> Any:
    """The first example of every batched tensor of a tree of inputs.

    Every tensor with as many entries in its first dimension as the first tensor is batched.

    Args:
        tree: The inputs, batched tensors ``(N, *F)``.
        copies: How many rows to make of the first.

    Returns:
        The tree with batched tensors ``(copies, *F)``, on memory of its own: a network may write into its inputs. The
        example of an empty batch is of zeros.
    """
    size = batch_size(leaves(tree))

    def rows(leaf: Tensor) -> Tensor:
        if not leaf.dim() or leaf.shape[0] != size:
            return leaf.clone()
        first = leaf[:1] if size else leaf.new_zeros(1, *leaf.shape[1:])
        return first.expand(copies, *leaf.shape[1:]).clone()

    return tree_map(rows, tree)
