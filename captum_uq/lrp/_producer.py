"""Which use of a layer a tensor came out of: a BatchNorm, which is one layer with it, asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from captum_uq._tensors import times_written
from captum_uq.lrp._step import Step

if TYPE_CHECKING:
    from captum_uq.lrp.base import LayerRule

_MARK = "_captum_uq_lrp_producer"


class Producer(NamedTuple):
    """A use of a linear layer.

    Attributes:
        rule: The layer's rule.
        step: The use.
        inputs: Its inputs in the network's graph.
        seen_by: Who else is shown the relevance of the output.
        version: How often the output was written to when it was marked.
    """

    rule: LayerRule
    step: Step
    inputs: tuple[Tensor, ...]
    seen_by: tuple[Callable[[Tensor], None], ...] = ()
    version: int | None = None

    def mark(self, output: Tensor) -> None:
        """Have an output know where it came from."""
        setattr(output, _MARK, self._replace(version=times_written(output)))


def producer_of(tensor: Tensor) -> Producer | None:
    """The use of a linear layer whose output a tensor is, unchanged since; None where it is none."""
    producer: Producer | None = getattr(tensor, _MARK, None)
    return producer if producer is not None and times_written(tensor) == producer.version else None


def pass_on(tensor: Tensor, copy: Tensor, keep: Callable[[Tensor], None]) -> None:
    """A copy comes out of what the tensor does; relevance that goes past the copy is shown to ``keep``."""
    producer = producer_of(tensor)
    if producer is not None:
        producer._replace(seen_by=(*producer.seen_by, keep)).mark(copy)
