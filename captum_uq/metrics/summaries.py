"""Curves of several summaries of one distribution, all met by the same fills."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from typing_extensions import Unpack

from captum_uq import stats
from captum_uq.metrics._inputs import as_plain, check_choice
from captum_uq.metrics._options import Baselines, FlippingOptions, Tensors
from captum_uq.metrics._scores import Target
from captum_uq.metrics.curves import PerturbationCurve
from captum_uq.metrics.flipping import pixel_flipping

__all__ = ["DEFAULT_SUMMARIES", "HasDraws", "summary_curves"]

DEFAULT_SUMMARIES = (
    "mean",
    "stdev",
    "cv",
    "snr",
    "percentile:5",
    "percentile:25",
    "percentile:50",
    "percentile:75",
    "percentile:95",
)


_DETERMINISTIC = "deterministic"


class HasDraws(Protocol):
    """Anything with draws of an attribution, a ``DistributionAttribution`` for one."""

    @property
    def draws(self) -> Tensor:
        """The attributions of each draw, shape ``(T, N, *F)``."""


def summary_curves(
    forward_func: Callable[..., Tensor],
    inputs: Tensors,
    distribution: HasDraws | tuple[HasDraws, ...],
    summaries: Sequence[str] = DEFAULT_SUMMARIES,
    per_draw: bool = False,
    baselines: Baselines = None,
    additional_forward_args: Any = None,
    target: Target = None,
    feature_mask: Tensors | None = None,
    *,
    mode: Literal["deletion", "insertion"] = "deletion",
    **options: Unpack[FlippingOptions],
) -> dict[str, PerturbationCurve]:
    """Flip by each summary of a distribution in turn, ready for ``compare``.

    Where the distribution carries the attribution of the network as it stands, its curve comes first, under
    ``"deterministic"``: the baseline of the papers, as in ``compare(curves, reference="deterministic")``.

    Args:
        forward_func: See ``pixel_flipping``.
        inputs: The examples, shape ``(N, *F)``, or a tuple of such.
        distribution: Anything with ``.draws`` of shape ``(T, N, *F)`` and optionally ``.deterministic``; a tuple of
            them for a tuple of inputs.
        summaries: Names that ``captum_uq.stats.summarize`` knows, such as ``"mean"`` or ``"percentile:5"``;
            ``"deterministic"`` may be among them.
        per_draw: Add the curves of every draw's own map, shape ``(T, N, K + 1)``, under ``"draws"``.
        baselines: See ``pixel_flipping``, as all that follows.
        additional_forward_args: Passed after the inputs.
        target: Which output is scored.
        feature_mask: Ids of features that flip together.
        mode: ``"deletion"`` or ``"insertion"``.
        **options: The keyword options of ``pixel_flipping``.

    Returns:
        Curves by name, after ``"deterministic"`` in the order of ``summaries``.

    Raises:
        TypeError: The distribution has no draws.
        ValueError: No summary, ``"deterministic"`` of a distribution without, ``per_draw`` of distributions with unlike
            numbers of draws, or what ``pixel_flipping`` and ``stats.summarize`` raise.

    References:
        [1] Bykov et al., "How much can I trust you?", 2020, equation 5 and figure 4.
        [2] Mulye and Valdenegro-Toro, "Uncertainty quantification for gradient-based explanations in neural
            networks", 2024, modified pixel deletion and insertion.
    """  # noqa: DOC502 (raised by the helpers)
    check_choice("mode", mode, ("deletion", "insertion"))
    parts = distribution if isinstance(distribution, tuple) else (distribution,)
    draws = [_draws(part) for part in parts]
    if per_draw:
        _check_as_many(draws)

    def flip(maps: list[Tensor]) -> PerturbationCurve:
        return pixel_flipping(
            forward_func,
            inputs,
            tuple(maps),
            baselines,
            additional_forward_args,
            target,
            feature_mask,
            mode=mode,
            **options,
        )

    maps = _maps(parts, draws, (summaries,) if isinstance(summaries, str) else summaries)
    if not maps and not per_draw:
        raise ValueError('summaries must name at least one summary, got none. Pass for example ("mean",).')
    curves = {name: flip(several) for name, several in maps.items()}
    if per_draw:
        curves["draws"] = _stack([flip([d[t] for d in draws]) for t in range(len(draws[0]))])
    return curves


def _draws(distribution: HasDraws) -> Tensor:
    draws = getattr(distribution, "draws", None)
    if not isinstance(draws, Tensor):
        raise TypeError(
            f"distribution must have .draws, a tensor (T, N, *F), got {type(distribution).__name__}. Pass what "
            "StochasticAttribution.attribute returned; a single map goes to pixel_flipping."
        )
    return as_plain(draws)


def _maps(parts: tuple[HasDraws, ...], draws: list[Tensor], summaries: Sequence[str]) -> dict[str, list[Tensor]]:
    """The map of each summary for each input, that of the plain network first where it is known.

    Raises:
        ValueError: It is asked for and not known, or no statistic has a name.
    """
    fixed = [getattr(part, "deterministic", None) for part in parts]
    known = [as_plain(f).expand_as(d[0]) for f, d in zip(fixed, draws, strict=True) if isinstance(f, Tensor)]
    maps = {_DETERMINISTIC: known} if len(known) == len(parts) else {}
    if _DETERMINISTIC in summaries and not maps:
        raise ValueError(
            "'deterministic' is the attribution of the network as it stands, which the distribution does not carry. "
            "Make it with return_deterministic=True, or leave the name out."
        )
    return maps | {name: [stats.summarize(d, name) for d in draws] for name in summaries if name != _DETERMINISTIC}


def _check_as_many(draws: list[Tensor]) -> None:
    """Refuse distributions whose draws do not go in pairs.

    Raises:
        ValueError: They do not.
    """
    numbers = [len(each) for each in draws]
    if len(set(numbers)) > 1:
        raise ValueError(
            f"per_draw takes one draw of each distribution at a time, they have {numbers} draws. Draw as many of each, "
            "from one seed, or leave per_draw out."
        )


def _stack(curves: list[PerturbationCurve]) -> PerturbationCurve:
    scores = torch.stack([curve.scores for curve in curves])
    return replace(curves[0], scores=scores, tie_fraction=torch.stack([curve.tie_fraction for curve in curves]))
