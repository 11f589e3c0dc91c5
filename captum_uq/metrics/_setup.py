"""From the arguments of a flipping to the numbers it runs on, and the last check of what came out."""

import torch
from torch import Tensor

from captum_uq.metrics._noise import ExampleNoise, fill_stream
from captum_uq.metrics._options import Baselines
from captum_uq.metrics._rows import PerturbFunction
from captum_uq.metrics.fills import Constant, Fill

__all__ = ["check_scores", "prepare_fill"]


def prepare_fill(
    inputs: tuple[Tensor, ...],
    baselines: Baselines,
    perturb_func: Fill | PerturbFunction | None,
    noise: ExampleNoise,
) -> tuple[Fill | PerturbFunction, tuple[Tensor, ...]]:
    """Settle what flipped features become, and make the values once for all steps.

    Args:
        inputs: Tensors of shape ``(N, *F)``.
        baselines: Numbers or tensors.
        perturb_func: A fill or a function.
        noise: The random numbers of the examples.

    Returns:
        The fill and, for each input, its values; no values for a function.

    Raises:
        ValueError: Both ways at once, or not one baseline for each input.
    """
    if perturb_func is not None and baselines is not None:
        raise ValueError(
            "baselines and perturb_func both say what a flipped feature becomes, got both. Leave one of them out."
        )
    if perturb_func is not None and not isinstance(perturb_func, Fill):
        return perturb_func, ()
    fills = [perturb_func] * len(inputs) if perturb_func is not None else _constants(baselines, len(inputs))
    values = tuple(f.values(x, noise, fill_stream(i)) for i, (f, x) in enumerate(zip(fills, inputs, strict=True)))
    return fills[0], values


def _constants(baselines: Baselines, n_inputs: int) -> list[Fill]:
    several = baselines if isinstance(baselines, tuple) else (0 if baselines is None else baselines,) * n_inputs
    if len(several) != n_inputs or (isinstance(baselines, Tensor) and n_inputs > 1):
        raise ValueError(
            f"baselines must hold one value for each input, got {len(several) if isinstance(baselines, tuple) else 1} "
            f"for {n_inputs} inputs. Pass a tuple of as many."
        )
    return [Constant(value) for value in several]


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
