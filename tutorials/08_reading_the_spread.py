# %% [markdown]
"""# How many draws, and what does the spread mean?

Three questions that every user of a distribution has: how many draws `T` are enough, how a percentile is to be read,
and what a wide or a narrow spread says about the world. To answer them we need to know the truth, so the data are
made up: the target depends on three of ten columns, one of which has a twin, and the other six are noise.

    python tutorials/08_reading_the_spread.py            # under a minute; --fast for seconds
"""

# %%
from __future__ import annotations

import sys
import warnings

sys.path.append("..")  # notebooks lie one folder below the helpers

import torch
import torch.nn.functional as F
from _common import Lesson, correlation, train
from captum.attr import IntegratedGradients
from matplotlib.figure import Figure
from torch import Tensor, nn

from captum_uq import DistributionAttribution, MCDropout, StochasticAttribution, stats
from captum_uq.samplers import Ensemble, Sampler
from captum_uq.visualization import visualize_features

lesson = Lesson("Choosing T, reading percentiles, and what the spread means")

# %% [markdown]
"""## A world that we know

`y = 2 a + 1.5 c - relu(d) + noise`. Column `b`, *a's twin*, is nearly a copy of `a`, so the data cannot say which of
the two does the work. Columns `e` to `j` do nothing.
"""


# %%
def world(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows ``(N, 10)`` and targets ``(N,)``."""
    rng = torch.Generator().manual_seed(seed)
    rows, noise = torch.randn(count, 10, generator=rng), torch.randn(count, 2, generator=rng)
    rows[:, 1] = rows[:, 0] + 0.05 * noise[:, 0]
    return rows, 2 * rows[:, 0] + 1.5 * rows[:, 2] - rows[:, 3].relu() + 0.5 * noise[:, 1]


def network(rate: float, seed: int) -> nn.Sequential:
    """Two hidden layers; dropout after each where the rate is above 0."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before in (10, 64):
        layers += [nn.Linear(before, 64), nn.ReLU(), *([nn.Dropout(rate)] if rate else [])]
    return nn.Sequential(*layers, nn.Linear(64, 1), nn.Flatten(0))


NAMES = ["a", "b (a's twin)", "c", "d", *(f"{name} (noise)" for name in "efghij")]
TWINS, NOISE = slice(0, 2), slice(4, 10)
rows, targets = world(400, seed=1)
epochs = 10 if lesson.fast else 40
model = train(network(0.2, 0), rows, targets, epochs, loss=F.mse_loss)

new_rows, new_targets = world(400, seed=2)
with torch.no_grad():
    explained = 1 - ((model(new_rows) - new_targets).square().mean() / new_targets.var()).item()
print(f"the network explains {explained:.0%} of the variance of new targets")
assert explained > (0.6 if lesson.fast else 0.9)  # fast: a quarter of the training
inputs = new_rows[: 10 if lesson.fast else 100]


def attribute(model: nn.Module, sampler: Sampler, n_draws: int, seed: int = 0) -> DistributionAttribution:
    """Integrated Gradients of the rows above."""
    uq = StochasticAttribution(IntegratedGradients(model), sampler)
    return uq.attribute(inputs, n_draws=n_draws, seed=seed, n_steps=20)


# %% [markdown]
"""## 1. How many draws?

A statistic of `T` draws is an estimate, and its error falls with the root of `T`. To see it, take very many draws as
the truth, cut them into groups of `T`, and look at how far the groups' statistics lie from it. The error is in units
of one stdev over draws, times the root of `T`, so that each line below should be flat.
"""

# %%
many = attribute(model, MCDropout(), n_draws=200 if lesson.fast else 1000, seed=1)
statistics = {
    "mean": stats.expectation,
    "median": stats.median,
    "5th percentile": lambda draws: stats.percentile(draws, 5),
}
sizes = (20, 50) if lesson.fast else (20, 50, 100)
truth, unit = {name: fn(many.draws) for name, fn in statistics.items()}, many.stdev()
scaled: dict[str, list[float]] = {name: [] for name in statistics}
for n_draws in sizes:
    for name, fn in statistics.items():
        errors = torch.stack([(fn(group) - truth[name]) / unit for group in many.draws.split(n_draws)])
        scaled[name].append(errors.square().mean().sqrt().item() * n_draws**0.5)
for name, values in scaled.items():
    print(f"{name:15} error x root of T, in stdevs:  " + "  ".join(f"{value:.2f}" for value in values))

# %%
figure = Figure(figsize=(5.5, 3.4), layout="constrained")
axes = figure.subplots()
for name, values in scaled.items():
    axes.plot(sizes, [value / n_draws**0.5 for value, n_draws in zip(values, sizes, strict=True)], "o-", label=name)
axes.set(xlabel="draws T", ylabel="error (stdevs over draws)", xscale="log", yscale="log")
axes.set_xticks(sizes, [str(n_draws) for n_draws in sizes])
axes.set_yticks([0.1, 0.2, 0.4], ["0.1", "0.2", "0.4"])
axes.minorticks_off()
axes.legend(frameon=False)
lesson.show(figure, "choosing_t", "The error of mean, median and 5th percentile falls with the root of the draws")

# %% [markdown]
"""The lines are flat, near what theory says of a normal distribution: 1 for the mean, 1.25 for the median and 2.1 for
the 5th percentile. So:

- The mean of **20** draws is off by a fifth of a stdev: enough for a picture.
- The 5th percentile is off by twice as much for the same `T`. **100** draws, the papers' number and our default, bring
  it to a fifth of a stdev.
- To halve any error, draw four times as many. Beyond some hundreds you polish the wrong thing: see the third part.
"""

# %%
assert MCDropout().default_draws == 100
slack = 0.5 if lesson.fast else 0.25  # fast: a handful of groups
for name, expected in (("mean", 1.0), ("median", 1.25), ("5th percentile", 2.1)):
    for value in scaled[name]:
        assert abs(value / expected - 1) < slack

# %% [markdown]
"""The library helps in three ways. It warns where a percentile lies beyond the outermost draw. A draw depends on its
seed and number alone, so 20 draws *are* the first 20 of 50, and you lose nothing by starting small. And draws from
another seed can be merged with those you have.
"""

# %%
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    attribute(model, MCDropout(), n_draws=19).percentile(5)
print(said[-1].message)
assert "needs at least 20 draws, got 19" in str(said[-1].message)

few, more = attribute(model, MCDropout(), n_draws=20), attribute(model, MCDropout(), n_draws=50)
torch.testing.assert_close(few.draws, more.draws[:20])
assert few.merge(attribute(model, MCDropout(), n_draws=30, seed=5)).n_draws == 50

# %% [markdown]
"""## 2. How to read a percentile

A percentile map is made entry by entry. It answers one question for each column on its own: *what do 95 networks of
100 at least give it?* It is **not** the map of a cautious network. No draw looks like it, and it does not add up: every
draw's contributions sum to that network's prediction (less that for zeros), but the sum of the 5th percentiles lies
far below the 5th percentile of the sums.

So decide first what you ask about (a pixel, a column, a region, a total), make it in every draw with `map`, and take
the percentile last.
"""

# %%
dist = attribute(model, MCDropout(), n_draws=20 if lesson.fast else 200)
cautious = dist.percentile(5)
total = dist.map(lambda draw: draw.sum(1, keepdim=True).expand_as(draw))
sum_of_percentiles, percentile_of_sum = cautious.sum(1), total.percentile(5)[:, 0]
print("first rows: sum of 5th percentiles", [round(value, 2) for value in sum_of_percentiles[:4].tolist()])
print("            5th percentile of sums", [round(value, 2) for value in percentile_of_sum[:4].tolist()])
assert (sum_of_percentiles < percentile_of_sum).all()
at_zero = MCDropout(model).outputs(torch.zeros(1, 10), dist.n_draws)
assert (dist.draws.sum(-1) - (dist.predictions.outputs - at_zero)).abs().max() < 0.2  # 20 steps of the integral
assert not (dist.draws <= cautious).all(-1).any()

# %% [markdown]
"""## 3. What the spread means

First, what it does **not** mean.

**It is not one number of the network.** The same trained network, asked with other dropout rates, gives any width you
like, and with the width comes the verdict. Six columns are noise: a column is *called relevant* when its 90% interval
leaves out zero. At a rate of 0.05 half of the noise is called relevant, at 0.5 next to none. (An honest 90%
interval would be fooled one time in ten. The rate that this network was trained with happens to come close. Nothing
guarantees it.) The same goes for a column that does work: whether the interval holds what `c` truly contributes,
`1.5 c`, is a matter of the rate: too seldom at 0.05, nearly always from 0.3 on.
"""

# %%
rates = (0.05, 0.1, 0.2, 0.3, 0.5)
width, fooled, holds = {}, {}, {}
true = 1.5 * inputs[:, 2]
for rate in rates:
    at_rate = attribute(model, MCDropout(p=rate), n_draws=20 if lesson.fast else 100)
    low, high = at_rate.interval(0.9)
    width[rate] = at_rate.stdev().mean().item()
    fooled[rate] = ((low > 0) | (high < 0))[:, NOISE].float().mean().item()
    holds[rate] = ((low[:, 2] <= true) & (true <= high[:, 2])).float().mean().item()
    print(
        f"rate {rate:4}: mean stdev {width[rate]:.3f}, noise called relevant {fooled[rate]:.0%}, "
        f"truth of c inside {holds[rate]:.0%}"
    )
assert sorted(width.values()) == list(width.values())
assert sorted(fooled.values(), reverse=True) == list(fooled.values())
if not lesson.fast:  # fast: a quarter of the training, 20 draws and 10 rows
    assert fooled[0.05] > 0.3
    assert fooled[0.5] < 0.03
    assert width[0.5] > 3 * width[0.05]
    assert 0.03 < fooled[0.2] < 0.25
    assert holds[0.05] < 0.75
    assert holds[0.3] > 0.95

# %%
figure = Figure(figsize=(5.5, 3.4), layout="constrained")
axes = figure.subplots()
axes.plot(rates, [100 * fooled[rate] for rate in rates], "o-", color="#c23b3b")
axes.axhline(10, color="#bbbbbb", linewidth=1)
axes.text(rates[-1], 11, "an honest 90% interval", ha="right", color="#777777")
axes.set(xlabel="dropout rate asked for", ylabel="noise called relevant (%)", ylim=(0, None))
lesson.show(figure, "dropout_rate", "Noise called relevant falls from half to none as the dropout rate rises")

# %% [markdown]
"""**It does not know all that is open.** The data cannot tell `a` from its twin, so the credit may go to either.
Networks trained from other starting points do split it in other ways: over an ensemble the twins' contributions pull
against each other, and their *sum* is more certain than either. MC dropout shows nothing of this. It walks around
*one* trained network, whose split is settled: the twins rise and fall together, and their sum looks *less* certain.

The same data, the same question, two opposite answers. Both are right about what they sample: dropout about one
network's redundancy, the ensemble about what training leaves to chance.
"""

# %%
members = [train(network(0, seed), rows, targets, epochs, loss=F.mse_loss, seed=seed) for seed in range(20)]
by_ensemble = attribute(members[0], Ensemble(members), n_draws=20)
for name, each in (("MC dropout", dist), ("ensemble", by_ensemble)):
    apart = each.stdev()[:, TWINS].mean().item()
    together = each.map(lambda draw: draw[:, TWINS].sum(1, keepdim=True)).stdev().mean().item()
    print(f"{name:10}: stdev of a twin {apart:.3f}, of their sum {together:.3f}")
    if not lesson.fast:  # fast: a quarter of the training
        assert (together < apart) == (name == "ensemble")

# %%
shown = int(inputs[:, 0].abs().argmax())
figure = Figure(figsize=(7.5, 3.4), layout="constrained")
for axes, (name, each) in zip(figure.subplots(1, 2), (("MC dropout", dist), ("ensemble", by_ensemble)), strict=True):
    a, b = each.draws[:, shown, 0], each.draws[:, shown, 1]
    axes.scatter(a, b, s=14, color="#3b5fc2")
    axes.set(xlabel="contribution of a", ylabel="contribution of its twin")
    pull = correlation(a, b)
    axes.set_title(f"{name}: correlation {pull:.2f}".replace("-", "\N{MINUS SIGN}"), fontsize=11)
    if not lesson.fast:  # fast: a quarter of the training
        assert (pull < -0.3) == (name == "ensemble")
lesson.show(figure, "twins", "The twins rise together under dropout, and against each other over an ensemble")

# %% [markdown]
"""**It is not the distance from the truth.** In this world the twin `b` does nothing: all the work is `a`'s. Both
sources give `b` a large share of it, with a certain sign in nearly every row. No draw can know better, for all of them
learnt from data in which the twins cannot be told apart, by a training that likes to share weight out. What all draws
have in common (the data, the architecture, the training) is not in the spread.
"""

# %%
for name, each in (("MC dropout", dist), ("ensemble", by_ensemble)):
    low, high = each.interval(0.9)
    certain_twin = ((low > 0) | (high < 0))[:, 1].float().mean().item()
    share = (each.expectation()[:, 1].abs().mean() / each.expectation()[:, TWINS].sum(1).abs().mean()).item()
    print(f"{name:10}: b does nothing, gets {share:.0%} of the credit, and has a certain sign in {certain_twin:.0%}")
    if not lesson.fast:  # fast: a quarter of the training
        assert certain_twin > 0.8
        assert share > 0.3

# %% [markdown]
"""## What it does mean

How far explanations differ between *these* draws. That is worth having:

- A **wide** spread is a warning that needs no calibration: equally good networks tell other stories, so do not build on
  this one. Here the sign of the noise columns is open and that of `a` and `c` is not, and the figure sorts them so.
- A **narrow** spread says that the draws agree. Whether they agree on the truth is another question
  (tutorial 6 has a network that is certain and wrong).
- **Compare** within one sampler: columns, pictures, methods on the same seed. Do not compare widths across samplers
  or rates, and do not quote them as error bars.
- Ask a **second source**, above all an ensemble. What stays certain under both has earned more trust.
"""

# %%
strongest = int((inputs[:, 0].abs() + inputs[:, 2].abs()).argmax())
figure, _ = visualize_features(dist[strongest], NAMES, sort="certainty", use_pyplot=False)
lesson.show(figure, "features", "Contributions with intervals: the signs of a, its twin, c and d are certain")
low, high = dist.interval(0.9)
certain = ((low > 0) | (high < 0)).float().mean(0)
listed = ", ".join(f"{name} {share:.0%}" for name, share in zip(NAMES, certain.tolist(), strict=True))
print("certain sign, share of the rows:", listed)
if not lesson.fast:  # fast: a quarter of the training
    assert min(certain[0], certain[2]) > 0.9
    assert certain[NOISE].max() < 0.35
