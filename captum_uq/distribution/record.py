"""What a DistributionAttribution remembers beside its own values, and the checks it passes on the way in."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from captum_uq import stats
from captum_uq.distribution.predictions import Predictions

NAN_POLICIES = ("raise", "propagate")

Target = int | tuple[int, ...] | Tensor | list[int] | list[tuple[int, ...]] | None
"""What Captum takes as ``target``."""

Source = tuple[str | None, int | None]
"""The sampler and the seed that draws came from."""


@dataclass(frozen=True)
class Record:
    """The draws behind a point estimate and how they came about."""

    draws: Tensor  # shape: (T, *shape)
    summary: stats.Summary
    deterministic: Tensor | None  # shape: (*shape)
    predictions: Tensor | None  # shape: (T, N, ...), or (T, ...) once has_examples is False
    sources: tuple[Source, ...]
    method: str | None
    target: Target
    nan_policy: str
    has_examples: bool  # whether dim 0 of shape is the batch of N examples
    own_predictions: Tensor | None = None  # shape: (N, ...), of the network as it stands

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, as they are: ``dataclasses.asdict`` would copy the tensors."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def n_examples(self) -> int | None:
        """Examples in the batch; None where dim 0 is not the batch."""
        return self.draws.shape[1] if self.has_examples else None

    def target_per_example(self) -> bool:
        """Whether the target is a list or a tensor with one entry for each example."""
        if isinstance(self.target, Tensor):
            return self.target.ndim > 0 and len(self.target) == self.n_examples
        return isinstance(self.target, list) and len(self.target) == self.n_examples

    def predictions_per_example(self) -> bool:
        """Whether axis 1 of the predictions is the batch."""
        return self.predictions is not None and self.predictions.shape[1:2] == (self.n_examples,)


class Recorded:
    """What a distribution tells about its record."""

    _record: Record

    @property
    def draws(self) -> Tensor:
        """The attributions of all draws, a plain tensor of shape ``(T, *shape)``."""
        return self._record.draws

    @property
    def n_draws(self) -> int:
        """The number of draws, ``T``."""
        return len(self._record.draws)

    @property
    def deterministic(self) -> Tensor | None:
        """The attribution of the network as it stands, shape ``(*shape)``."""
        return self._record.deterministic

    @property
    def predictions(self) -> Predictions | None:
        """The outputs of each draw, shape ``(T, N, ...)``, with their summaries: entropy, flip rate, ..."""
        outputs = self._record.predictions
        return None if outputs is None else Predictions.of(outputs, self._record.own_predictions)

    @property
    def seed(self) -> int | tuple[int | None, ...] | None:
        """The seed of the draws; one for each part after a merge."""
        seeds = tuple(seed for _, seed in self._record.sources)
        return seeds if len(seeds) > 1 else seeds[0]

    @property
    def sampler(self) -> str | None:
        """What drew, as text; joined by ``+`` after a merge of different samplers."""
        known = dict.fromkeys(sampler for sampler, _ in self._record.sources if sampler is not None)
        return " + ".join(known) or None

    @property
    def method(self) -> str | None:
        """The attribution method, as text."""
        return self._record.method

    @property
    def target(self) -> Target:
        """The target as it was given to the method."""
        return self._record.target

    @property
    def summary(self) -> stats.Summary:
        """What its own values are: the name or the function that was asked for."""
        return self._record.summary


def plain(tensor: Tensor) -> Tensor:
    """``tensor`` without graph and without subclass, on the same memory."""
    return tensor.detach().as_subclass(torch.Tensor)


def checked_draws(draws: Tensor, nan_policy: str) -> Tensor:
    """Draws as they are kept: detached, at least one, and finite unless the policy lets NaN pass.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        nan_policy: ``"raise"`` or ``"propagate"``.

    Returns:
        ``draws``, detached, as a plain tensor on the same memory.

    Raises:
        TypeError: If ``draws`` is not a tensor.
        ValueError: If there is no draw, a draw is not finite, or the policy is unknown.
    """
    if nan_policy not in NAN_POLICIES:
        raise ValueError(f"nan_policy is one of {NAN_POLICIES}, got {nan_policy!r}.")
    if not isinstance(draws, Tensor):
        raise TypeError(
            f"DistributionAttribution needs a tensor of draws, got {type(draws).__name__}; torch.stack them."
        )
    if draws.ndim == 0 or len(draws) == 0:
        raise ValueError(
            f"DistributionAttribution needs at least 1 draw on the first axis (T, *shape), "
            f"got shape {tuple(draws.shape)}."
        )
    if nan_policy == "raise" and not bool(torch.isfinite(draws).all()):
        bad = [index for index, draw in enumerate(draws) if not bool(torch.isfinite(draw).all())]
        raise ValueError(
            f"draw {bad[0]} holds NaN or infinity ({len(bad)} of {len(draws)} draws do). Replay that draw to "
            'find the cause, or pass nan_policy="propagate" to keep it.'
        )
    return plain(draws)


def checked_deterministic(deterministic: Tensor | None, draws: Tensor) -> Tensor | None:
    """The deterministic map, once it is known to have the shape of a draw.

    Args:
        deterministic: Attribution of the network as it stands, shape ``(*shape)``.
        draws: Attributions, shape ``(T, *shape)``.

    Returns:
        ``deterministic`` detached, or None.

    Raises:
        ValueError: If its shape is not that of a draw.
    """
    if deterministic is None:
        return None
    if deterministic.shape != draws.shape[1:]:
        raise ValueError(
            f"the deterministic map has the shape of a draw, {tuple(draws.shape[1:])}; "
            f"got {tuple(deterministic.shape)}."
        )
    return plain(deterministic)


def checked_predictions(predictions: Tensor | None, draws: Tensor) -> Tensor | None:
    """The predictions, once there is known to be one entry for each draw.

    Args:
        predictions: Outputs of each draw, shape ``(T, N, ...)``.
        draws: Attributions, shape ``(T, *shape)``.

    Returns:
        ``predictions`` detached, or None.

    Raises:
        ValueError: If the first axis is not that of the draws.
    """
    if predictions is None:
        return None
    if predictions.shape[:1] != draws.shape[:1]:
        raise ValueError(
            f"predictions have one entry for each of the {len(draws)} draws, (T, N, ...); "
            f"got shape {tuple(predictions.shape)}."
        )
    return plain(predictions)


def point_estimate(draws: Tensor, summary: stats.Summary, deterministic: Tensor | None) -> Tensor:
    """The values of the distribution itself, never on the memory of the draws or the deterministic map.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        summary: See :func:`captum_uq.stats.summarize`; also ``"deterministic"``.
        deterministic: Attribution of the network as it stands.

    Returns:
        A plain tensor, shape ``(*shape)``.

    Raises:
        ValueError: If ``summary="deterministic"`` and there is no such map.
    """
    if summary != "deterministic":
        estimate = plain(stats.summarize(draws, summary))
        return estimate if isinstance(summary, str) else estimate.clone()
    if deterministic is None:
        raise ValueError('summary="deterministic" needs deterministic=, the attribution of the network as is.')
    return deterministic.clone()
