"""What "the same numbers by any road" means."""

from __future__ import annotations

from typing import Any

import torch

from methods import tensors


def hold_equal(result: Any, reference: Any, tolerance: float = 1e-5) -> None:
    """Draws to ``tolerance`` of the largest attribution or output: a convergence delta is about 0."""
    one, other = tensors(result), tensors(reference)
    scale = max((float(leaf.draws.abs().max()) for leaf in other if leaf.numel()), default=0.0)
    predictions = [leaf.predictions.outputs for leaf in other if leaf.predictions is not None]
    scale = max([scale, *(float(outputs.abs().max()) for outputs in predictions)])
    for ours, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(ours.draws, theirs.draws, rtol=0, atol=tolerance * scale, equal_nan=True)
        torch.testing.assert_close(ours.deterministic, theirs.deterministic, equal_nan=True)
        if theirs.predictions is not None:
            outputs, expected = ours.predictions.outputs, theirs.predictions.outputs
            torch.testing.assert_close(outputs, expected, rtol=0, atol=tolerance * float(expected.abs().max()))
