"""BatchNorm folded into the linear layer before it, without touching either."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from captum_uq.lrp._affine import order_of, own_tensor
from captum_uq.lrp._producer import Producer, producer_of
from captum_uq.lrp._step import Step
from captum_uq.lrp.passing import PassRule
from captum_uq.lrp.rules import EpsilonRule
from captum_uq.samplers._order import Order

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class BatchNormRule(PassRule):
    """BatchNorm in eval mode is ``s z + t``; with the linear layer that made ``z`` it is one linear layer.

    Relevance of the normalised output goes straight to the inputs of that layer, by the layer's own rule with the
    weight ``s W`` and the bias ``s b + t``. Which layer made ``z`` is seen in the forward pass, not guessed from names,
    and nothing is written into either layer. Where no linear layer made ``z`` (DenseNet normalises concatenations),
    relevance passes unchanged, which is conservative; Captum's epsilon rule is not, because it takes ``t`` for a bias.
    Where ``s`` is not one number for each output of the layer (a Linear layer on a sequence), or the weight is not all
    that the layer is made of, epsilon rules take the two for one layer all the same; with others relevance passes.

    References:
        Hui and Binder, BatchNorm decomposition for deep neural network interpretation, 2019; Guillemot et al.,
        Breaking batch normalization for better explainability of deep neural networks through LRP, 2020.
    """

    def connect(self, step: Step, inputs: tuple[Tensor, ...], value: Tensor | None = None) -> Tensor:
        """The normalised output, whose backward pass is the rule of the layer before.

        Raises:
            ValueError: The normalisation depends on the batch.
        """  # noqa: DOC502
        assert step.module is not None  # a BatchNorm is a module
        order = order_of(step.module, "weight", "bias", "running_mean", "running_var")
        scale, shift = scale_and_shift(step.module, order)
        producer = producer_of(inputs[0])
        folded = None if producer is None else _folded(producer, inputs[0].dim(), scale, shift, order)
        if producer is None or folded is None:
            return super().connect(step, inputs, value)
        output = producer.rule.connect(folded, producer.inputs, step.result())
        for keep in (self._record, *producer.seen_by):
            output.register_hook(keep)
        return output

    def _record(self, relevance: Tensor) -> None:
        """What Captum's LayerLRP reads; folded, the relevance of input and output is the same."""
        self.relevance_output[relevance.device] = self.relevance_input[relevance.device] = relevance.detach()

    def __repr__(self) -> str:
        return "BatchNormRule()"


def _folded(producer: Producer, dims: int, scale: Tensor, shift: Tensor, order: Order | None) -> Step | None:
    """The layer before, whose output has so many dimensions, and the normalisation as one; None where no rule can."""
    before = producer.step
    assert before.affine is not None  # only such steps leave a producer
    if before.affine.has_channels_second(dims) and before.known_weight:
        return before.folded(before.affine.scaled(scale, shift, order))
    if isinstance(producer.rule, EpsilonRule):
        return before.followed(lambda z: _normalised(z, scale, shift, order))
    return None


def _normalised(z: Tensor, scale: Tensor, shift: Tensor, order: Order | None) -> Tensor:
    """``s z + t`` of ``z``, shape ``(N, C, *F)``; of many draws each row's own."""
    scale, shift = (x.reshape(*x.shape[:-1], 1, -1, *[1] * (z.dim() - 2)) for x in (scale, shift))
    return z * scale + shift if order is None else order.together(order.apart(z) * scale + shift)


def scale_and_shift(module: nn.Module, order: Order | None = None) -> tuple[Tensor, Tensor]:
    """``s`` and ``t`` of a BatchNorm, shape ``(C,)`` each; where it is drawn ``(D, C)``.

    Args:
        module: The BatchNorm.
        order: How the rows of the draws lie, where it is drawn.

    Returns:
        ``s = weight / sqrt(var + eps)`` and ``t = bias - s mean``.

    Raises:
        ValueError: It uses the statistics of the batch.
    """
    mean, variance = (own_tensor(module, name, order) for name in ("running_mean", "running_var"))
    if module.training or mean is None or variance is None:
        raise ValueError(
            f"LRP takes BatchNorm for the linear map it is in eval mode, and {type(module).__name__} uses the "
            "statistics of the batch, which mixes the examples. Call model.eval(), or keep running statistics."
        )
    eps: Any = module.eps
    scale = torch.rsqrt(variance + eps)
    weight, bias = (own_tensor(module, name, order) for name in ("weight", "bias"))
    scale = scale if weight is None else scale * weight
    shift = -mean * scale
    return scale, shift if bias is None else shift + bias
