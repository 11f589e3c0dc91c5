# %% [markdown]
"""# What makes a house dear, and who can be sure of it?

A regression on California Housing: a network predicts the median price of a district from eight columns, and
Integrated Gradients and KernelShap say what each column contributes, in dollars. You give every contribution an
interval, see why the interval of a sum is no sum of intervals, and tell two kinds of doubt apart: that of the
*network*, and that of an *estimator* such as KernelShap, which samples.

    python tutorials/04_housing_regression.py            # under a minute; --fast for seconds
"""

# %%
from __future__ import annotations

import sys

sys.path.append("..")  # notebooks lie one folder below the helpers

import numpy as np
import torch
import torch.nn.functional as F
from _common import Lesson, correlation, housing, train
from captum.attr import IntegratedGradients, KernelShap
from matplotlib.figure import Figure
from torch import Tensor, nn

from captum_uq import MCDropout, StochasticAttribution
from captum_uq.visualization import visualize_features

lesson = Lesson("California Housing: intervals on features")

# %% [markdown]
"""## The network

Two hidden layers with a little dropout. Prices are in units of 100,000 dollars; columns are standardised, so that 0 is
the average district.
"""

# %%
districts = housing(lesson)
rows, prices = districts.train_rows, districts.train_targets
epochs, n_draws = (1, 20) if lesson.fast else (6, 100)
torch.manual_seed(0)
model = nn.Sequential(
    *(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1)),
    *(nn.Linear(64, 1), nn.Flatten(0)),
)
train(model, rows, prices, epochs, loss=F.mse_loss)
with torch.no_grad():
    residuals = model(districts.test_rows) - districts.test_targets
explained = 1 - (residuals.square().mean() / districts.test_targets.var()).item()
print(f"It explains {explained:.0%} of the variance of {len(districts.test_rows):,} other districts' prices.")
assert explained > (0.3 if lesson.fast else 0.7)  # fast: one look at each district

# %% [markdown]
"""## Integrated Gradients, with intervals

A regression has one output, so there is no target. The baseline is the average district.

Each bar is the mean over 100 networks, in 100,000 dollars, and each line holds 90 of them. Pale bars cross zero:
whether the column makes this district dearer or cheaper depends on the network you ask.
"""

# %%
inputs = districts.test_rows[: 20 if lesson.fast else 100]
uq = StochasticAttribution(IntegratedGradients(model), MCDropout())
by_ig = uq.attribute(inputs, n_draws=n_draws, seed=0, n_steps=50)
low, high = by_ig.interval(0.9)
open_sign = (low <= 0) & (high >= 0)
shown = int(open_sign.sum(1).argmax())  # the district with the most open questions
figure, _ = visualize_features(by_ig[shown], districts.names, use_pyplot=False)
lesson.show(figure, "district", "Eight contributions as bars with intervals; pale where the interval holds zero")
print(f"columns whose sign is open, in all {len(inputs)} districts: {open_sign.float().mean():.0%}")
assert open_sign[shown].any()
assert by_ig.shape == (len(inputs), 8)

# %% [markdown]
"""Which columns are open most often? Total rooms and the age of the houses: in one district of three or four. Where a
district lies is never in doubt, and income hardly ever. A bar chart of one network shows all of them as equally firm.
"""

# %%
by_column = dict(zip(districts.names, open_sign.float().mean(0).tolist(), strict=True))
print("\n".join(f"{name:20}{share:5.0%}" for name, share in sorted(by_column.items(), key=lambda item: -item[1])))
if not lesson.fast:  # fast: a network that has learnt little, and 20 draws
    assert set(sorted(by_column, key=by_column.get)[-2:]) == {"total rooms", "housing median age"}
    assert min(by_column["total rooms"], by_column["housing median age"]) > 0.2
    assert max(by_column["longitude"], by_column["latitude"], by_column["median income"]) < 0.1

# %% [markdown]
"""## Contributions add up, intervals do not

In every draw the contributions sum to what *that* network predicts for the district less what it predicts for the
average one (Integrated Gradients is complete, up to its 50 steps). So the mean adds up too.

Intervals do not. Longitude and latitude pull against each other, for California lies along a diagonal: a network that
gives more to one takes it from the other. Together, as "where it is", they are far more certain than apart. A sum of
columns is one `map` away, and it is made in every draw, before any statistic.
"""

# %%
average = MCDropout(model).outputs(torch.zeros(1, 8), n_draws, seed=0)
total = by_ig.draws.sum(-1)
gap = (total - (by_ig.predictions.outputs - average)).abs().max().item()
print(f"largest gap between a sum of contributions and the prediction: {gap * 1e5:,.0f} dollars")
assert gap < 0.1

# %%
where = by_ig.map(lambda row: row[:, :2].sum(1, keepdim=True))
apart, together = by_ig.stdev()[:, :2].mean(0), where.stdev().mean()
as_if_independent = by_ig.variance()[:, :2].sum(1).sqrt().mean()
pull = correlation(*(by_ig.draws[:, shown, column] for column in (0, 1)))
print(f"stdev of longitude ${1e5 * apart[0]:,.0f}, of latitude ${1e5 * apart[1]:,.0f}")
print(f"of their sum ${1e5 * together:,.0f}, where independent columns would give ${1e5 * as_if_independent:,.0f}")
if not lesson.fast:  # fast: the network has not learnt the map of California
    assert together < apart.min()
    assert together < 0.6 * as_if_independent
    assert pull < -0.5

# %%
figure = Figure(figsize=(4.2, 3.6), layout="constrained")
axes = figure.subplots()
axes.scatter(100 * by_ig.draws[:, shown, 0], 100 * by_ig.draws[:, shown, 1], s=12, color="#3b5fc2")
axes.set(xlabel="longitude's contribution (1,000 $)", ylabel="latitude's contribution (1,000 $)")
axes.set_title(f"one point a network: correlation {pull:.2f}".replace("-", "\N{MINUS SIGN}"), fontsize=11)
lesson.show(figure, "longitude_latitude", "The more a network gives to longitude, the less it gives to latitude")

# %% [markdown]
"""## Two kinds of doubt

KernelShap does not compute its numbers, it estimates them from random coalitions of columns. Ask it twice about *one*
network and it answers differently. That is noise of the estimator, not doubt of the model, and more samples remove it.

`estimator_seed` tells them apart. With `"shared"`, the default, every network meets the same random coalitions, so
what differs is the network. With `"independent"` each network meets its own, and the spread holds both. And the noise
alone is plain Captum on the network as it stands, again and again.
"""


# %%
def kernel_shap(estimator_seed: str, n_samples: int) -> Tensor:
    """Variance over draws of networks, ``(N, 8)``."""
    shap = StochasticAttribution(KernelShap(model), MCDropout())
    options = {"n_samples": n_samples, "perturbations_per_eval": 1000}
    return shap.attribute(few, n_draws=n_repeats, seed=0, estimator_seed=estimator_seed, **options).variance()


def estimator_alone(n_samples: int) -> Tensor:
    """Variance over repetitions of plain Captum on one network, ``(N, 8)``."""
    repeats = []
    for seed in range(n_repeats):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 -- Captum's estimators draw from both
        repeats.append(KernelShap(model).attribute(few, n_samples=n_samples, perturbations_per_eval=1000))
    return torch.stack(repeats).var(0)


# %%
few, n_repeats = inputs[: 2 if lesson.fast else 4], 8 if lesson.fast else 40
sizes = (30,) if lesson.fast else (30, 100, 300)
spread = {
    n_samples: {
        "networks (shared)": kernel_shap("shared", n_samples).mean().sqrt().item(),
        "both (independent)": kernel_shap("independent", n_samples).mean().sqrt().item(),
        "estimator alone": estimator_alone(n_samples).mean().sqrt().item(),
    }
    for n_samples in sizes
}
print("root mean variance, in dollars")
for n_samples, found in spread.items():
    print(f"{n_samples:4} samples  " + "  ".join(f"{name} {1e5 * value:7,.0f}" for name, value in found.items()))

# %% [markdown]
"""The two are independent, so their variances add, as in Pythagoras: *both*, squared, is *networks* squared plus
*estimator* squared. At 30 samples most of what you would take for the network's doubt is KernelShap's. With more
samples the estimator's share shrinks as one over the root of their number; that of the networks stays.
"""

# %%
for found in spread.values():
    networks, both, alone = found.values()
    tolerance = 0.4 if lesson.fast else 0.2  # fast: variances of 8 draws
    assert abs(both / (networks**2 + alone**2) ** 0.5 - 1) < tolerance
if not lesson.fast:  # fast: one size only
    few_samples, most_samples = spread[30], spread[300]
    assert few_samples["estimator alone"] > 1.5 * few_samples["networks (shared)"]
    shrunk = few_samples["estimator alone"] / most_samples["estimator alone"]
    assert 0.6 * 10**0.5 < shrunk < 1.6 * 10**0.5
    kept = few_samples["networks (shared)"] / most_samples["networks (shared)"]
    assert 0.6 < kept < 1.6

# %%
figure = Figure(figsize=(5, 3.2), layout="constrained")
axes = figure.subplots()
for name in next(iter(spread.values())):
    axes.plot(list(spread), [100 * found[name] for found in spread.values()], marker="o", label=name)
axes.set(xlabel="KernelShap's samples", ylabel="stdev (1,000 $)", ylim=(0, None), xscale="log")
axes.set_xticks(list(spread), [str(n_samples) for n_samples in spread])
axes.minorticks_off()
axes.legend(frameon=False)
lesson.show(figure, "estimator_noise", "With more samples the estimator's spread falls, and that of the networks stays")

# %% [markdown]
"""## Do two methods agree on the doubt?

Both methods explained the *same* networks, for both were given seed 0. So their spreads can be compared: at 300
samples KernelShap's contributions, and how far they stray, match those of Integrated Gradients closely, column by
column. The doubt is a property of the networks, not of the method.

What it is not: an error bar on the price, or on the housing market. It says how far networks with a tenth of their
units switched off disagree; another rate of dropout gives another width. Tutorial 8 is about this.
"""

# %%
shap = StochasticAttribution(KernelShap(model), MCDropout())
by_shap = shap.attribute(few, n_draws=n_repeats, seed=0, n_samples=sizes[-1], perturbations_per_eval=1000)
torch.testing.assert_close(by_shap.predictions.outputs, by_ig[: len(few)].predictions.outputs[:n_repeats])
of_means = correlation(by_shap.expectation(), by_ig[: len(few)].expectation())
of_spreads = correlation(by_shap.stdev(), by_ig[: len(few)].stdev())
print(f"correlation of KernelShap with Integrated Gradients: means {of_means:.2f}, spreads {of_spreads:.2f}")
if not lesson.fast:  # fast: 30 samples, 8 draws
    assert of_means > 0.9
    assert of_spreads > 0.8
