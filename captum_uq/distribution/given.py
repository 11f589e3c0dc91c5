"""A distribution restricted to the draws that predicted one class."""

from __future__ import annotations

import dataclasses
import numbers

from torch import Tensor

from captum_uq.distribution.record import Record
from captum_uq.distribution.stores import Draws
from captum_uq.samplers._agreement import classes_of


def given_record(record: Record, prediction: int) -> Record:
    """The record of the draws that predicted a class.

    Args:
        record: The record of one example: of ``dist[3]``, or of ``dist[3:4]``.
        prediction: The class.

    Returns:
        The record with those draws only.

    Raises:
        TypeError: The prediction is no number of a class.
        ValueError: The draws were not kept; there are no predictions; there are several examples, which would keep
            different draws; or no draw predicted that class.
    """
    if not isinstance(prediction, (numbers.Number, Tensor)):
        raise TypeError(f"prediction is the number of a class, got {prediction!r}.")
    draws = record.store.draws
    if record.predictions is None:
        raise ValueError(
            "given(prediction=) needs the predictions of the draws: attribute with return_predictions=True."
        )
    if not record.predicts_classes():
        raise ValueError(
            "given(prediction=) needs the predictions of a classifier, (T, N, C), got shape "
            f"{tuple(record.predictions.shape)}: a draw predicts no one class. Select draws by their number, "
            "DistributionAttribution(dist.draws[chosen])."
        )
    if record.has_examples and draws.shape[1] != 1:
        raise ValueError(
            f"Draws predict a class for one example, and there are {draws.shape[1]}: each would keep other "
            "draws. Index one first, dist[3].given(prediction=...)."
        )
    probabilities = record.predicts_probabilities
    classes = classes_of(record.predictions, probabilities).flatten()
    kept = (classes == prediction).nonzero().flatten()
    if not len(kept):
        counts = {int(c): int((classes == c).sum()) for c in classes.unique()}
        raise ValueError(f"No draw predicted class {prediction}; the draws of each class are {counts}.")
    return dataclasses.replace(
        record,
        store=Draws(draws[kept.to(draws.device)]),
        predictions=record.predictions[kept.to(record.predictions.device)],
        of_probabilities=probabilities,
    )
