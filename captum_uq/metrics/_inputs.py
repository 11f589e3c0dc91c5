"""What a caller may pass, brought to one form: tuples of plain tensors, options with known values."""

from collections.abc import Collection, Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

__all__ = [
    "as_labels",
    "as_plain",
    "as_tuple",
    "check_choice",
    "check_count",
    "check_inputs",
    "checked_level",
    "precise",
]


def as_plain(tensor: Tensor) -> Tensor:
    """Drop the graph and the subclass of a tensor; the numbers are shared, not copied.

    Args:
        tensor: Any tensor, a ``DistributionAttribution`` included, shape ``(N, *F)``.

    Returns:
        A ``torch.Tensor`` of the same shape that needs no gradient.
    """
    return (tensor if type(tensor) is Tensor else tensor.as_subclass(Tensor)).detach()


def as_tuple(tensors: Tensor | tuple[Tensor, ...], name: str) -> tuple[Tensor, ...]:
    """Bring Captum's tensor-or-tuple to a tuple of plain tensors.

    Args:
        tensors: A tensor ``(N, *F)`` or a tuple of them.
        name: Name of the argument, for the error.

    Returns:
        A tuple of plain tensors.

    Raises:
        TypeError: Something in it is not a tensor.
    """
    several = tensors if isinstance(tensors, tuple) else (tensors,)
    for tensor in several:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{name} must be a tensor or a tuple of tensors, got {type(tensor).__name__}. "
                "Convert it with torch.as_tensor; several inputs go in a tuple."
            )
    return tuple(as_plain(tensor) for tensor in several)


def as_labels(labels: Tensor | Sequence[int], n_examples: int) -> Tensor:
    """The class of each example.

    Args:
        labels: One integer for each.
        n_examples: How many there are, ``N``.

    Returns:
        Shape ``(N,)``, on the CPU.

    Raises:
        ValueError: Not one integer for each.
    """
    try:
        classes = torch.as_tensor(labels).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        classes = torch.empty(())
    if classes.shape != (n_examples,) or classes.is_floating_point() or classes.is_complex():
        raise ValueError(
            f"labels must hold one integer for each of {n_examples} examples, got {labels!r}. Pass the labels of the "
            "same batch, counted from 0."
        )
    return classes


def check_inputs(inputs: tuple[Tensor, ...]) -> int:
    """Check that all inputs hold the same examples, at least one.

    Args:
        inputs: Tensors of shape ``(N, *F)``.

    Returns:
        The number of examples ``N``.

    Raises:
        ValueError: No tensor, no batch dimension, different numbers of examples, or an empty batch.
    """
    sizes = [tuple(tensor.shape[:1]) for tensor in inputs]
    if not sizes or () in sizes or len(set(sizes)) > 1:
        raise ValueError(
            "inputs must all have the examples as their first dimension, as many in each; their shapes are "
            f"{[tuple(tensor.shape) for tensor in inputs]}. Add the batch dimension with .unsqueeze(0)."
        )
    if any(tensor.numel() == 0 for tensor in inputs):
        raise ValueError(
            "inputs hold an empty batch, of which there is no curve; their shapes are "
            f"{[tuple(tensor.shape) for tensor in inputs]}. Skip empty batches before calling."
        )
    return int(inputs[0].shape[0])


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Check a string option.

    Args:
        name: Name of the argument, for the error.
        value: What came.
        choices: What may come.

    Raises:
        ValueError: ``value`` is none of ``choices``.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {sorted(choices)}, got {value!r}. Choose one of these.")


def check_count(name: str, value: object, least: int = 1) -> None:
    """Check an option that counts something.

    Args:
        name: Name of the argument, for the error.
        value: What came.
        least: The smallest value allowed.

    Raises:
        ValueError: ``value`` is not an integer, or is below ``least``.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}. Pass such a number.")


def checked_level(level: float) -> float:
    """A confidence as a float, which float32 of numpy is not.

    Args:
        level: What came.

    Returns:
        The same number.

    Raises:
        ValueError: It is no number in (0, 1).
    """
    if not isinstance(level, Real) or not 0 < level < 1:
        raise ValueError(
            f"level must lie between 0 and 1, got {level!r}. Pass a plain number, 0.95 for a 95% interval."
        )
    return float(level)


def precise(device: torch.device) -> torch.dtype:
    """The widest floating point dtype of a device.

    Args:
        device: Any device.

    Returns:
        ``torch.float64``; ``torch.float32`` on Apple's MPS, which has no other.
    """
    return torch.float32 if device.type == "mps" else torch.float64
