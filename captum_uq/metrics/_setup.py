"""From the arguments of a flipping to the numbers it runs on, and the last check of what came out."""

import torch
from torch import Tensor

from captum_uq.metrics._noise import ExampleNoise, fill_stream
from captum_uq.metrics._options import Baselines
from captum_uq.metrics._rows import PerturbFunction
from captum_uq.metrics.fills import Constant, Fill

__all__ = ["check_scores", "prepare_fills"]


def prepare_fills(
    inputs: tuple[Tensor, ...],
    baselines: Baselines,
    perturb_func: Fill | tuple[Fill, ...] | PerturbFunction | None,
    noise: ExampleNoise,
) -> tuple[tuple[Fill, ...] | PerturbFunction, tuple[Tensor, ...]]:
    """Settle what flipped features become, and make the values once for all steps.

    Args:
        inputs: Tensors of shape ``(N, *F)``.
        baselines: Numbers or tensors.
        perturb_func: A fill, one for each input, or a function.
        noise: The random numbers of the examples.

    Returns:
        The fill of each input and its values; or the function and no values.

    Raises:
        TypeError: ``perturb_func`` is neither a fill nor a function.
        ValueError: Both ways at once, or not one baseline or fill for each input.
    """  # noqa: DOC502 (one is raised by the helper)
    if perturb_func is not None and baselines is not None:
        raise ValueError(
            "baselines and perturb_func both say what a flipped feature becomes, got both. Leave one of them out."
        )
    fills = _constants(baselines, len(inputs)) if perturb_func is None else _fills(perturb_func, len(inputs))
    if not isinstance(fills, tuple):
        return fills, ()
    values = tuple(f.values(x, noise, fill_stream(i)) for i, (f, x) in enumerate(zip(fills, inputs, strict=True)))
    return fills, values


def _fills(
    perturb_func: Fill | tuple[Fill, ...] | PerturbFunction, n_inputs: int
) -> tuple[Fill, ...] | PerturbFunction:
    if isinstance(perturb_func, Fill):
        return (perturb_func,) * n_inputs
    if isinstance(perturb_func, tuple) and len(perturb_func) == n_inputs:
        if all(isinstance(fill, Fill) for fill in perturb_func):
            return perturb_func
    elif callable(perturb_func) and not isinstance(perturb_func, type):
        return perturb_func
    raise TypeError(
        "perturb_func must be a fill, a tuple with one for each input, or a function (rows, flipped) -> rows; got "
        f"{perturb_func!r} for {n_inputs} input{'s' * (n_inputs > 1)}. Make one, as in GaussianBlur()."
    )


def _constants(baselines: Baselines, n_inputs: int) -> tuple[Fill, ...]:
    several = baselines if isinstance(baselines, tuple) else (0 if baselines is None else baselines,) * n_inputs
    if len(several) != n_inputs or (isinstance(baselines, Tensor) and n_inputs > 1):
        raise ValueError(
            f"baselines must hold one value for each input, got {len(several) if isinstance(baselines, tuple) else 1} "
            f"for {n_inputs} input{'s' * (n_inputs > 1)}. Pass a tuple of as many; one value for each channel is "
            "torch.tensor([...]).view(1, C, 1, 1)."
        )
    return tuple(Constant(value) for value in several)


def check_scores(scores: Tensor, unranked: Tensor, nan_policy: str) -> Tensor:
    """Apply the policy on NaN to the scores.

    Args:
        scores: Shape ``(N, K + 1)``.
        unranked: Examples without a ranking, shape ``(N,)``, bool.
        nan_policy: ``"raise"`` or ``"propagate"``.

    Returns:
        The scores, NaN for examples without a ranking.

    Raises:
        ValueError: A score is NaN, and the policy is to raise.
    """
    if nan_policy == "propagate":
        return scores.masked_fill(unranked.to(scores.device).unsqueeze(1), torch.nan)
    bad = scores.isnan()
    if bad.any():
        example, step = bad.nonzero()[0].tolist()
        raise ValueError(
            f"scores must be free of NaN, got some for {int(bad.any(1).sum())} of {len(bad)} examples (first: example "
            f'{example} after {step} steps). Check inputs and fills, or pass nan_policy="propagate".'
        )
    return scores
