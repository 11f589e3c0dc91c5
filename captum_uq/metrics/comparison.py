"""Which map is better, by how much, and how sure: paired comparison of areas over examples."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import torch
from torch import Tensor

from captum_uq.metrics._inputs import check_choice, check_count
from captum_uq.metrics._resampling import bootstrap_interval, holm, sign_flip_p_value
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
        p_value: Of the sign-flip test, two-sided.
        p_adjusted: The same, corrected for the number of comparisons.
        effect_size: Mean over standard deviation of the paired differences (Cohen's d_z), signed as ``difference``.
        win_rate: Share of examples on which the curve is the better of the two; a tie counts half.
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
    the comparison. For curves of draws, ``(T, N, K + 1)``, the bootstrap is nested, examples outside and draws
    inside, and the p value, effect and wins are of the means over draws.

    Intervals are bootstrap-t, at neither end inside Student's: of 95% they cover 94% to 96% with 50 examples, be the
    differences normal, heavy-tailed, exponential or log-normal, and 92% with 20 log-normal ones, the worst case
    (``benchmarks/interval_coverage.py``). Half a dozen examples say little about a tail, whatever the method.

    Args:
        curves: The curves by name, as ``summary_curves`` returns them, or a single one.
        reference: What each is compared with: a name in ``curves``, or a curve. Default: every pair.
        level: Confidence of the intervals, in (0, 1).
        correction: ``"holm"`` for the number of comparisons made here, or ``"none"``.
        n_resamples: Resamples of the bootstrap, and random patterns of the sign-flip test above 12 examples.
        seed: Of the private generators; no global random state is used.

    Returns:
        The comparisons, in the order of ``curves``.

    Raises:
        KeyError: ``reference`` names no curve.
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
    named = {"curve": curves} if isinstance(curves, PerturbationCurve) else dict(curves)
    pairs = _pairs(named, reference)
    differences = [_differences(named, pair) for pair in pairs]
    flat = [d.mean(0) if d.ndim == 2 else d for d in differences]
    raw = [sign_flip_p_value(d, n_resamples, seed) for d in flat]
    adjusted = holm(raw) if correction == "holm" else raw
    intervals = [bootstrap_interval(d, level, n_resamples, seed) for d in differences]
    direction = next(iter(named.values())).direction
    rows = [
        PairedDifference(*pair, float(d.mean()), *interval, p, p_adjusted, *_size(d, direction), len(d))
        for pair, d, interval, p, p_adjusted in zip(pairs, flat, intervals, raw, adjusted, strict=True)
    ]
    return Comparison(tuple(rows), level, correction, direction)


def _pairs(named: dict[str, PerturbationCurve], reference: str | PerturbationCurve | None) -> list[tuple[str, str]]:
    """Names to compare; a reference that is a curve is added to ``named``.

    Raises:
        KeyError: ``reference`` names no curve.
        ValueError: Nothing to compare.
    """
    if reference is None:
        pairs = list(combinations(named, 2))
    else:
        if isinstance(reference, PerturbationCurve):
            name = "reference" if "reference" not in named else "the reference"
            others, named[name] = list(named), reference
        elif reference in named:
            name, others = reference, [other for other in named if other != reference]
        else:
            raise KeyError(f"reference must name one of the curves {list(named)}, got {reference!r}. Add its curve.")
        pairs = [(other, name) for other in others]
    if not pairs:
        raise ValueError(f"compare needs two curves at least, got {list(named)}. Pass a mapping, or a reference.")
    return pairs


def _differences(named: dict[str, PerturbationCurve], pair: tuple[str, str]) -> Tensor:
    """Paired differences of area, shape ``(N,)`` or ``(T, N)``, float64, on the CPU.

    Raises:
        ValueError: Curves that cannot be paired, or an area that is not finite.
    """
    curve, reference = (named[name] for name in pair)
    facts = [(c.mode, c.direction, c.score, len(c)) for c in (curve, reference)]
    draws = {len(c.scores) for c in (curve, reference) if c.scores.ndim == 3}
    if facts[0] != facts[1] or len(draws) > 1 or len(curve) < 2:
        raise ValueError(
            "compare pairs curves of one mode, direction and score over the same examples, 2 at least, and as many "
            f"draws: {pair[0]!r} and {pair[1]!r} have (mode, direction, score, examples) {facts[0]} and {facts[1]}, "
            f"draws {sorted(draws) or None}. Measure both on the same batch with the same options."
        )
    difference = curve.auc.detach().cpu().double() - reference.auc.detach().cpu().double()
    if not difference.isfinite().all():
        raise ValueError(
            f"compare needs finite areas, those of {pair[0]!r} and {pair[1]!r} differ by NaN or infinity somewhere. "
            "Keep the finite examples with curve.select(curve.auc.isfinite())."
        )
    return difference


def _size(differences: Tensor, direction: str) -> tuple[float, float]:
    """Effect size and win rate; 0 / 0 is 0 and x / 0 a signed infinity."""
    mean, spread = differences.mean(), differences.std()
    effect = float(mean / spread) if spread > 0 else float(mean.sign() * torch.inf if mean != 0 else 0.0)
    better = differences < 0 if direction == "lower" else differences > 0
    wins = better.double().mean() + 0.5 * (differences == 0).double().mean()
    return effect, float(wins)
