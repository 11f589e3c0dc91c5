"""What is kept of the draws: all of them, their moments, or their moments and some percentiles."""

from __future__ import annotations

from dataclasses import dataclass

DRAWS, MOMENTS, PERCENTILES = "draws", "moments", "percentiles"
_USUAL = (5.0, 95.0)
"""What `union`, `intersection` and `interval` ask for by themselves."""


@dataclass(frozen=True)
class Keep:
    """What is kept of the draws, as ``keep=`` says it.

    | ``keep`` | what can be asked for | memory, in draws |
    |---|---|---|
    | ``"draws"`` | everything | ``T`` |
    | ``"moments"`` | mean, spread, moments up to the fourth, signs, smallest and largest | about 16, whatever ``T`` |
    | ``"percentiles"`` | these, and percentiles up to the 5th and from the 95th | 10% of ``T``, and 16 |
    | ``"percentiles:5,50"`` | the same with the percentiles that are named | half of ``T`` for the median |

    Percentiles are exact, which is why they need memory: that of the draws beyond them, 5% of ``T`` for the 5th or the
    95th, half of ``T`` for the median, three quarters for 5, 25, 50, 75 and 95 together.

    Attributes:
        text: ``keep`` as it was given.
        levels: The percentiles; None where none is kept.
    """

    text: str
    levels: tuple[float, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> Keep:
        """Reads what the user gave.

        Args:
            text: ``"draws"``, ``"moments"``, ``"percentiles"``, or with levels, ``"percentiles:5,25,50,75,95"``.

        Returns:
            What is to be kept.

        Raises:
            ValueError: It is none of these.

        Example:
            >>> Keep.parse("percentiles").levels, Keep.parse("percentiles:5,50").levels
            ((5.0, 95.0), (5.0, 50.0))
        """
        kind, colon, listed = text.partition(":") if isinstance(text, str) else ("", "", "")
        if kind in (DRAWS, MOMENTS, PERCENTILES) and not colon:
            return cls(text, _USUAL if kind == PERCENTILES else None)
        levels = _numbers(listed)
        if kind != PERCENTILES or not levels or not all(0 <= level <= 100 for level in levels):
            raise ValueError(
                f"keep is {DRAWS!r}, {MOMENTS!r}, {PERCENTILES!r} (those of 5 and 95), or percentiles from 0 to 100 by "
                f"their numbers, 'percentiles:5,25,50,75,95'; got {text!r}."
            )
        return cls(text, levels)


def _numbers(listed: str) -> tuple[float, ...]:
    """The numbers of a list; none where one is no number."""
    try:
        return tuple(float(each) for each in listed.split(","))
    except ValueError:
        return ()
