"""The same for notebooks: tokens as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from captum_uq import stats
from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._palette import WORDS, Array, Certainty, ink_on
from captum_uq.visualization._tokens import Tokens, fade, tokens_of

_BLOCK = "background:#fff;color:#000;padding:0.5em;line-height:1.9;font-family:sans-serif"
_TOKEN = "padding:0.15em 0.25em;margin:0 0.1em;border-radius:0.2em;white-space:pre-wrap"


class Markup(str):
    """A string of HTML that a notebook shows as what it describes."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


def text_html(
    dist: DistributionAttribution,
    tokens: Sequence[str],
    *,
    certainty: Certainty = "sign",
    outlier_perc: float = 0,
    legend: bool = True,
) -> Markup:
    """Tokens of a text as HTML, coloured as by :func:`captum_uq.visualization.visualize_text`.

    A notebook shows the result; anywhere else it is a string. Tokens are escaped, so that a text cannot bring
    markup of its own. Pointing at a token tells its mean, standard deviation and share of draws above 0. It needs
    no IPython, loads nothing and runs no script.

    Args:
        dist: Attributions of one text, shape ``(L,)``, or ``(L, E)`` of its embeddings, summed over ``E`` in every
            draw; as ``dist[3]``, or a batch of one.
        tokens: The ``L`` tokens.
        certainty: ``"sign"``: the difference between the shares of draws above 0 and below 0. ``"snr"``:
            ``|mean| / (|mean| + stdev)``.
        outlier_perc: Largest means that hold this percentage of the total get the full colour, as in Captum.
        legend: Say below the text what the colours mean, as in Captum.

    Returns:
        One ``<div>``, with black or white letters on white ground whatever the page around it looks like.

    Raises:
        TypeError: If ``dist`` is no distribution, or ``tokens`` is one string.
        ValueError: If ``dist`` holds several examples, NaN or infinity or is no text, tokens and attributions differ in
            number, or an option is none of the above.

    Example:
        >>> import torch
        >>> dist = DistributionAttribution(torch.tensor([[[1.0, 0.0]], [[3.0, 0.0]]]))
        >>> "&lt;b&gt;</span>" in text_html(dist, ["<b>", "bold"])
        True
    """  # noqa: DOC502 (raised where tokens are made)
    shown = tokens_of(dist, tokens, certainty, outlier_perc)
    spans = " ".join(_spans(shown))
    return Markup(f'<div style="{_BLOCK}">{spans}{_legend(shown, certainty) if legend else ""}</div>')


def _spans(shown: Tokens) -> list[str]:
    noise = stats.stdev(shown.draws) if len(shown.draws) > 1 else 0 * shown.means
    above = stats.probability_positive(shown.draws)
    rows = zip(shown.texts, shown.colours, shown.on_white, shown.certainties, shown.means, noise, above, strict=True)
    return [
        f'<span style="{_TOKEN};background:{_rgba(colour, certainty)};color:{ink_on(seen)}" '
        f'title="mean {mean:+.3g}, stdev {spread:.3g}, {100 * share:.0f}% of draws above 0">{html.escape(text)}</span>'
        for text, colour, seen, certainty, mean, spread, share in rows
    ]


def _rgba(colour: Array, opacity: float) -> str:
    red, green, blue = (round(255 * float(each)) for each in colour)
    return f"rgba({red},{green},{blue},{opacity:.3f})"


def _legend(shown: Tokens, certainty: str) -> str:
    """Swatches from below 0 to above: as certain, half as certain, and not certain at all."""
    (low, high), (least, most) = WORDS[certainty], (shown.scale.ticks[at] for at in (shown.scale.low, shown.scale.high))
    rows = [(1.0, f"mean {least} to {most}, {high}"), (0.5, "between"), (0.0, low)]
    lines = [f"{_swatches(share)} {html.escape(words)}" for share, words in rows]
    return f'<div style="margin-top:0.6em;font-size:80%;line-height:1.5;color:#333">{" &ensp; ".join(lines)}</div>'


def _swatches(certainty: float) -> str:
    strengths = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    form = "display:inline-block;width:1em;height:1em;vertical-align:top"
    colours = fade(strengths, np.full(len(strengths), certainty))
    inner = "".join(f'<span style="{form};background:{_rgba(colour, 1.0)}"></span>' for colour in colours)
    return f'<span style="display:inline-block;vertical-align:middle;height:1em;border:1px solid #bbb">{inner}</span>'
