"""Plain dropout modules in a draw: a mask that is multiplied, where others need every operation watched."""

from __future__ import annotations

from torch import Tensor, nn

from captum_uq.samplers._random_calls import RandomCall

_MASKING = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def is_masking(module: nn.Module) -> bool:
    """Whether a module is one of torch's own that multiply by a mask; one that works in place is not."""
    return type(module) in _MASKING and not module.inplace


def is_mask(calls: list[RandomCall]) -> bool:
    """Whether a use drew one mask for a single row, or nothing."""
    return not calls or (
        len(calls) == 1 and calls[0].kind == "keep" and not calls[0].by_element and calls[0].shape[:1] == (1,)
    )


def fits_mask(calls: list[RandomCall], activations: Tensor) -> bool:
    """Whether what a use drew in the probe is one mask for a row, which any number of rows can share.

    Args:
        calls: The random calls of the use.
        activations: What the module takes, ``(R, *row)``.
    """
    if not calls or not is_mask(calls):
        return False
    pairs = zip(calls[0].shape[1:], activations.shape[1:], strict=False)
    return len(calls[0].shape) == activations.dim() and all(a in (1, b) for a, b in pairs)


def scaled_mask(call: RandomCall, variate: Tensor, like: Tensor) -> Tensor:
    """The mask divided by the share that is kept, in the activations' dtype.

    Args:
        call: The random call.
        variate: Its standard variate, with draws before it or without.
        like: Gives the dtype.
    """
    (keep,) = call.parameters
    return call.value(variate).to(like.dtype).mul_(1 / keep if keep else 0.0)
