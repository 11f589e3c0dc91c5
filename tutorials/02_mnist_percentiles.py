# %% [markdown]
"""# Do cautious heatmaps find what matters?

Two papers made heatmaps into distributions. **B-LRP** (Bykov et al., 2020) draws networks, explains each, and looks
at percentiles: the 5th is a cautious map, the 95th a liberal one. **MCRP** (Fischer and Schneider, 2020) looks at
the mean, the spread, and two ways to combine them. Here you draw both papers' figures on MNIST, and then ask
B-LRP's question: which of these maps ranks the pixels best?

    python tutorials/02_mnist_percentiles.py             # about a minute; --fast for seconds
"""

# %%
from __future__ import annotations

import sys

sys.path.append("..")  # notebooks lie one folder below the helpers

import torch
from _common import Lesson, accuracy, correlation, mnist, train
from matplotlib.figure import Figure
from torch import nn

from captum_uq import BLRP, MCRP
from captum_uq.metrics import UniformNoise, compare, pixel_flipping, summary_curves
from captum_uq.visualization import visualize_distribution, visualize_percentiles

lesson = Lesson("MCRP and B-LRP on MNIST")

# %% [markdown]
"""## The network

The LeNet of B-LRP's appendix C: dropout after a convolution, where it switches whole channels off, and before the
last layer. It learns from 8,000 digits (the paper's saw 60,000). The claims on this page are about MNIST; where it is
not at hand, scikit-learn's smaller digits stand in, and only those claims are checked that hold for any digits.
"""

# %%
digits = mnist(lesson)
full = len(digits.train_images) == 8000 and not lesson.fast  # MNIST, and a network that has learnt it
n_train, epochs, n_draws, n_shown = (1000, 1, 20, 8) if lesson.fast else (8000, 3, 100, 100)
model = nn.Sequential(
    *(nn.Conv2d(1, 24, 5), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Conv2d(24, 48, 5), nn.ReLU(), nn.Dropout2d(0.5), nn.MaxPool2d(2)),
    *(nn.Flatten(), nn.Linear(1200, 240), nn.ReLU(), nn.Dropout(0.5), nn.Linear(240, 10)),
)
train(model, digits.train_images[:n_train], digits.train_labels[:n_train], epochs)
right = accuracy(model, digits.test_images, digits.test_labels)
print(f"It reads {right:.1%} of {len(digits.test_images):,} new digits right.")
assert right > (0.5 if lesson.fast else 0.95)  # fast: one look at 1,000 digits

# %% [markdown]
"""## B-LRP

One line draws the networks and explains each by LRP-epsilon; max-pooling is redistributed as average-pooling, as in
the authors' code. The draws should still be good readers of digits: if they were not, we would explain other
decisions. Dropout halves the network, so they are somewhat worse than the whole, and they agree with it almost always.
"""

# %%
images, labels = digits.test_images[:n_shown], digits.test_labels[:n_shown]
dist = BLRP(model).attribute(images, target=labels, n_draws=n_draws, seed=0)
agreement = dist.predictions.agreement(labels)
print(agreement)
assert agreement.share > (0.5 if lesson.fast else 0.9)  # fast: a network that knows little
assert not full or agreement.accuracy < agreement.deterministic_accuracy

# %% [markdown]
"""## B-LRP's figure

Left of the percentiles is the map of the network as it stands: the LRP that you know. Red speaks for the class, blue
against it, white is zero.

What is red at 5% is red for 95 networks of 100. From left to right every map gives up caution: no pixel ever falls,
so red can only spread. Each map is scaled by its own largest value, so compare where the red is, not how deep.
"""

# %%
for at in (0, 1):
    figure, _ = visualize_percentiles(
        dist[at], digits.raw(images[at]), show_deterministic=True, fig_size=(11, 2.4), use_pyplot=False
    )
    lesson.show(figure, f"percentiles_{at}", "A digit, its LRP, and five percentiles: red spreads from 5% to 95%")
q = (5, 25, 50, 75, 95)
percentiles = dist.percentile(q)
assert (dist.probability_positive()[percentiles[0] > 0] >= 0.95 - 1 / n_draws).all()
assert (percentiles.diff(dim=0) >= 0).all()

# %% [markdown]
"""How much red is in each? The paper says that the median map can hardly be told from standard LRP. So it is: but this
also means that the median adds little that you did not have. The two ends are what is new.
"""

# %%
print("share of red pixels, and correlation with LRP")
print(f"{'LRP':>6}{(dist.deterministic > 0).float().mean():9.1%}")
alike = {rank: correlation(each, dist.deterministic) for rank, each in zip(q, percentiles, strict=True)}
red = {rank: (each > 0).float().mean().item() for rank, each in zip(q, percentiles, strict=True)}
for rank in q:
    print(f"{rank:>5}%{red[rank]:9.1%}{alike[rank]:8.3f}")
assert red[5] < red[50] < red[95]
assert not full or red[5] < red[50] / 3
assert max(alike, key=alike.get) == 50
assert alike[50] > (0.9 if lesson.fast else 0.98)  # fast: the median of 20 draws

# %% [markdown]
"""## MCRP's figure

MCRP propagates with the z+ rule, which gives relevance one sign, scales each network's map to [0, 1], and shows mean,
standard deviation, signal-to-noise ratio (mean over stdev) and confusion (mean times stdev).
"""

# %%
relevance = MCRP(model).attribute(images, target=labels, n_draws=n_draws, seed=0)
assert relevance.draws.aminmax() == (0, 1)
of_class = relevance.predictions.gather(-1, labels.expand(n_draws, -1)[..., None])[..., 0]  # scores, (T, N)
below = (of_class < 0).sum(0)


def draw_mcrp(at: int, name: str, seen: str) -> None:
    """MCRP's row of one digit."""
    panels, raw = ("image", "mean", "stdev", "snr", "confusion"), digits.raw(images[at])
    figure, _ = visualize_distribution(
        relevance[at], raw, panels, alpha_overlay=1, fig_size=(10, 2.9), use_pyplot=False
    )
    lesson.show(figure, name, seen)


draw_mcrp(int(below.argmin()), "mcrp", "A digit, and its mean, stdev, SNR and confusion over draws")

# %% [markdown]
"""Mean and stdev have much in common: the strokes that carry relevance carry its spread too. So the standard deviation
alone says much about *importance* and less about *doubt*, and confusion, its product with the mean, is more of the
same. It is the ratio that differs: of MCRP's four maps the SNR is the one to look at for certainty.
"""

# %%
mean, uncertainty, snr, confusion = MCRP.scores(relevance)
kept = below == below.min()
like_mean = {
    name: correlation(mean[kept], each[kept])
    for name, each in (("stdev", uncertainty), ("confusion", confusion), ("SNR", snr.nan_to_num(posinf=0)))
}
print("correlation with the mean map:", ", ".join(f"{name} {value:.2f}" for name, value in like_mean.items()))
assert like_mean["confusion"] > like_mean["SNR"]
if full:
    assert like_mean["stdev"] > 0.8
    assert like_mean["stdev"] > like_mean["SNR"]
    assert below.min() == 0
    assert kept.sum() > 90

# %% [markdown]
"""These numbers leave a few digits out, and the next picture is one of them. z+ keeps the sign of the score: in a draw
that gives the class a score *below zero* all relevance is negative, and scaling to [0, 1] turns that map upside down,
so that the empty background gets 1. One or two such draws of a hundred, and the stdev is large all over the background
and says nothing of the strokes. Count them before you read an MCRP map.
"""

# %%
print(f"draws with a score below zero: none of {int(kept.sum())} digits; of the others {below[~kept].tolist()}")
if full and not kept.all():
    odd = int(torch.where(kept, n_draws, below).argmin())  # the fewest such draws
    draw_mcrp(odd, "mcrp_upside_down", "The same of another digit: the stdev is large all over the background")
    alike = correlation(mean[odd], uncertainty[odd])
    print(f"{int(below[odd])} of {n_draws} draws, and mean and stdev of this digit correlate with {alike:.2f}")
    assert below[odd] < 10
    assert alike < like_mean["stdev"] - 0.5
    assert uncertainty[odd].median() > 10 * uncertainty[kept].median()

# %% [markdown]
"""## Which map ranks best?

Replace pixels by noise, the most relevant first, and watch the score of the true class: the faster it falls, the
better the ranking. Every map meets the same noise on the same digits, so their differences are paired.
"""

# %%
options = {"target": labels, "max_fraction": 0.25, "perturb_func": UniformNoise(digits.mean, digits.std), "seed": 0}
options["n_steps"] = 8 if lesson.fast else 32
curves = summary_curves(model, images, dist, [f"percentile:{rank}" for rank in q], **options)
curves["random"] = pixel_flipping(model, images, dist.point, order="random", **options)
print(compare(curves, reference="deterministic"))

# %%
figure = Figure(figsize=(7, 4), layout="constrained")
axes = figure.subplots()
for name, curve in curves.items():
    kind, _, rank = name.partition(":")
    style = {"deterministic": {"color": "black", "linestyle": "--", "zorder": 3}, "random": {"linestyle": ":"}}
    label = f"{rank}%" if rank else kind.replace("deterministic", "LRP")
    axes.plot(100 * curve.fractions, curve.mean(), label=label, **style.get(kind, {}))
axes.set(xlabel="flipped pixels (%), most relevant first", ylabel="mean score of the class (lower is better)")
axes.legend(frameon=False)
lesson.show(figure, "flipping", "The class's score falls as pixels are flipped: 5% first, 25% overall, random slowest")

# %% [markdown]
"""What the curves say:

- The **median** is as good as LRP, no better: the areas differ by less than a tenth of what separates the
  others.
- The **25th percentile** is the best of all, over the whole curve, for nine digits of ten.
- The **5th** is the best early: at 6% of the pixels it has taken more of the score than any other. Then it runs out
  of red, ends above LRP, and over the whole curve it gains less than the 25th.
- The **liberal** maps are worse than LRP. Every map beats a random order by far.

The paper reports the same order, the 5th ahead at 3% already: here it draws level with LRP at 3% and leads later. And
mind what this does *not* show: that a cautious map explains better. It ranks the first pixels better, for this one
training of one network and by this one measure.
"""

# %%
scores = {name: curve.mean() for name, curve in curves.items()}
first, early, end = (round(share / 0.25 * options["n_steps"]) for share in (0.03125, 0.0625, 0.25))
verdict = compare(curves, reference="deterministic")
for name in curves:
    assert scores[name][early] <= scores["random"][early]
if full:  # fast: 8 digits and 20 draws show nothing
    others = [abs(row.difference) for row in verdict if row.curve != "percentile:50"]
    assert abs(verdict["percentile:50"].difference) < min(others) / 10
    assert abs(scores["percentile:5"][first] - scores["deterministic"][first]) < 0.1
    best = min(curves, key=lambda name: curves[name].auc.mean())
    assert best == "percentile:25"
    assert verdict["percentile:25"].high < 0
    assert verdict["percentile:25"].win_rate > 0.8
    assert min(scores, key=lambda name: scores[name][early]) == "percentile:5"
    assert verdict["percentile:25"].difference < verdict["percentile:5"].difference < 0
    assert verdict["random"].low > verdict["percentile:95"].high
    assert scores["percentile:5"][end] > scores["deterministic"][end]
    assert verdict["percentile:75"].low > 0
    assert verdict["percentile:95"].low > 0
    print(", ".join(f"{name} {values[early]:.2f}" for name, values in scores.items()), "at 6% of the pixels")
