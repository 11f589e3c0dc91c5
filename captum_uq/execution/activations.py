"""How large the activations of a forward are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from captum_uq._trees import leaves


class ActivationBytes(TorchDispatchMode):
    """Adds up the size of what every operation makes of activations; views take none.

    Args:
        weights: Of the network. Copies of them are no more for more rows.
    """

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.total = 0
        self._weights = {weight.untyped_storage().data_ptr() for weight in weights}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {leaf.untyped_storage().data_ptr() for leaf in leaves((args, kwargs or {}))}
        if not given or given - self._weights:
            self.total += sum(leaf.nbytes for leaf in leaves(result) if leaf.untyped_storage().data_ptr() not in given)
        return result
