"""Tokens, as a figure and as HTML: their colours by an own computation, their places, and what they must not do."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure

from captum_uq import visualization
from captum_uq.distribution import DistributionAttribution
from captum_uq.visualization._palette import ABOVE, BELOW
from visualization.maps import DRAWS, random_draws
from visualization.pictures import TOKENS

SENTENCE = "It was , all in all , neither as good nor as bad as its $trailer$ had made us fear it would be ."
WORDS = SENTENCE.split()


def text(length: int = len(TOKENS), embedding: int | None = 4, examples: int = 1) -> DistributionAttribution:
    return DistributionAttribution(random_draws(examples, length, *([] if embedding is None else [embedding])))


def expected(draws: np.ndarray, certainty: str) -> list[tuple[np.ndarray, float]]:
    """Colour and opacity of each token from draws ``(T, L)``."""
    means = draws.mean(0)
    colours = []
    for values, mean in zip(draws.T, means, strict=True):
        strength = abs(mean) / np.abs(means).max()
        sure = abs((values > 0).mean() - (values < 0).mean())
        sure = sure if certainty == "sign" else abs(mean) / (abs(mean) + values.std(ddof=1))
        colours.append(((1 - strength) + strength * np.array(to_rgb(ABOVE if mean > 0 else BELOW)), sure))
    return colours


def boxes(figure: Figure, axes) -> list:
    renderer = FigureCanvasAgg(figure).get_renderer()
    return [each.get_bbox_patch().get_window_extent(renderer) for each in axes.texts]


@pytest.mark.parametrize("certainty", ["sign", "snr"])
@pytest.mark.parametrize("embedding", [None, 4])
def test_tokens_have_the_colour_of_their_mean_and_the_opacity_of_their_certainty(certainty, embedding) -> None:
    dist = text(embedding=embedding)
    _, axes = visualization.visualize_text(dist, TOKENS, certainty=certainty, use_pyplot=False)
    draws = dist.draws[:, 0].double().numpy()
    draws = draws if embedding is None else draws.sum(-1)
    for each, (colour, opacity) in zip(axes.texts, expected(draws, certainty), strict=True):
        np.testing.assert_allclose(each.get_bbox_patch().get_facecolor(), [*colour, opacity], atol=1e-5)


@pytest.mark.parametrize(
    "ways", [lambda dist: dist, lambda dist: dist[0], lambda dist: dist.map(lambda d: d.sum(-1))[0]]
)
def test_a_text_may_come_as_a_batch_an_example_or_summed(ways) -> None:
    _, axes = visualization.visualize_text(ways(text()), TOKENS, use_pyplot=False)
    _, reference = visualization.visualize_text(text(), TOKENS, use_pyplot=False)
    for here, there in zip(axes.texts, reference.texts, strict=True):
        np.testing.assert_allclose(
            here.get_bbox_patch().get_facecolor(), there.get_bbox_patch().get_facecolor(), atol=1e-4
        )


@pytest.mark.parametrize("width", [2.5, 4, 9])
@pytest.mark.parametrize("font_size", [8, 20])
def test_tokens_read_in_order_and_none_touches_another(width: float, font_size: float) -> None:
    figure, axes = visualization.visualize_text(
        text(len(WORDS)), WORDS, font_size=font_size, fig_size=(width, 12), use_pyplot=False
    )
    assert [each.get_text() for each in axes.texts] == WORDS
    figure.draw_without_rendering()
    places = boxes(figure, axes)
    for here, there in itertools.combinations(places, 2):
        shared = type(here).intersection(here, there)
        assert shared is None or min(shared.width, shared.height) < 0.5
    for here, there in itertools.pairwise(places):
        assert there.x0 > here.x0 or there.y0 < here.y0
    assert all(place.x0 >= 0 and place.x1 <= figure.bbox.x1 for place in places)
    lines = len({round(place.y0) for place in places})
    assert (lines == 1) == (width == 9 and font_size == 8)


def test_a_figure_of_its_own_is_as_high_as_the_text() -> None:
    for count in (1, 20, 200):
        words = ["word"] * count
        figure, axes = visualization.visualize_text(text(count), words, show_colorbar=False, use_pyplot=False)
        figure.draw_without_rendering()
        places = boxes(figure, axes)
        assert min(place.y0 for place in places) >= 0
        assert max(place.y1 for place in places) <= figure.bbox.y1
        assert min(place.y0 for place in places) < 0.3 * figure.dpi


def test_text_in_axes_of_the_users_own_starts_in_their_corner() -> None:
    figure = Figure(figsize=(8, 8))
    own = figure.subplots(2, 2)[1, 1]
    _, axes = visualization.visualize_text(
        text(len(WORDS)), WORDS, plt_fig_axis=(figure, own), show_colorbar=False, use_pyplot=False
    )
    figure.draw_without_rendering()
    frame = own.get_window_extent()
    for place in boxes(figure, axes):
        assert frame.x0 <= place.x0
        assert place.x1 <= frame.x1
        assert frame.y0 <= place.y0
        assert place.y1 <= frame.y1


def test_blanks_are_seen_and_nothing_is_a_formula_or_an_escape() -> None:
    tokens = ["", " ", "  ", "\n", "a\tb", "$x^2$", r"\frac", "\x07", "<pad>", "##ing", "caf\u00e9"]
    shown = [
        "\u2205",
        "\u2423",
        "\u2423\u2423",
        r"\n",
        r"a\tb",
        "$x^2$",
        r"\frac",
        r"\x07",
        "<pad>",
        "##ing",
        "caf\u00e9",
    ]
    figure, axes = visualization.visualize_text(text(len(tokens)), tokens, use_pyplot=False)
    assert [each.get_text() for each in axes.texts] == shown
    assert not any(each.get_parse_math() for each in axes.texts)
    FigureCanvasAgg(figure).draw()


class Reader(HTMLParser):
    """The spans with a title, their styles and texts; and every name of an element or attribute."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.spans: list[dict[str, str]] = []
        self.open: list[dict[str, str] | None] = []
        self.names: set[str] = set()
        self.depth = 0
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.names |= {tag, *(name for name, _ in attrs)}
        self.depth += 1
        span = dict(attrs) | {"text": ""} if "title" in dict(attrs) else None
        self.open.append(span)
        self.spans += [] if span is None else [span]

    def handle_endtag(self, tag) -> None:
        self.depth -= 1
        self.open.pop()

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] is not None:
            self.open[-1]["text"] += data


@pytest.mark.parametrize("certainty", ["sign", "snr"])
@pytest.mark.parametrize("legend", [True, False])
def test_html_holds_the_colours_and_numbers_of_the_figure(certainty: str, legend: bool) -> None:
    dist = text()
    _, axes = visualization.visualize_text(dist, TOKENS, certainty=certainty, use_pyplot=False)
    read = Reader(visualization.text_html(dist, TOKENS, certainty=certainty, legend=legend))
    assert read.depth == 0
    assert [span["text"] for span in read.spans] == [each.get_text() for each in axes.texts]
    draws = dist.draws[:, 0].double().sum(-1)
    for span, drawn, values in zip(read.spans, axes.texts, draws.T, strict=True):
        red, green, blue, opacity = map(float, re.search(r"rgba\((.*?)\)", span["style"]).group(1).split(","))
        np.testing.assert_allclose(
            [red / 255, green / 255, blue / 255, opacity], drawn.get_bbox_patch().get_facecolor(), atol=0.003
        )
        assert to_rgba(re.search(r"[^-]color:(\w+)", span["style"]).group(1)) == to_rgba(drawn.get_color())
        numbers = [float(each) for each in re.findall(r"[-+]?\d[\d.e+-]*", span["title"])]
        assert numbers[0] == pytest.approx(values.mean().item(), rel=0.01)
        assert numbers[1] == pytest.approx(values.std().item(), rel=0.01)
        assert numbers[2] == pytest.approx(100 * (values > 0).double().mean().item(), abs=0.5)


def test_letters_are_white_on_full_colours_and_black_on_faint_ones() -> None:
    dist = DistributionAttribution(torch.tensor([[[1.0, -1.0, 0.2, 0.0]], [[1.0, -1.0, 0.2, 0.0]]]))
    _, axes = visualization.visualize_text(dist, list("abcd"), use_pyplot=False)
    expected = ["white", "white", "black", "black"]
    assert [each.get_color() for each in axes.texts] == expected
    spans = Reader(visualization.text_html(dist, list("abcd"))).spans
    assert [re.search(r"[^-]color:(\w+)", span["style"]).group(1) for span in spans] == expected


EVIL = [
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "</span></div><img src=x onerror=alert(1)>",
    "&lt;",
    "'",
]


@pytest.mark.parametrize("legend", [True, False])
def test_tokens_cannot_bring_markup_of_their_own(legend: bool) -> None:
    read = Reader(visualization.text_html(text(len(EVIL)), EVIL, legend=legend))
    assert [span["text"] for span in read.spans] == EVIL
    assert read.names <= {"div", "span", "style", "title"}
    assert read.depth == 0


def test_html_is_a_string_that_notebooks_show() -> None:
    markup = visualization.text_html(text(), TOKENS)
    assert isinstance(markup, str)
    assert markup._repr_html_() == markup
    assert type(markup._repr_html_()) is str
    assert "agree" in markup
    assert "agree" not in visualization.text_html(text(), TOKENS, legend=False)


def test_html_of_one_draw_has_no_spread() -> None:
    markup = visualization.text_html(DistributionAttribution(torch.ones(1, 1, 2)), ["a", "b"])
    assert "mean +1, stdev 0, 100% of draws above 0" in markup


@pytest.mark.parametrize("function", [visualization.visualize_text, visualization.text_html])
@pytest.mark.parametrize(
    ("dist", "tokens", "options", "error", "message"),
    [
        (text(), "a b c", {}, TypeError, "tokens is a sequence of strings.*split it"),
        (text(), TOKENS[:-1], {}, ValueError, r"each of the 6 attributions, got 5.*dist\[i, :len\(tokens\)\]"),
        (text(examples=2), TOKENS, {}, ValueError, r"one example, got 2 of shape \(6, 4\); choose one, dist\[i\]"),
        (text(0), [], {}, ValueError, r"shape \(L,\) or \(L, E\), got \(1, 0, 4\)"),
        (DistributionAttribution(random_draws(1, 2, 3, 4)), ["a", "b"], {}, ValueError, r"got \(1, 2, 3, 4\)"),
        (text(), TOKENS, {"certainty": "spread"}, ValueError, "certainty is one of"),
        (text(), TOKENS, {"outlier_perc": 100}, ValueError, "outlier_perc is a percentage"),
        (torch.ones(6), TOKENS, {}, TypeError, "DistributionAttribution, got Tensor"),
    ],
)
def test_what_is_no_text_is_refused(function, dist, tokens, options, error, message: str) -> None:
    with pytest.raises(error, match=message):
        function(dist, tokens, **options)


def test_padding_is_left_out_as_the_message_says() -> None:
    padded = text(9, examples=2)
    _, axes = visualization.visualize_text(padded[1, : len(TOKENS)], TOKENS, use_pyplot=False)
    draws = padded.draws[:, 1, : len(TOKENS)].double().sum(-1).numpy()
    for each, (colour, opacity) in zip(axes.texts, expected(draws, "sign"), strict=True):
        np.testing.assert_allclose(each.get_bbox_patch().get_facecolor(), [*colour, opacity], atol=1e-5)
    assert len(draws) == DRAWS
