# %% [markdown]
"""# Which explanation is the least uncertain?

Mulye and Valdenegro-Toro (2024) train networks with several sources of uncertainty, explain each with several
methods, and measure how much an explanation varies: the coefficient of variation, stdev over mean. Their finding:
Guided Backpropagation varies least. Here is their pipeline, small, on four classes of CIFAR-10. Changing the source
of uncertainty is changing one argument.

    python tutorials/03_cifar_samplers.py                # under two minutes; --fast for seconds
"""

# %%
from __future__ import annotations

import sys
import warnings

sys.path.append("..")  # notebooks lie one folder below the helpers

import torch
import torch.nn.functional as F
from _common import Lesson, accuracy, cifar10, correlation, train
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import GuidedBackprop, IntegratedGradients, Lime
from torch import Tensor, nn
from torch.func import functional_call

from captum_uq import ExplanationUncertainty
from captum_uq.metrics import deletion, insertion
from captum_uq.samplers import BayesianLayers, DisagreementWarning, DropConnect, Ensemble, MCDropout
from captum_uq.visualization import visualize_distribution

lesson = Lesson("Samplers on CIFAR-10")

# %% [markdown]
"""## Four sources of uncertainty

A small VGG, trained once for each source, in the way that suits it:

- **MC dropout**: with dropout. A draw switches units off.
- **DropConnect**: with weights dropped in training. A draw sets a tenth of the weights to zero.
- **Ensemble**: three times, from other starting points. A draw is a member.
- **Flipout**: variational layers of bayesian-torch, each weight a Gaussian. A draw is a draw of the weights. It is left
  out where bayesian-torch is not installed.
"""

# %%
pictures = cifar10(lesson, ["airplane", "cat", "horse", "ship"])
images, labels = pictures.train_images, pictures.train_labels
epochs, n_draws, per_class = (1, 3, 1) if lesson.fast else (4, 20, 4)
if lesson.fast:
    images, labels = images[::16], labels[::16]
    warnings.simplefilter("ignore", DisagreementWarning)  # networks that have seen so little agree on nothing


def small_vgg(rate: float, seed: int) -> nn.Module:
    """Two blocks of two convolutions and a hidden layer; dropout after each where the rate is above 0."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in ((3, 8), (8, 16)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.Conv2d(after, after, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2), *([nn.Dropout(rate / 2)] if rate else [])]
    layers += [nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(), *([nn.Dropout(rate)] if rate else []), nn.Linear(64, 4)]
    return nn.Sequential(*layers)


def with_weights_dropped(model: nn.Module, inputs: Tensor) -> Tensor:
    """A forward in training with a tenth of the weights, not of the biases, dropped."""
    weights = {name: F.dropout(each, 0.1) if each.dim() > 1 else each for name, each in model.named_parameters()}
    return functional_call(model, weights, (inputs,))


# %%
members = [train(small_vgg(0, seed), images, labels, epochs, seed=seed) for seed in range(3)]
dropped = train(small_vgg(0, 11), images, labels, epochs, seed=11, forward=with_weights_dropped)
sources = {
    "MC dropout": (train(small_vgg(0.3, 10), images, labels, epochs, seed=10), MCDropout()),
    "DropConnect": (dropped, DropConnect(p=0.1)),
    "Ensemble": (members[0], Ensemble(members)),
}

# %%
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, on being imported
        from bayesian_torch.models.dnn_to_bnn import dnn_to_bnn, get_kl_loss
except ImportError:
    print("Flipout is left out: bayesian-torch is not installed.")
else:
    prior = {"prior_mu": 0.0, "prior_sigma": 1.0, "posterior_mu_init": 0.0, "posterior_rho_init": -4.0}
    flipout = small_vgg(0, 12)
    dnn_to_bnn(flipout, prior | {"type": "Flipout", "moped_enable": False, "moped_delta": 0.5})
    trained = train(flipout, images, labels, epochs, seed=12, penalty=get_kl_loss)
    sources["Flipout"] = (trained, BayesianLayers())

# %% [markdown]
"""Before any explanation: do the draws predict what the network predicts? If they did not, their explanations would
explain other decisions. They mostly do. (Four epochs of a small network on 4,000 pictures read two thirds of new ones
right; the paper's networks are better.)
"""

# %%
for name, (model, sampler) in sources.items():
    n = min(10, sampler.max_draws or 10)
    found = sampler.agreement(pictures.test_images, n, labels=pictures.test_labels, model=model)
    print(f"{name:12} {found}")
    if not lesson.fast:  # fast: networks that have seen 250 pictures
        assert found.share > 0.7
        assert 0.55 < accuracy(model, pictures.test_images, pictures.test_labels) < 0.75

# %% [markdown]
"""## Three methods

The paper's: Guided Backpropagation, Integrated Gradients, and LIME on 8 x 8 patches (with its authors' ridge
regression; Captum's default lasso sets patches to exactly zero). The third paper is a class too:
`ExplanationUncertainty`, whose `scores` are mean, standard deviation and coefficient of variation.

All draws explain the class that the picture shows.
"""

# %%
patches = (torch.arange(32) // 4)[:, None] * 8 + torch.arange(32) // 4
methods = {
    "Guided Backprop": (GuidedBackprop, {}),
    "Integrated Gradients": (IntegratedGradients, {"n_steps": 16, "internal_batch_size": 256}),
    "LIME": (
        lambda model: Lime(model, interpretable_model=SkLearnRidge(alpha=1.0)),
        {"feature_mask": patches[None, None], "n_samples": 20 if lesson.fast else 100, "perturbations_per_eval": 100},
    ),
}
inputs = torch.cat([pictures.first_of(label, per_class) for label in range(4)])
target = torch.arange(4).repeat_interleave(per_class)


def magnitude(relevance: Tensor) -> Tensor:
    """How much a pixel matters, whichever way: ``(N, 3, H, W)`` to ``(N, 1, H, W)``."""
    return relevance.abs().sum(1, keepdim=True)


# %%
results = {}
for source, (model, sampler) in sources.items():
    for name, (make, options) in methods.items():
        uq = ExplanationUncertainty(make(model), sampler)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You are providing multiple inputs for Lime")
            n = min(n_draws, sampler.max_draws or n_draws)
            dist = uq.attribute(inputs, target=target, n_draws=n, seed=0, **options)
        results[source, name] = dist.map(magnitude)

# %% [markdown]
"""## Who varies least?

The mean coefficient of variation over pixels, and over 16 pictures; lower is less uncertain. Beside it twice the
standard error of the paired difference to Guided Backpropagation.
"""

# %%
cv = {key: ExplanationUncertainty.scores(dist).cv.flatten(1).mean(1) for key, dist in results.items()}
print(f"{'':12}" + "".join(f"{name:>28}" for name in methods))
for source in sources:
    cells = []
    for name in methods:
        behind = cv[source, name] - cv[source, "Guided Backprop"]
        error = 2 * behind.std() / len(behind) ** 0.5
        beside = f" ({behind.mean():+.3f} +- {error:.3f})" if error > 0 else ""
        cells.append(f"{cv[source, name].mean():.3f}{beside}")
    print(f"{source:12}" + "".join(f"{cell:>28}" for cell in cells))

# %% [markdown]
"""The paper's finding does not carry over as it stands:

- Guided Backpropagation varies least, or as little as any, under **MC dropout** and **Flipout**.
- Under **DropConnect** it is level with the others, and under the **ensemble** Integrated Gradients varies *less*.
- What is plain for every method: members of an ensemble differ more than the draws of dropout do. Which *source* you
  choose moves the numbers more than which *method*: for any method the sources lie further apart than, for any source,
  the methods do.

So do not compare two methods on one source and call one of them certain.
"""

# %%
mean_cv = {key: values.mean().item() for key, values in cv.items()}
if not lesson.fast:  # fast: 4 pictures and 3 draws
    for source in ("MC dropout", "Flipout"):
        if source in sources:
            least = min(mean_cv[source, name] for name in methods)
            assert mean_cv[source, "Guided Backprop"] < least + 0.03
    assert mean_cv["Ensemble", "Integrated Gradients"] < mean_cv["Ensemble", "Guided Backprop"]
    for name in methods:
        assert mean_cv["Ensemble", name] > mean_cv["MC dropout", name]
    assert abs(mean_cv["DropConnect", "Guided Backprop"] - mean_cv["DropConnect", "Integrated Gradients"]) < 0.05
    table = torch.tensor([[mean_cv[source, name] for name in methods] for source in sources])
    assert (table.amax(0) - table.amin(0)).min() > (table.amax(1) - table.amin(1)).max()

# %% [markdown]
"""## Is the spread a map of doubt, or of importance?

The paper also ranks pixels by the standard deviation, puts them back (insertion, higher is better) or takes them away
(deletion, lower is better), and finds that the map of uncertainty does this about as well as the map of relevance.
"""

# %%
source, name = "MC dropout", "Guided Backprop"
model, sampler = sources[source]
dist = results[source, name]
predict = sampler.predictive(model, 5, transform=lambda outputs: outputs.softmax(-1))
options = {"baselines": 0.0, "target": target, "n_steps": 4 if lesson.fast else 16}
maps = {"mean": dist.expectation(), "stdev": dist.stdev()}
areas = {
    f"{measure.__name__} by {summary}": measure(predict, inputs, each, **options).auc.mean().item()
    for measure in (insertion, deletion)
    for summary, each in maps.items()
}
areas["insertion at random"] = insertion(predict, inputs, maps["mean"], order="random", **options).auc.mean().item()
areas["deletion at random"] = deletion(predict, inputs, maps["mean"], order="random", **options).auc.mean().item()
alike = correlation(maps["mean"], maps["stdev"])
print("\n".join(f"{key:22}{value:.3f}" for key, value in areas.items()))
print(f"correlation of the mean map with the stdev map: {alike:.2f}")

# %% [markdown]
"""It does: both rankings beat a random order, and they are hardly apart. The reason is dull. Where relevance is large,
its spread is large: the two maps are nearly one. That the standard deviation finds important pixels says that it
follows the mean, not that doubt is informative. Divide by the mean (CV, or its inverse, the SNR) before you read doubt.
"""

# %%
if not lesson.fast:  # fast: a network that knows little, and 3 draws
    assert alike > 0.8
    assert abs(areas["insertion by mean"] - areas["insertion by stdev"]) < 0.03
    assert min(areas["insertion by mean"], areas["insertion by stdev"]) > areas["insertion at random"] + 0.05
    assert max(areas["deletion by mean"], areas["deletion by stdev"]) < areas["deletion at random"] - 0.03

# %% [markdown]
"""## One picture, every source

A horse, explained by Guided Backpropagation under each source: the picture, mean, stdev, and their ratio. Each row is
another training, so compare within a row. The ensemble's ratio is a speckle of outliers, and no discovery: where three
members happen to agree their stdev is nearly zero. Three draws are enough for a mean and too few for a ratio.
"""

# %%
shown = 2 * per_class
for source in sources:
    figure, axes = visualize_distribution(
        results[source, "Guided Backprop"][shown],
        pictures.raw(inputs[shown]),
        ("image", "mean", "stdev", "snr"),
        alpha_overlay=1,
        fig_size=(8, 2.9),
        use_pyplot=False,
    )
    axes[0].set_title(source, fontsize=12)
    lesson.show(figure, source.replace(" ", "_").lower(), f"{source}: a horse, and mean, stdev and SNR of its map")
largest = {source: results[source, "Guided Backprop"][shown].snr().max().item() for source in sources}
print("largest SNR:", ", ".join(f"{source} {value:.0f}" for source, value in largest.items()))
assert lesson.fast or largest["Ensemble"] > 3 * largest["MC dropout"]
