# %% [markdown]
"""# What did the point estimate hide?

Three of Captum's own tutorials, redone with one line changed: `captum_uq.attr` in place of `captum.attr`. The first
explains a table (Captum's takes the passengers of the Titanic), the second a CIFAR-10 picture, the third a layer.
Each ends in what the usual single number did not say.

There is no Titanic data here, so Captum's Titanic network learns from California Housing made a classification: is a
district's median house dearer than most? As many districts are shown to it as there were passengers in Captum's
training set.

    python tutorials/05_change_one_import.py             # about a minute; --fast for seconds
"""

# %%
from __future__ import annotations

import sys
from collections import Counter

sys.path.append("..")  # notebooks lie one folder below the helpers

import torch
import torch.nn.functional as F
from _common import Lesson, accuracy, cifar10, correlation, housing, train
from torch import Tensor, nn

from captum_uq import DistributionAttribution
from captum_uq.attr import DeepLift, IntegratedGradients, LayerConductance, LayerGradCam, Saliency
from captum_uq.normalization import channel_sum
from captum_uq.samplers import DropConnect, Ensemble, NothingToDrawError
from captum_uq.visualization import visualize_distribution, visualize_features, visualize_sign_certainty

lesson = Lesson("Change one import")

# %% [markdown]
"""## 1. The table

The network of Captum's Titanic tutorial: two sigmoid layers and a softmax.
"""


# %%
class TitanicNetwork(nn.Module):
    """Captum's: columns ``(N, 8)`` to the probabilities of two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1, self.sigmoid1 = nn.Linear(8, 12), nn.Sigmoid()
        self.linear2, self.sigmoid2 = nn.Linear(12, 8), nn.Sigmoid()
        self.linear3, self.softmax = nn.Linear(8, 2), nn.Softmax(dim=1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Probabilities, ``(N, 2)``."""
        hidden = self.sigmoid1(self.linear1(inputs))
        return self.softmax(self.linear3(self.sigmoid2(self.linear2(hidden))))


def log_loss(probabilities: Tensor, classes: Tensor) -> Tensor:
    """Cross entropy of probabilities."""
    return F.nll_loss(probabilities.clamp_min(1e-9).log(), classes)


def fitted(seed: int, rows: Tensor, classes: Tensor) -> nn.Module:
    """One network, trained on these rows from one starting point."""
    torch.manual_seed(seed)
    return train(TitanicNetwork(), rows, classes, 2 if lesson.fast else 60, loss=log_loss, seed=seed)


# %%
table = housing(lesson)
middle = table.train_targets.median()
rows, classes = table.train_rows[:916], (table.train_targets[:916] > middle).long()
n_explained = 30 if lesson.fast else 300
test_rows, test_classes = table.test_rows[:n_explained], (table.test_targets[:n_explained] > middle).long()
model = fitted(0, rows, classes)
right = accuracy(model, test_rows, test_classes)
print(f"{right:.0%} of the other districts are called right.")
assert lesson.fast or right > 0.8

# %% [markdown]
"""Now change the import, and nothing else:

    from captum_uq.attr import IntegratedGradients

It refuses. By default the draws are those of MC dropout, Captum's network has no dropout, and a spread of zero would
be a lie. The error names the ways out.
"""

# %%
try:
    IntegratedGradients(model).attribute(test_rows, target=1, n_draws=20, seed=0)
except NothingToDrawError as error:
    print(error)
else:
    raise AssertionError("a network without anything random was given a spread")

# %% [markdown]
"""What *is* open about this network? Above all, which 916 districts it happened to see. So train it again, 20 times,
each time on 916 rows drawn from the 916 with replacement (a bootstrap) and from another starting point. The
`Ensemble` sampler asks one member after another.
"""

# %%
members = []
for seed in range(20):
    drawn = torch.randint(len(rows), (len(rows),), generator=torch.Generator().manual_seed(seed))
    members.append(fitted(seed, rows[drawn], classes[drawn]))
ensemble = Ensemble(members)
ig = IntegratedGradients(model, sampler=ensemble)
dist = ig.attribute(test_rows, target=1, n_draws=20, seed=0)
print(dist.sampler, tuple(dist.draws.shape))

# %% [markdown]
"""Captum's tutorial averages the attributions over all rows and prints "feature importances", one bar a column. That
is a `map` here: the average is taken in every draw, and what it leaves is a distribution of importances. (Most bars
point to the left because their sum is the mean probability of these rows less that of the average district, and the
average district is called dear more readily than most.)
"""

# %%
importances = dist.map(lambda draw: draw.mean(0, keepdim=True).expand_as(draw))[0]
figure, _ = visualize_features(importances, table.names, use_pyplot=False)
lesson.show(figure, "table_importances", "Importances of eight columns with intervals: income first, two of open sign")
with torch.no_grad():
    of_rows, of_average = model(test_rows)[:, 1].mean(), model(torch.zeros(1, 8))[0, 1]
print(f"probability of dear: mean of the rows {of_rows:.2f}, the average district {of_average:.2f}")
assert lesson.fast or of_rows < of_average

# %% [markdown]
"""**What the point estimate hid.** Median income comes first in every member: that part of the bar chart is solid. But
the order behind it is open. Some columns change their *sign* from member to member, so "more rooms make a district
cheaper" is a property of one training run. And for a single district, about one attribution in eight has no certain
sign.
"""

# %%
order = importances.draws.abs().argsort(dim=1, descending=True)
first = Counter(table.names[at] for at in order[:, 0].tolist())
orders = {tuple(each) for each in order.tolist()}
low, high = importances.interval(0.9)
open_columns = [name for name, a, b in zip(table.names, low.tolist(), high.tolist(), strict=True) if a <= 0 <= b]
uncertain = (dist.sign_certainty() < 0.95).float().mean().item()
print(f"first place: {dict(first)}; different orders in 20 members: {len(orders)}")
print(f"columns with an open sign: {open_columns}; attributions without a certain sign: {uncertain:.0%}")
if not lesson.fast:  # fast: networks that have learnt next to nothing
    assert first == {"median income": 20}
    assert len(orders) > 5
    assert "total rooms" in open_columns
    assert 0.08 < uncertain < 0.18

# %% [markdown]
"""## 2. The picture

Captum's CIFAR-10 tutorial trains this small network and explains a picture by Saliency, Integrated Gradients and
DeepLift. It has no dropout either. Ten members, from ten starting points, on four classes.
"""


# %%
class CifarNetwork(nn.Module):
    """Captum's, for four classes: pictures ``(N, 3, 32, 32)`` to scores ``(N, 4)``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1, self.pool1 = nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2, 2)
        self.conv2, self.relu2, self.pool2 = nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2, 2)
        self.fc1, self.relu3 = nn.Linear(400, 120), nn.ReLU()
        self.fc2, self.relu4 = nn.Linear(120, 84), nn.ReLU()
        self.fc3 = nn.Linear(84, 4)

    def forward(self, images: Tensor) -> Tensor:
        """Scores, ``(N, 4)``."""
        hidden = self.pool1(self.relu1(self.conv1(images)))
        hidden = self.pool2(self.relu2(self.conv2(hidden))).flatten(1)
        return self.fc3(self.relu4(self.fc2(self.relu3(self.fc1(hidden)))))


# %%
pictures = cifar10(lesson, ["airplane", "cat", "horse", "ship"])
shown_to_it, epochs = (250, 1) if lesson.fast else (4000, 5)
images, labels = pictures.train_images[:: 4000 // shown_to_it], pictures.train_labels[:: 4000 // shown_to_it]
readers = []
for seed in range(3 if lesson.fast else 10):
    torch.manual_seed(seed)
    readers.append(train(CifarNetwork(), images, labels, epochs, seed=seed))
net = readers[0]
scores = [accuracy(reader, pictures.test_images, pictures.test_labels) for reader in readers]
print(f"the members read {min(scores):.0%} to {max(scores):.0%} of new pictures right")
assert lesson.fast or min(scores) > 0.55

# %% [markdown]
"""The same three lines as in Captum's tutorial, with `sampler=`. The picture is a ship that all members call a ship,
or the one that most of them do.
"""

# %%
ships = pictures.first_of(3, 100)
votes = torch.stack([reader(ships).argmax(1) == 3 for reader in readers]).float().mean(0)
picture = ships[votes.argmax() : votes.argmax() + 1].clone().requires_grad_()
sampler = Ensemble(readers)
black = torch.zeros_like(picture)
explained = {
    "Saliency": Saliency(net, sampler=sampler).attribute(picture, target=3, seed=0),
    "Integrated Gradients": IntegratedGradients(net, sampler=sampler).attribute(picture, target=3, seed=0),
    "DeepLift": DeepLift(net, sampler=sampler).attribute(picture, target=3, baselines=black, seed=0),
}
raw = pictures.raw(picture.detach()[0])
for name, each in explained.items():
    panels = ("image", "deterministic", "mean", "stdev", "snr")
    figure, axes = visualize_distribution(each[0], raw, panels, alpha_overlay=1, fig_size=(9.5, 2.9), use_pyplot=False)
    axes[0].set_title(name, fontsize=12)
    seen = f"{name} of a ship: one network's map, mean, stdev and SNR over all members"
    lesson.show(figure, "picture_" + name.lower().replace(" ", "_"), seen)

# %%
figure, _ = visualize_sign_certainty(explained["Integrated Gradients"][0], use_pyplot=False)
lesson.show(figure, "picture_sign_certainty", "The ship's pixels, coloured where the members agree on the sign: few do")

# %% [markdown]
"""**What the point estimate hid.** Take the tenth of the pixels that matter most in *one* member's map, those that a
reader would point at. The other members, just as good at their task and just as sure that this is a ship, dispute
most of them: for only a minority do nine members of ten even agree on the sign. One map is one member's story.
(Saliency in Captum takes absolute values, so it has no sign to disagree on; compare its mean with its stdev.)
"""


# %%
def agreed_among_top(dist: DistributionAttribution) -> float:
    """Share of the pixels, largest in the map of the network as it stands, whose sign nine members of ten share."""
    pixels = dist.map(channel_sum)
    top = pixels.deterministic.abs().flatten().topk(pixels.numel() // 10).indices
    positive = pixels.probability_positive().flatten()[top]
    return ((positive >= 0.9) | (positive <= 0.1)).float().mean().item()


for name in ("Integrated Gradients", "DeepLift"):
    share = agreed_among_top(explained[name])
    alike = correlation(explained[name].map(channel_sum).draws[1], explained[name].map(channel_sum).draws[2])
    print(f"{name:21} agreed signs among the top tenth: {share:.0%}; correlation of two members' maps: {alike:.2f}")
    if not lesson.fast:  # fast: three members that have learnt nothing yet
        assert share < 0.5
assert (explained["Saliency"].draws >= 0).all()

# %% [markdown]
"""## 3. The layer

Captum's third kind: attribute to a hidden layer. First to the *places* of the last convolution, by Grad-CAM. A place
means the same in every member, so the members can be compared.
"""

# %%
cam = LayerGradCam(net, net.conv2, sampler=sampler).attribute(picture, target=3, seed=0)
figure, axes = visualize_distribution(
    cam[0], None, ("deterministic", "mean", "stdev", "snr"), fig_size=(8, 2.9), use_pyplot=False
)
lesson.show(figure, "layer_gradcam", "Grad-CAM of the ship: one network's map, mean, stdev and SNR over all members")
peaks = Counter(divmod(int(draw.argmax()), cam.shape[-1]) for draw in cam.draws)
print(f"Grad-CAM of {tuple(cam.shape[-2:])} places; its peak in each member: {dict(peaks)}")
assert lesson.fast or len(peaks) >= 5  # fast: three members

# %% [markdown]
"""Then to *units*, by LayerConductance on the table's first hidden layer, as Captum's Titanic tutorial does. Here is a
trap: unit 3 of one member has nothing to do with unit 3 of another, for the units of a layer come in no order. Over an
ensemble the distribution of a unit's conductance is a mixture of twelve strangers, however neat its interval looks.

For units, ask for networks *around one network*: DropConnect, MC dropout, a Laplace posterior. Then unit 3 is still
unit 3, if shaken. To see it, take a unit's conductances over all rows in one draw, and look for the unit that is most
like it in another draw. Around one network that is the unit itself in four or five cases of ten (to drop a tenth of
the weights is a strong shake), over an ensemble hardly more often than by chance.
"""


# %%
def found_again(units: DistributionAttribution) -> float:
    """Share of the units whose conductances are most like their own in another draw, over ten pairs of draws."""
    draws = [(draw - draw.mean(0)) / draw.std(0) for draw in units.draws[:5]]
    pairs = [(a, b) for a in range(5) for b in range(a)]
    hits = [((draws[a].T @ draws[b]).argmax(1) == torch.arange(12)).float().mean().item() for a, b in pairs]
    return sum(hits) / len(hits)


around = LayerConductance(model, model.sigmoid1, sampler=DropConnect(p=0.1))
by_dropconnect = around.attribute(test_rows, target=1, n_draws=20, seed=0)
by_ensemble = LayerConductance(model, model.sigmoid1, sampler=ensemble).attribute(test_rows, target=1, seed=0)
again = {"ensemble": found_again(by_ensemble), "DropConnect": found_again(by_dropconnect)}
print("a unit is found again in another draw:", ", ".join(f"{name} {share:.0%}" for name, share in again.items()))
print(f"(by chance {1 / 12:.0%})")
if not lesson.fast:  # fast: units that have learnt next to nothing
    assert 0.35 < again["DropConnect"] < 0.65
    assert again["ensemble"] < 0.2

# %%
mean_over_rows = by_dropconnect.map(lambda draw: draw.mean(0, keepdim=True).expand_as(draw))[0]
figure, _ = visualize_features(mean_over_rows, [f"unit {at}" for at in range(12)], fig_size=(8, 4.2), use_pyplot=False)
lesson.show(figure, "layer_units", "Conductances of twelve units with wide intervals; about half of them hold zero")

# %% [markdown]
"""**What the point estimate hid.** Where Grad-CAM peaks depends on the member: ten members peak in five places or
more. And of the twelve units, which Captum's tutorial plots one by one, about half have no certain sign when a tenth of
the weights are dropped: stories about single units want an interval more than any other.
"""

# %%
low, high = mean_over_rows.interval(0.9)
open_units = int(((low <= 0) & (high >= 0)).sum())
print(f"units with an open sign: {open_units} of 12")
assert lesson.fast or 4 <= open_units <= 8
