"""Which map is better, by how much, and how sure: paired comparison of areas over examples."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from captum_uq.metrics._inputs import check_choice, check_count, checked_level
from captum_uq.metrics._pairing import by_name, differences_of, direction_of, pairs_of, rounding_of
from captum_uq.metrics._resampling import bootstrap, holm, sign_flip_p_value
from captum_uq.metrics.curves import PerturbationCurve

__all__ = ["Comparison", "PairedDifference", "compare"]


@dataclass(frozen=True)
class PairedDifference:
    """One curve against one reference, on the same examples.

    Attributes:
        curve: Name of the curve.
        reference: Name of the reference.
        difference: Mean over examples of area minus reference area, in the units of the score.
        low: Lower end of its bootstrap interval.
        high: Upper end.
        p_value: Of the sign-flip test, two-sided; with draws no smaller than that of the nested bootstrap.
        p_adjusted: The same, corrected for the number of comparisons.
        effect_size: Mean over standard deviation of the paired differences (Cohen's d_z), signed as ``difference``.
        win_rate: Share of examples on which the curve is the better of the two; a tie, areas that differ by their
            rounding alone, counts half.
        n: Number of examples.
    """

    curve: str
    reference: str
    difference: float
    low: float
    high: float
    p_value: float
    p_adjusted: float
    effect_size: float
    win_rate: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """Paired differences of area, one for each comparison; prints as a table.

    Attributes:
        rows: The comparisons.
        level: Confidence of each interval (not corrected for their number).
        correction: How p values are corrected.
        direction: Which area is the better, ``"lower"`` or ``"higher"``.
    """

    rows: tuple[PairedDifference, ...]
    level: float
    correction: str
    direction: str

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[PairedDifference]:
        return iter(self.rows)

    def __getitem__(self, key: int | str | tuple[str, str]) -> PairedDifference:
        """Look a comparison up by place, by the curve's name, or by the names of curve and reference.

        Raises:
            KeyError: No comparison has that name, or several have.
        """
        if isinstance(key, int):
            return self.rows[key]
        wanted = key if isinstance(key, tuple) else (key,)
        found = [row for row in self.rows if (row.curve, row.reference)[: len(wanted)] == wanted]
        if len(found) != 1:
            raise KeyError(
                f"{key!r} must name one comparison, it names {len(found)} of "
                f"{[(row.curve, row.reference) for row in self.rows]}. Use (curve, reference)."
            )
        return found[0]

    def __str__(self) -> str:
        adjusted = "p" if self.correction == "none" else f"p ({self.correction})"
        head = [
            "curve",
            "reference",
            "difference",
            f"{100 * self.level:g}% interval",
            adjusted,
            "effect",
            "wins",
            "n",
        ]
        cells = [head, *([*map(str, _cells(row))] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(_align(row, widths)).rstrip() for row in cells]
        rule = "-" * max(map(len, lines))
        return "\n".join(
            [
                f"Difference of area, curve - reference ({self.direction} is better)",
                lines[0],
                rule,
                *lines[1:],
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and lists, ready for JSON."""
        return asdict(self)


def _cells(row: PairedDifference) -> tuple[str, ...]:
    p_value = "<0.001" if row.p_adjusted < 0.001 else f"{row.p_adjusted:.3f}"
    interval = f"[{row.low:+.4g}, {row.high:+.4g}]"
    effect, wins = f"{row.effect_size:+.2f}", f"{row.win_rate:.0%}"
    return row.curve, row.reference, f"{row.difference:+.4g}", interval, p_value, effect, wins, str(row.n)


def _align(cells: list[str], widths: list[int]) -> list[str]:
    pairs = list(zip(cells, widths, strict=True))
    return [*(c.ljust(w) for c, w in pairs[:2]), *(c.rjust(w) for c, w in pairs[2:])]


def compare(
    curves: PerturbationCurve | Mapping[str, PerturbationCurve],
    reference: str | PerturbationCurve | None = None,
    level: float = 0.95,
    correction: Literal["holm", "none"] = "holm",
    *,
    n_resamples: int = 9999,
    seed: int = 0,
) -> Comparison:
    """Compare areas example by example: difference, bootstrap interval, sign-flip p value, effect size, win rate.

    Curves of the same examples, fills and steps are paired, which takes the differences between examples out of
    the comparison. Curves of another mode, score, number of steps or of examples are refused, and so are those of
    another order, but for a random one, which pairs with either. Of what model, inputs, target, baselines or
    ``perturb_func``, ``seed`` and ``tie_break`` they are, curves do not know: these are yours to keep equal, as
    ``summary_curves`` does. Areas that differ by the rounding of their scores alone differ by 0 here.

    For curves of draws, ``(T, N, K + 1)``, the bootstrap is nested, examples outside and draws inside; effect and wins
    are of the means over draws, and the p value is that of their sign flips or of the nested bootstrap, whichever is
    larger: sign flips of examples do not know that other draws would have come out otherwise.

    Intervals are bootstrap-t, at neither end inside Student's: of 95% they cover 94% to 96% with 50 examples, be the
    differences normal, heavy-tailed, exponential or log-normal, and 92% with 20 log-normal ones, the worst case
    (``benchmarks/interval_coverage.py``). Half a dozen examples say little about a tail, whatever the method.

    Args:
        curves: The curves by name, as ``summary_curves`` returns them, or a single one.
        reference: What each is compared with: a name in ``curves``, or a curve. Default: every pair.
        level: Confidence of the intervals, in (0, 1).
        correction: ``"holm"`` for the number of comparisons made here, or ``"none"``.
        n_resamples: Resamples of the bootstrap, and random patterns of the sign-flip test above 12 examples; at least
            99, and as many as have a tail at ``level``: 199 for 0.99.
        seed: Of the private generators; no global random state is used.

    Returns:
        The comparisons, in the order of ``curves``.

    Raises:
        KeyError: ``reference`` names no curve.
        TypeError: Something that is no curve.
        ValueError: Fewer than two curves or two examples, curves that cannot be paired, NaN, or an option out of
            range.

    References:
        [1] Holm, "A simple sequentially rejective multiple test procedure", 1979.
        [2] Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 12.5.
        [3] Owen, "The pigeonhole bootstrap", 2007.

    Example:
        >>> points = torch.linspace(0, 1, 3)
        >>> flat = PerturbationCurve(points, torch.ones(20, 3), torch.zeros(20))
        >>> steep = PerturbationCurve(points, torch.tensor([1.0, 0.25, 0.0]).repeat(20, 1), torch.zeros(20))
        >>> row = compare({"steep": steep, "flat": flat}, reference="flat")["steep"]
        >>> row.difference, row.win_rate
        (-0.625, 1.0)
    """  # noqa: DOC502 (raised by the helpers)
    check_choice("correction", correction, ("holm", "none"))
    check_count("n_resamples", n_resamples, least=99)
    check_count("seed", seed, least=0)
    level = checked_level(level)
    named = by_name(curves, "compare", "curve")
    pairs = pairs_of(named, reference)
    differences = [differences_of(named, pair) for pair in pairs]
    roundings = [rounding_of(named, pair) for pair in pairs]
    flat = [d.mean(0) if d.ndim == 2 else d for d in differences]
    resampled = [bootstrap(d, level, n_resamples, seed) for d in differences]
    raw = [sign_flip_p_value(d, n_resamples, seed, float(r.sum())) for d, r in zip(flat, roundings, strict=True)]
    raw = [max(p, r.p_value) if d.ndim == 2 else p for p, r, d in zip(raw, resampled, differences, strict=True)]
    adjusted = holm(raw) if correction == "holm" else raw
    direction = direction_of(named)
    sizes = [_size(d, direction, rounding) for d, rounding in zip(flat, roundings, strict=True)]
    tests = zip(resampled, raw, adjusted, strict=True)
    rows = [
        PairedDifference(*pair, float(d.mean()), r.low, r.high, p, p_adjusted, *size, len(d))
        for pair, d, (r, p, p_adjusted), size in zip(pairs, flat, tests, sizes, strict=True)
    ]
    return Comparison(tuple(rows), level, correction, direction)


def _size(differences: Tensor, direction: str, rounding: Tensor) -> tuple[float, float]:
    """Effect size and win rate; 0 / 0 is 0 and x / 0 a signed infinity, where rounding alone is 0."""
    mean, spread = differences.mean(), differences.std()
    constant = mean.sign() * torch.inf if mean.abs() > rounding.mean() else torch.zeros(())
    effect = mean / spread if spread > rounding.max() else constant
    signs = differences.sign().where(differences.abs() > rounding, 0.0)
    wins = 0.5 + 0.5 * signs.mean() * (-1 if direction == "lower" else 1)
    return float(effect), float(wins)
