"""What tokens of one text look like: their names, means and certainties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.colors import LinearSegmentedColormap
from torch import Tensor

from captum_uq import stats
from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._maps import checked_distribution, finite, only_example
from captum_uq.visualization._palette import ABOVE, BELOW, Array, blend, certainty_of
from captum_uq.visualization._scales import Scale, symmetric

COLOURS = LinearSegmentedColormap.from_list("captum_uq_text", [BELOW, "white", ABOVE])
MARKS = {"": "\N{EMPTY SET}", " ": "\N{OPEN BOX}", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


@dataclass(frozen=True)
class Tokens:
    """Tokens from first to last.

    Attributes:
        texts: As they are shown.
        draws: Attributions, float64, shape ``(T, L)``.
        certainties: From 0 to 1, shape ``(L,)``.
        scale: Colours of the mean.
    """

    texts: tuple[str, ...]
    draws: Tensor
    certainties: Array
    scale: Scale

    @property
    def means(self) -> Tensor:
        """Mean over draws, shape ``(L,)``."""
        return stats.expectation(self.draws)

    @property
    def colours(self) -> Array:
        """Colours of the means at full opacity, red, green and blue from 0 to 1, shape ``(L, 3)``."""
        strengths = (self.means / self.scale.high).clamp(-1, 1).numpy()
        return blend(strengths, 0 * strengths + 1)

    @property
    def on_white(self) -> Array:
        """What is seen on white: the colours at the opacity of their certainty, shape ``(L, 3)``."""
        return 1 - self.certainties[:, None] * (1 - self.colours)


def fade(strength: Array, certainty: Array) -> Array:
    """The colour of a mean at the opacity of its certainty, on white; see :attr:`Tokens.on_white`."""
    return blend(strength, certainty, divided=1.0)


def tokens_of(dist: DistributionAttribution, tokens: Sequence[str], certainty: str, outlier_perc: float) -> Tokens:
    """Tokens with their statistics; the axis of an embedding is summed in every draw.

    Args:
        dist: Attributions of one text, shape ``(L,)`` or ``(L, E)``, or a batch of one.
        tokens: The ``L`` tokens.
        certainty: See :func:`captum_uq.visualization._palette.certainty_of`.
        outlier_perc: See :func:`captum_uq.visualization._scales.magnitude`.

    Returns:
        The tokens.

    Raises:
        TypeError: If ``dist`` is no distribution, or ``tokens`` is one string.
        ValueError: If ``dist`` holds several examples, NaN or infinity or is no text, or tokens and attributions
            differ in number.
    """
    checked_distribution(dist)
    if isinstance(tokens, str):
        raise TypeError("tokens is a sequence of strings, one for each token, got one string; split it.")
    text = only_example(dist, "the attribution of a text has shape (L,) or (L, E)", 1, 2)
    draws = finite(text.cpu().draws.double().reshape(text.n_draws, len(text), -1).sum(-1), "a draw")
    texts = tuple(_shown(str(token)) for token in tokens)
    if len(texts) != draws.shape[1]:
        raise ValueError(
            f"tokens has one string for each of the {draws.shape[1]} attributions, got {len(texts)}. Leave padding "
            "out of both, as in dist[i, :len(tokens)]."
        )
    scale = symmetric(stats.expectation(draws), COLOURS, outlier_perc)
    return Tokens(texts, draws, certainty_of(draws, certainty).numpy(), scale)


def _shown(token: str) -> str:
    """A token as one line in which blanks can be seen; other control characters are escaped."""
    if not token.strip(" "):
        return MARKS[" "] * len(token) or MARKS[""]
    return "".join(each if each.isprintable() else MARKS.get(each, ascii(each)[1:-1]) for each in token)
