"""An attribution that remembers the draws behind it."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from captum_uq import stats
from captum_uq.distribution import files
from captum_uq.distribution.change import map_record, merge_records
from captum_uq.distribution.checks import check_nan_policy, checked_deterministic, checked_draws, checked_predictions
from captum_uq.distribution.execution import Execution
from captum_uq.distribution.given import given_record
from captum_uq.distribution.index import index_record
from captum_uq.distribution.keep import DRAWS
from captum_uq.distribution.moving import MovableDistribution
from captum_uq.distribution.record import Record, Target
from captum_uq.distribution.stores import Draws, Store


class DistributionAttribution(MovableDistribution):
    """An attribution with the draws behind it.

    It is a tensor: its own values are the mean over draws (or ``summary``), so that whatever takes a Captum
    attribution takes it, and a torch operation on it returns a plain tensor. What keeps the distribution:
    indexing and iteration, ``to``, ``cpu``, ``cuda``, ``float``, ``double``, ``half``, ``bfloat16``,
    ``detach``, ``clone``, ``requires_grad_``, ``map``, ``merge``, ``copy``, ``pickle``, ``torch.save``,
    ``save`` and ``load``. Writing into it raises, because the draws would not follow; its views (``dist.T``,
    ``dist.flatten()``, slices of ``dist.point``) are plain tensors on its memory: write into a ``clone`` of them.

    Args:
        draws: Attributions, shape ``(T, *shape)``, kept without their graph and without a copy; or a
            `captum_uq.distribution.stores.Store`, what was kept of them.
        summary: What its own values are: a name or function of :func:`captum_uq.stats.summarize`, or
            ``"deterministic"``.
        deterministic: Attribution of the network as it stands, shape ``(*shape)``.
        predictions: Outputs of each draw, shape ``(T, N, ...)``.
        own_predictions: Outputs of the network as it stands, shape ``(N, ...)``.
        seed: The seed of the draws.
        sampler: What drew them, as text.
        method: The attribution method, as text.
        target: The target as it was given to the method.
        nan_policy: ``"raise"`` or ``"propagate"``, for draws with NaN or infinity.
        execution: How the draws were run.

    Raises:
        ValueError: If there is no draw, a draw is not finite, a shape does not match, or a name is unknown.
        TypeError: If ``draws`` is not a tensor.

    Example:
        >>> import torch
        >>> dist = DistributionAttribution(torch.tensor([[1.0, -2.0], [3.0, 4.0]]), sampler="MCDropout()", seed=0)
        >>> dist
        DistributionAttribution(T=2, shape=(2,), summary='mean', sampler='MCDropout()', method=None, seed=0,
        tensor([2., 1.]))
        >>> dist.stdev(correction=0), dist + 1
        (tensor([1., 3.]), tensor([3., 2.]))
    """

    def __new__(
        cls,
        draws: Tensor | Store,
        *,
        summary: stats.Summary = "mean",
        deterministic: Tensor | None = None,
        predictions: Tensor | None = None,
        own_predictions: Tensor | None = None,
        seed: int | None = None,
        sampler: str | None = None,
        method: str | None = None,
        target: Target = None,
        nan_policy: str = "raise",
        execution: Execution | None = None,
    ) -> DistributionAttribution:
        """Checks the draws and what belongs to them, and summarizes them."""
        check_nan_policy(nan_policy)
        store = draws if isinstance(draws, Store) else Draws(checked_draws(draws, nan_policy))
        record = Record(
            store=store,
            summary=summary,
            deterministic=checked_deterministic(deterministic, store.shape),
            predictions=checked_predictions(predictions, store.n_draws),
            own_predictions=own_predictions,
            sources=((None if sampler is None else str(sampler), None if seed is None else int(seed)),),
            method=None if method is None else str(method),
            target=target,
            nan_policy=nan_policy,
            has_examples=len(store.shape) > 0,
            execution=execution,
        )
        return cls._of(record)

    def __getitem__(self, index: Any) -> DistributionAttribution:
        return self._of(index_record(self._record, index), self.point[index])

    def __iter__(self) -> Iterator[DistributionAttribution]:
        return (self[at] for at in range(len(self)))

    def __reversed__(self) -> Iterator[DistributionAttribution]:
        return (self[at] for at in reversed(range(len(self))))

    def map(self, fn: Callable[[Tensor], Tensor]) -> DistributionAttribution:
        """Applies a function to every draw, and to the deterministic map, before any statistic.

        So ``dist.map(abs).expectation()`` is the mean magnitude, and ``dist.expectation().abs()`` is not.

        Args:
            fn: Takes a draw, shape ``(*shape)``, and keeps its first axis where that is the examples; ``dist[:1]``
                keeps it, ``dist[0]`` does not. It gets a copy and may write into it.

        Returns:
            The distribution of the results, its own values summarized anew.

        Raises:
            TypeError: If ``fn`` does not return a tensor.
            ValueError: If it gives draws of different shapes, or does not keep the examples; or if the draws were
                not kept.

        Example:
            >>> import torch
            >>> dist = DistributionAttribution(torch.tensor([[[1.0, 2.0]], [[-3.0, 4.0]]]))
            >>> dist.map(lambda draw: draw.sum(dim=1)).draws
            tensor([[3.],
                    [1.]])
        """  # noqa: DOC502 (raised in map_record)
        return self._of(map_record(self._record, fn))

    def given(self, *, prediction: int) -> DistributionAttribution:
        """Restricts to the draws that predicted a class.

        Args:
            prediction: The class.

        Returns:
            The distribution over those draws, of the one example that it is of.

        Raises:
            ValueError: If there are no predictions or several examples, no draw predicted that class, or the draws
                were not kept.
        """  # noqa: DOC502 (raised in given_record)
        return self._of(given_record(self._record, prediction))

    def merge(self, other: DistributionAttribution) -> DistributionAttribution:
        """Puts the draws of two results on the same attribution together.

        Args:
            other: More draws for the same inputs, method, target and shape, from another seed or another sampler. Two
                runs of an ensemble hold the same members whatever their seeds: do not merge those. Give another
                sampler another seed too: at one seed some share their random numbers (`NoiseGrad` and
                `VariationalDropout`, `MCDropout` at two rates), and their draws are not independent.

        Returns:
            A distribution over ``self``'s draws and then ``other``'s, its own values summarized anew.

        Raises:
            TypeError: If ``other`` is not a distribution.
            ValueError: If shape, method or target differ, or both were drawn from the same seed, by samplers that
                read alike or to draws that are equal: then they are the same networks, and counting them twice hides
                spread. If the two keep different things of their draws, or percentiles, which cannot be merged.

        Example:
            >>> import torch
            >>> one = DistributionAttribution(torch.tensor([[1.0]]), seed=0)
            >>> one.merge(DistributionAttribution(torch.tensor([[3.0]]), seed=1)).expectation()
            tensor([2.])
        """  # noqa: DOC502 (raised in merge_records)
        if not isinstance(other, DistributionAttribution):
            raise TypeError(f"merge takes another DistributionAttribution, got {type(other).__name__}.")
        return self._of(merge_records(self._record, other._record))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a file of plain data, which runs no code when it is loaded.

        Args:
            path: The file; overwritten.

        Raises:
            TypeError: If the summary is a function, or the target is not plain data.
        """  # noqa: DOC502 (raised in write)
        files.write(path, self.point.detach(), self._record)

    @classmethod
    def load(cls, path: str | os.PathLike[str], map_location: Any = None) -> DistributionAttribution:
        """Reads what :meth:`save` wrote, by ``torch.load(weights_only=True)``.

        Args:
            path: The file.
            map_location: Where its tensors go, as in ``torch.load``.

        Returns:
            The distribution.

        Raises:
            OSError: If the file cannot be opened.
            ValueError: If ``save`` did not write that file, or a later version did.
        """  # noqa: DOC502 (raised in read)
        point, record = files.read(path, map_location)
        return cls._of(record, point)

    def __copy__(self) -> DistributionAttribution:
        return self._of(self._record, self.point.detach()).requires_grad_(self.requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> DistributionAttribution:
        point = self.point.detach().clone()
        return self._of(copy.deepcopy(self._record, memo), point).requires_grad_(self.requires_grad)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        point = files.compact(self.point.detach())
        state = files.compact_record(self._record).as_dict()
        return _restored, (type(self), point, state, self.requires_grad)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        values = repr(self.point.detach()) if tensor_contents is None else tensor_contents
        if "_record" not in self.__dict__:  # as_subclass made it, without draws
            return f"{type(self).__name__}(no draws,\n{values})"
        summary = self.summary if isinstance(self.summary, str) else getattr(self.summary, "__name__", "function")
        kept = "" if self.keep == DRAWS else f"keep={self.keep!r}, "
        return (
            f"{type(self).__name__}(T={self.n_draws}, {kept}shape={tuple(self.shape)}, summary={summary!r}, "
            f"sampler={self.sampler!r}, method={self.method!r}, seed={self.seed},\n{values})"
        )


def _restored(
    cls: type[DistributionAttribution], point: Tensor, state: dict[str, Any], requires_grad: bool
) -> DistributionAttribution:
    """Rebuilds a pickled distribution."""
    return cls._of(Record(**state), point).requires_grad_(requires_grad)
