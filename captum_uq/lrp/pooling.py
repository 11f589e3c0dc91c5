"""Max-pooling redistributed as average-pooling."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from captum_uq.lrp._shares import TINY, Shares, apart, stabilized
from captum_uq.lrp._step import Step
from captum_uq.lrp.base import LayerRule

MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
ADAPTIVE_MAX_POOLS = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)

_AVERAGE: tuple[Any, ...] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
_ADAPTIVE: tuple[Any, ...] = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)


class AveragePoolRule(LayerRule):
    """A max-pool passes relevance to its whole window, in proportion to the values, as an average-pool does.

    ``R_i = sum_j x_i / (sum_i' in window j x_i' + epsilon) R_j``. The forward pass stays the maximum's.

    Args:
        epsilon: Stabilizer of the denominator, with its sign; B-LRP's code has 1e-9.

    References:
        Montavon et al., 2019, section 10.3; the code of Bykov et al. (B-LRP), 2020.
    """

    def __init__(self, epsilon: float = TINY) -> None:
        self.epsilon = epsilon

    def relevance(self, step: Step, relevance: Tensor) -> tuple[Tensor, ...]:
        """Relevance of the input.

        Raises:
            TypeError: The layer is no max-pool.
            ValueError: Its windows have gaps.
        """  # noqa: DOC502
        return step.once("average", lambda: self._shares(step, relevance)).of(relevance)

    def _shares(self, step: Step, relevance: Tensor) -> Shares:
        x = apart(step.inputs[0], relevance)
        z = _average(step, x)
        return Shares((x,), z, stabilized(z.detach(), self.epsilon))

    def __repr__(self) -> str:
        return "AveragePoolRule()"


def _average(step: Step, x: Tensor) -> Tensor:
    """The averages over the windows of a max-pool, shape ``(N, C, *windows)``.

    Raises:
        TypeError: The layer is no max-pool.
        ValueError: Its windows have gaps.
    """
    pool = step.module
    if isinstance(pool, ADAPTIVE_MAX_POOLS):
        return _ADAPTIVE[ADAPTIVE_MAX_POOLS.index(_kind(pool, ADAPTIVE_MAX_POOLS))](x, pool.output_size)  # type: ignore[no-any-return]
    if not isinstance(pool, MAX_POOLS):
        raise TypeError(
            f"AveragePoolRule is a rule for max-pooling, and {step.name} is none. An average-pool takes EpsilonRule()."
        )
    if pool.dilation not in (1, (1,) * _dims(pool)):
        raise ValueError(
            f"AveragePoolRule needs windows without gaps, and {step.name} has dilation={pool.dilation}. "
            "Give it EpsilonRule(): the relevance then goes to the largest value."
        )
    average = _AVERAGE[_dims(pool) - 1]
    return average(x, pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)  # type: ignore[no-any-return]


def _dims(pool: nn.Module) -> int:
    return MAX_POOLS.index(_kind(pool, MAX_POOLS)) + 1


def _kind(pool: nn.Module, kinds: tuple[type[nn.Module], ...]) -> type[nn.Module]:
    return next(kind for kind in kinds if isinstance(pool, kind))
