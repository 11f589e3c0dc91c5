"""Types and checks of the arguments that pixel flipping, insertion and deletion share."""

from collections.abc import Mapping
from numbers import Real
from typing import Literal

from torch import Tensor, nn
from typing_extensions import TypedDict

from captum_uq._warn import warn
from captum_uq.metrics._inputs import check_choice, check_count
from captum_uq.metrics._rows import PerturbFunction
from captum_uq.metrics._scores import SCORES, ScoreFunction
from captum_uq.metrics.fills import Fill

__all__ = ["Baselines", "FlippingOptions", "Tensors", "check_options", "warn_of_live_layers"]

Tensors = Tensor | tuple[Tensor, ...]
Baselines = float | Tensor | tuple[float | Tensor, ...] | None
_CHOICES = {
    "mode": ("deletion", "insertion"),
    "order": ("morf", "lerf", "random"),
    "tie_break": ("stable", "random"),
    "nan_policy": ("raise", "propagate"),
    "group_relevance": ("mean", "sum"),
}


class FlippingOptions(TypedDict, total=False):
    """The keyword options of ``pixel_flipping`` but for ``mode``; its documentation explains each."""

    order: Literal["morf", "lerf", "random"]
    n_steps: int | None
    max_fraction: float
    score: str | ScoreFunction
    perturb_func: Fill | tuple[Fill, ...] | PerturbFunction | None
    seed: int
    tie_break: Literal["stable", "random"]
    nan_policy: Literal["raise", "propagate"]
    group_relevance: Literal["mean", "sum"]
    max_examples_per_batch: int
    show_progress: bool


def check_options(
    choices: Mapping[str, str],
    counts: Mapping[str, int],
    max_fraction: float,
    score: str | ScoreFunction,
    forward_func: object,
) -> None:
    """Check every option whose value alone tells whether it is right.

    Args:
        choices: Options with a few known values, by name.
        counts: Options that count, by name.
        max_fraction: Share of the features flipped at the end.
        score: Name of a score, or a function.
        forward_func: What is to be called.

    Raises:
        TypeError: ``forward_func`` cannot be called.
        ValueError: One of them is out of its range.
    """
    if not callable(forward_func):
        raise TypeError(
            f"forward_func must be a model or a function of the inputs, got {forward_func!r}. For the posterior "
            "predictive mean of a sampler pass sampler.predictive(model, n_draws)."
        )
    for name, value in choices.items():
        check_choice(name, value, _CHOICES[name])
    if not callable(score):
        check_choice("score", score, SCORES)
    for name, count in counts.items():
        check_count(name, count, least=0 if name == "seed" else 1)
    if not isinstance(max_fraction, Real) or not 0 < max_fraction <= 1:
        raise ValueError(
            f"max_fraction must be above 0 and at most 1, got {max_fraction!r}. Pass a plain number such as 0.3."
        )


def warn_of_live_layers(forward_func: object) -> None:
    """Warn of a model whose rows are not independent, or not of one network.

    Args:
        forward_func: A module; other functions cannot be looked into.

    Warns:
        UserWarning: Dropout or batch normalisation is in train mode.
    """
    live = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    modules = forward_func.modules() if isinstance(forward_func, nn.Module) else ()
    if any(module.training and isinstance(module, live) for module in modules):
        warn(
            "forward_func has dropout or batch normalisation in train mode: rows of a forward pass influence each "
            "other or meet different masks, and the curve is not that of one network. Call .eval() first.",
        )
