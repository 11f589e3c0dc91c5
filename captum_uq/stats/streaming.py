"""Draws that come in chunks and are forgotten: their moments, and the percentiles asked for."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from captum_uq.stats._draws import checked
from captum_uq.stats._ranks import checked_ranks
from captum_uq.stats._sorting import ascending
from captum_uq.stats.moment_sums import MomentSums
from captum_uq.stats.order_statistics import OrderStatistics, rows_needed

ENTRIES = 2**15
"""Numbers to wait for before draws are worked on: small draws are dear one by one, large ones are not."""


class StreamingMoments:
    """The moments of draws that come in chunks, by merging the sums of each chunk.

    Memory is that of about 16 maps of a draw, and of a buffer of at most ``ENTRIES`` numbers or one draw, however
    many draws there are.

    Example:
        >>> import torch
        >>> stream = StreamingMoments()
        >>> for draw in torch.tensor([1.0, 2.0, 6.0]):
        ...     stream.put(draw[None])
        >>> stream.result().expectation(), stream.result().variance()
        (tensor(3.), tensor(7.))
    """

    def __init__(self) -> None:
        self._sums: MomentSums | None = None
        self._buffer: Tensor | None = None
        self._waiting = 0

    def put(self, draws: Tensor) -> None:
        """Takes some draws.

        Args:
            draws: Shape ``(D, *shape)``, with ``D`` at least 1; they are copied.
        """
        if self._buffer is None:
            rows = max(1, ENTRIES // max(1, checked(draws)[0].numel()))
            self._buffer = draws.new_empty((rows, *draws.shape[1:]))
        for piece in draws.split(len(self._buffer)):
            if self._waiting + len(piece) > len(self._buffer):
                self._merge_waiting()
            self._buffer[self._waiting : self._waiting + len(piece)] = piece
            self._waiting += len(piece)

    def result(self) -> MomentSums:
        """The sums of all draws so far.

        Raises:
            ValueError: There is none.
        """
        self._merge_waiting()
        if self._sums is None:
            raise ValueError("moments need at least 1 draw, got none; put(draws) first.")
        return self._sums

    def _merge_waiting(self) -> None:
        if self._buffer is not None and self._waiting:
            sums = MomentSums.of(self._buffer[: self._waiting])
            self._sums = sums if self._sums is None else self._sums.merged(sums)
            self._waiting = 0


class StreamingPercentiles:
    """Percentiles of a known number of draws that come in chunks, exactly.

    Memory is that of the draws that the percentiles need (:func:`captum_uq.stats.order_statistics.rows_needed`: 5% of
    ``T`` for the 5th, half of ``T`` for the median), a sixteenth more, and buffers of ``ENTRIES`` numbers.

    Args:
        levels: Percentiles, from 0 to 100.
        n_draws: How many draws will come, ``T``.

    Raises:
        ValueError: A percentile lies outside 0 to 100.

    Example:
        >>> import torch
        >>> stream = StreamingPercentiles([5], n_draws=21)
        >>> for draw in torch.arange(21.0).flip(0):
        ...     stream.put(draw[None])
        >>> stream.result().percentile(5)
        tensor(1.)
    """

    def __init__(self, levels: Sequence[float], n_draws: int) -> None:
        low, high = rows_needed(checked_ranks(levels), n_draws)
        self._low, self._high = _Extremes(low, n_draws, largest=False), _Extremes(high, n_draws, largest=True)
        self._nan: Tensor | None = None
        self._n_draws, self._seen = n_draws, 0

    def put(self, draws: Tensor) -> None:
        """Takes some draws.

        Args:
            draws: Shape ``(D, *shape)``, with ``D`` at least 1; they are copied.

        Raises:
            ValueError: More draws come than there were to be.
        """
        self._seen += len(checked(draws))
        if self._seen > self._n_draws:
            raise ValueError(f"percentiles of {self._n_draws} draws were asked for, got {self._seen} draws.")
        nan = draws.isnan().any(dim=0)
        self._nan = nan if self._nan is None else self._nan | nan
        self._low.put(draws)
        self._high.put(draws)

    def result(self) -> OrderStatistics:
        """The order statistics of all draws.

        Raises:
            ValueError: Draws are missing, so the ranks are not known.
        """
        if self._nan is None or self._seen < self._n_draws:
            raise ValueError(f"percentiles of {self._n_draws} draws were asked for, got {self._seen} draws so far.")
        return OrderStatistics(self._n_draws, self._low.result(), self._high.result(), self._nan)


class _Extremes:
    """The smallest or the largest of the draws, in a buffer with room for more, selected when it is full."""

    def __init__(self, n_kept: int, n_draws: int, *, largest: bool) -> None:
        self._n_kept, self._n_draws, self._largest = n_kept, n_draws, largest
        self._rows: Tensor | None = None
        self._filled = 0

    def put(self, draws: Tensor) -> None:
        if self._rows is None:
            room = max(1, self._n_kept // 16, ENTRIES // max(1, draws[0].numel()))
            n_rows = min(self._n_kept + room, self._n_draws) if self._n_kept else 0
            self._rows = draws.new_empty((n_rows, *draws.shape[1:]))
        while self._n_kept and len(draws):
            if self._filled == len(self._rows):
                self._select()
            fitting = draws[: len(self._rows) - self._filled]
            self._rows[self._filled : self._filled + len(fitting)] = fitting
            self._filled += len(fitting)
            draws = draws[len(fitting) :]

    def result(self) -> Tensor:
        """What is kept, sorted from the outermost."""
        assert self._rows is not None
        for part in self._columns():
            part.copy_(self._outermost_first(part))
        return self._rows[: self._n_kept]  # a view: a copy would need the memory that is to be saved

    def _select(self) -> None:
        """Moves what is kept to the front."""
        for part in self._columns():
            part[: self._n_kept] = self._outermost_first(part)[: self._n_kept]
        self._filled = self._n_kept

    def _outermost_first(self, part: Tensor) -> Tensor:
        return ascending(part).flip(0) if self._largest else ascending(part)

    def _columns(self) -> tuple[Tensor, ...]:
        """The rows some columns at a time: to sort them takes several times their memory."""
        if self._rows is None or not self._rows.numel():
            return ()
        columns: Tensor = self._rows[: self._filled].view(self._filled, -1)
        parts: tuple[Tensor, ...] = columns.split(max(1, 2 * ENTRIES // self._filled), dim=1)
        return parts
