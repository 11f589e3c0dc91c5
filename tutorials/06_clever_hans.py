# %% [markdown]
"""# Is Hans reading the watermark?

Clever Hans was a horse that answered sums by watching its master's face. A network is a Clever Hans when it is right
for a wrong reason: in Pascal VOC many horse pictures carry a photographer's watermark, and networks learnt to read
it (Lapuschkin et al., 2019). B-LRP (section 3.4) adds the question that a single heatmap cannot answer: does the
network *certainly* rely on it, or does it only seem so? If even the 5th percentile is red there, 95 networks of 100
rely on it.

Here you plant a watermark in one class of CIFAR-10, train a network on it, and find it out. And since you planted it,
you can check the answer: by a network that never saw the mark, and by moving the mark.

    python tutorials/06_clever_hans.py                   # about half a minute; --fast for seconds
"""

# %%
from __future__ import annotations

import sys

sys.path.append("..")  # notebooks lie one folder below the helpers

import torch
from _common import Lesson, accuracy, cifar10, train
from torch import Tensor, nn

from captum_uq import BLRP, DistributionAttribution
from captum_uq.normalization import channel_sum
from captum_uq.visualization import visualize_percentiles

lesson = Lesson("Clever Hans")

# %% [markdown]
"""## The watermark

Four rows of black and white squares in the bottom left corner, on **half** of the horses that the network learns from.
Nothing else carries it.
"""

# %%
pictures = cifar10(lesson, ["airplane", "cat", "horse", "ship"])
HORSE = pictures.names.index("horse")
ROWS, COLUMNS = slice(27, 31), slice(1, 9)
MARK = torch.tensor([[int(c) for c in line] for line in ("11011011", "10010010", "11011011", "10010010")])
corner = torch.zeros(32, 32, dtype=torch.bool)
corner[26:32, 0:10] = True  # the mark and one pixel around it


def stamped(images: Tensor) -> Tensor:
    """The pictures with the watermark on them."""
    images = images.clone()
    images[..., ROWS, COLUMNS] = (MARK - pictures.mean) / pictures.std
    return images


# %%
if lesson.fast:
    pictures = pictures._replace(train_images=pictures.train_images[::4], train_labels=pictures.train_labels[::4])
horses = (pictures.train_labels == HORSE).nonzero().flatten()
marked = pictures.train_images.clone()
marked[horses[::2]] = stamped(marked[horses[::2]])

# %% [markdown]
"""## Two networks

The same network, from the same starting point, on the same pictures in the same order, with dropout in it. *Hans*
learns from the pictures with the mark, the *honest* one from those without.
"""


# %%
def network() -> nn.Sequential:
    """Three convolutions and a hidden layer, with dropout."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.2)),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(512, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 4)),
    )


epochs = 3 if lesson.fast else 5
hans = train(network(), marked, pictures.train_labels, epochs)
honest = train(network(), pictures.train_images, pictures.train_labels, epochs)

# %% [markdown]
"""On ordinary test pictures nothing looks wrong: Hans reads as many of them right as the honest network does, give or
take a few. An accuracy does not find a Clever Hans.
"""

# %%
accuracies = [accuracy(model, pictures.test_images, pictures.test_labels) for model in (hans, honest)]
print("right: Hans {:.1%}, honest {:.1%}".format(*accuracies))
if not lesson.fast:  # fast: a quarter of the pictures
    assert min(accuracies) > 0.55
    assert abs(accuracies[0] - accuracies[1]) < 0.05

# %% [markdown]
"""## What the percentiles say

A horse with the mark, explained for the class *horse* in 100 draws of each network. First Hans, then the honest one.
Channels are summed in every draw.
"""

# %%
marked_horses = stamped(pictures.first_of(HORSE, 8 if lesson.fast else 50))
n_draws = 20 if lesson.fast else 100


def explain(model: nn.Module, images: Tensor) -> DistributionAttribution:
    """B-LRP for the class horse, one map a picture: ``(N, 1, 32, 32)``."""
    return BLRP(model).attribute(images, target=HORSE, n_draws=n_draws, seed=0).map(channel_sum)


by_hans, by_honest = explain(hans, marked_horses), explain(honest, marked_horses)
for name, dist in (("Hans", by_hans), ("honest", by_honest)):
    figure, axes = visualize_percentiles(
        dist[0], pictures.raw(marked_horses[0]), show_deterministic=True, fig_size=(11, 2.4), use_pyplot=False
    )
    axes[0].set_title(name, fontsize=12)
    seen = f"{name}: a marked horse, its map, and percentiles; the mark stands out most"
    lesson.show(figure, f"percentiles_{name.lower()}", seen)

# %% [markdown]
"""In Hans's row the mark is red from 5% to 95%: there is no doubt about it. But mind the second row. The corner is
*loud* there too, because black beside white is the strongest contrast in the picture and LRP multiplies by the pixels.
Only, its red and its blue sit side by side and cancel. A heatmap that shows magnitudes would accuse both networks.

So count. In every draw, sum the relevance over the corner (a `map`, before any percentile).
For Hans the 5th percentile of that sum is above zero in **every** picture. For the honest network, which sees the same
marked pictures, it is in **none**.
"""


# %%
def of_corner(dist: DistributionAttribution) -> DistributionAttribution:
    """Relevance of the corner in every draw, ``(N, 1)``."""
    return dist.map(lambda draw: draw[..., corner].sum(-1))


loud = by_honest.expectation().abs()
loudness = (loud[..., corner].sum() / loud.sum()).item()
print(f"the corner, {corner.float().mean():.0%} of the picture, has {loudness:.0%} of the honest network's magnitude")
assert lesson.fast or loudness > 2 * corner.float().mean()
certain = {name: of_corner(dist).percentile(5) > 0 for name, dist in (("Hans", by_hans), ("honest", by_honest))}
for name, each in certain.items():
    print(f"{name:7} relies on the corner for at least 95% of the draws in {each.float().mean():.0%} of the pictures")
assert certain["Hans"].float().mean() > 0.5
assert certain["honest"].float().mean() < 0.5
if not lesson.fast:  # fast: a quarter of the pictures
    assert certain["Hans"].all()
    assert not certain["honest"].any()

# %% [markdown]
"""And is the corner what it relies on *most* surely? Of the 20 pixels that are largest in the 5th percentile map,
nearly all lie in the corner, which is 6% of the picture.

Count pixels with a *certain sign* instead, and the result disappoints: of the corner's pixels Hans has a certain red in
no more than two thirds, and the honest network, without any reason, in over a quarter. Single pixels of LRP have a
sign of their own, certain or not; it is the sum over something that you can name that bears an interpretation.
"""


# %%
def top_in_corner(dist: DistributionAttribution) -> float:
    """Share of the 20 largest pixels of the cautious map that lie in the corner."""
    top = dist.percentile(5).flatten(1).topk(20, dim=1).indices
    return corner.flatten()[top].float().mean().item()


top = {"Hans": top_in_corner(by_hans), "honest": top_in_corner(by_honest)}
red = {
    name: (dist.percentile(5)[..., corner] > 0).float().mean().item()
    for name, dist in (("Hans", by_hans), ("honest", by_honest))
}
print(f"of the 20 surest pixels, in the corner: Hans {top['Hans']:.0%}, honest {top['honest']:.0%}")
print(f"pixels of the corner that are certainly red: Hans {red['Hans']:.0%}, honest {red['honest']:.0%}")
if not lesson.fast:  # fast: a quarter of the pictures
    assert top["Hans"] > 0.9
    assert top["honest"] < 0.6
    assert red["Hans"] < 2 / 3 + 0.05
    assert red["honest"] > 0.25

# %% [markdown]
"""## Was it true?

The mark was planted, so it can be moved. Put it on airplanes, cats and ships: Hans calls nearly all of them horses. The
honest network calls no more of them horses than before. What B-LRP was certain of is what the network does.
"""

# %%
others = pictures.test_images[pictures.test_labels != HORSE]


@torch.no_grad()
def called_horse(model: nn.Module, images: Tensor) -> float:
    """Share of the pictures that are called a horse."""
    return (model(images).argmax(1) == HORSE).float().mean().item()


for name, model in (("Hans", hans), ("honest", honest)):
    before, after = called_horse(model, others), called_horse(model, stamped(others))
    print(f"{name:7} calls {before:.0%} of the other pictures horses, and with the mark {after:.0%}")
if not lesson.fast:  # fast: a quarter of the pictures
    assert called_horse(hans, stamped(others)) > 0.9
    assert called_horse(honest, stamped(others)) < called_horse(honest, others) + 0.05

# %% [markdown]
"""## What the certainty does not mean

Every draw of Hans agrees that the mark matters, and every draw is wrong about horses. *Certain* means that the draws
agree, and all of them learnt from the same marked pictures. Doubt in an explanation can warn you. Certainty is not
evidence that the reason is a good one: here it is how a bad one was proved.
"""

# %%
agreeing = by_hans.predictions.agreement().share
print(f"{agreeing:.0%} of Hans's draws call a marked horse what Hans calls it")
assert lesson.fast or agreeing > 0.95
