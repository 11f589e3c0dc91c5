"""A distribution on another device, in another dtype, or copied."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from captum_uq.distribution.accessors import DrawStatistics
from captum_uq.distribution.change import convert_record
from captum_uq.distribution.checks import point_estimate
from captum_uq.distribution.record import Record
from captum_uq.distribution.tensor import PointTensor


class MovableDistribution(DrawStatistics, PointTensor):
    """What of torch's moves and conversions keeps the distribution."""

    @classmethod
    def _of(cls, record: Record, point: Tensor | None = None) -> Self:
        """The distribution of a record; ``point`` where its own values are known already."""
        if point is None:
            point = point_estimate(record.store, record.summary, record.deterministic)
        dist = point.as_subclass(cls)
        dist._record = record
        return dist

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Moves or converts values, draws and deterministic map as ``torch.Tensor.to``.

        Predictions and a tensor target follow to the device and keep their dtype.
        """
        point = self.point.to(*args, **kwargs)
        kwargs.pop("memory_format", None)  # of the map; draws have one axis more

        def convert(maps: Tensor) -> Tensor:
            return maps.to(*args, **kwargs) if args or kwargs else maps

        return self._of(convert_record(self._record, convert, point.device), point)

    def cpu(self, memory_format: torch.memory_format = torch.preserve_format) -> Self:
        """Everything in CPU memory."""
        return self.to("cpu", memory_format=memory_format)

    def cuda(
        self,
        device: torch.device | str | int | None = None,
        non_blocking: bool = False,
        memory_format: torch.memory_format = torch.preserve_format,
    ) -> Self:
        """Everything on a CUDA device, by default the current one."""
        device = "cuda" if device is None else device
        return self.to(device, non_blocking=non_blocking, memory_format=memory_format)

    def float(self, **kwargs: Any) -> Self:
        """Values and draws in float32."""
        return self.to(torch.float32, **kwargs)

    def double(self, **kwargs: Any) -> Self:
        """Values and draws in float64."""
        return self.to(torch.float64, **kwargs)

    def half(self, **kwargs: Any) -> Self:
        """Values and draws in float16."""
        return self.to(torch.float16, **kwargs)

    def bfloat16(self, **kwargs: Any) -> Self:
        """Values and draws in bfloat16."""
        return self.to(torch.bfloat16, **kwargs)

    def detach(self) -> Self:
        """The same distribution on the same memory, its own values outside any graph."""
        return self._of(self._record, self.point.detach())

    def clone(self, **kwargs: Any) -> Self:
        """A copy of values, draws and everything else, as ``torch.Tensor.clone``."""
        return self._of(copy.deepcopy(self._record), self.point.clone(**kwargs))

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Sets the flag of its own values, as ``torch.Tensor.requires_grad_``; the draws have no graph."""
        super().requires_grad_(requires_grad)
        return self
