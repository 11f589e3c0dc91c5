"""What a DistributionAttribution remembers beside its own values, and the checks it passes on the way in."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from captum_uq import stats
from captum_uq.distribution.execution import Execution
from captum_uq.distribution.predictions import Predictions, probabilities_in
from captum_uq.distribution.stores import Store

Target = int | tuple[int, ...] | Tensor | list[int] | list[tuple[int, ...]] | None
"""What Captum takes as ``target``."""

Source = tuple[str | None, int | None]
"""The sampler and the seed that draws came from."""


@dataclass(frozen=True)
class Record:
    """What is known of the draws behind a point estimate, and how they came about."""

    store: Store
    summary: stats.Summary
    deterministic: Tensor | None  # shape: (*shape)
    predictions: Tensor | None  # shape: (T, N, ...), or (T, ...) once has_examples is False
    sources: tuple[Source, ...]
    method: str | None
    target: Target
    nan_policy: str
    has_examples: bool  # whether dim 0 of shape is the batch of N examples
    own_predictions: Tensor | None = None  # shape: (N, ...), of the network as it stands
    execution: Execution | None = None
    of_probabilities: bool | None = None  # whether the predictions are; None where all are here to tell it

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, as they are: ``dataclasses.asdict`` would copy the tensors."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def n_examples(self) -> int | None:
        """Examples in the batch; None where dim 0 is not the batch."""
        return self.store.shape[0] if self.has_examples else None

    def target_per_example(self) -> bool:
        """Whether the target is a list or a tensor with one entry for each example."""
        if isinstance(self.target, Tensor):
            return self.target.ndim > 0 and len(self.target) == self.n_examples
        return isinstance(self.target, list) and len(self.target) == self.n_examples

    def predictions_per_example(self) -> bool:
        """Whether axis 1 of the predictions is the batch."""
        return self.predictions is not None and self.predictions.shape[1:2] == (self.n_examples,)

    def predicts_classes(self) -> bool:
        """Whether the last axis of the predictions, ``(T, N, C)`` or ``(T, C)`` of one example, is that of classes."""
        return self.predictions is not None and self.predictions.dim() == 2 + self.predictions_per_example()

    @functools.cached_property
    def predicts_probabilities(self) -> bool:
        """Whether the predictions are probabilities: an example of them alone would not always tell."""
        if self.of_probabilities is not None or self.predictions is None:
            return bool(self.of_probabilities)
        return probabilities_in(self.predictions, self.own_predictions)


class Recorded:
    """What a distribution tells about its record."""

    _record: Record

    @property
    def draws(self) -> Tensor:
        """The attributions of all draws, a plain tensor of shape ``(T, *shape)``.

        Raises:
            ValueError: They were not kept (``keep=`` of `StochasticAttribution.attribute`).
        """  # noqa: DOC502 (raised in the store)
        return self._record.store.draws

    @property
    def keep(self) -> str:
        """What was kept of the draws: ``"draws"``, ``"moments"`` or ``"percentiles"``."""
        return self._record.store.keep

    @property
    def n_draws(self) -> int:
        """The number of draws, ``T``."""
        return self._record.store.n_draws

    @property
    def deterministic(self) -> Tensor | None:
        """The attribution of the network as it stands, shape ``(*shape)``."""
        return self._record.deterministic

    @property
    def predictions(self) -> Predictions | None:
        """The outputs of each draw, shape ``(T, N, ...)``, with their summaries: entropy, flip rate, ..."""
        record = self._record
        if record.predictions is None:
            return None
        return Predictions.of(
            record.predictions,
            record.own_predictions,
            of_classes=record.predicts_classes(),
            of_probabilities=record.predicts_probabilities,
        )

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
    def execution(self) -> Execution | None:
        """How the draws were run, and why not faster; None for draws from elsewhere, and of different roads."""
        return self._record.execution

    @property
    def target(self) -> Target:
        """The target as it was given to the method."""
        return self._record.target

    @property
    def summary(self) -> stats.Summary:
        """What its own values are: the name or the function that was asked for."""
        return self._record.summary
