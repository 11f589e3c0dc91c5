# %% [markdown]
"""# Is the lamppost part of the castle?

B-LRP's first figure is a castle, seen by VGG-16: standard LRP makes the castle red and a lamppost too, and the cautious
5th percentile keeps the castle only. MCRP shows what the same network sees in a cat or a dog, and how surely. Here are
both, on one ImageNet picture each.

    python tutorials/07_vgg16_imagenet.py                # under two minutes; --fast for seconds

The weights are torchvision's, 528 MB, downloaded on first use. **Where they cannot be had, the network below is random
and so are its maps:** they show that the code runs and what a distribution looks like *when there is nothing to see*,
which is worth a look too.
"""

# %%
from __future__ import annotations

import contextlib
import io
import sys
import warnings

sys.path.append("..")  # notebooks lie one folder below the helpers

import torch
from _common import Lesson, correlation, stop
from PIL import Image
from torch import Tensor, nn

from captum_uq import BLRP, MCRP
from captum_uq.lrp import LRPCMP, EpsilonComposite
from captum_uq.normalization import channel_sum
from captum_uq.samplers import DisagreementWarning
from captum_uq.visualization import visualize_distribution, visualize_percentiles

lesson = Lesson("VGG-16 on ImageNet pictures")
try:
    from torchvision import models
except ImportError:
    stop("VGG-16 is torchvision's, which is not installed: pip install torchvision")

# %% [markdown]
"""## The network

VGG-16 has two dropout layers, both in its classifier. So all draws share the convolutions, and differ in what they make
of the features.
"""


# %%
def load_network() -> tuple[nn.Module, bool]:
    """VGG-16, and whether it has learnt anything."""
    if not lesson.fast:
        try:
            heard = io.StringIO()  # where the file goes on this machine
            with contextlib.redirect_stderr(heard), contextlib.redirect_stdout(heard):
                return models.vgg16(weights=models.VGG16_Weights.IMAGENET1K_V1, progress=False).eval(), True
        except (OSError, RuntimeError) as error:  # no connection; a file cut short
            print(f"The weights cannot be had ({' '.join(str(error).split())}).")
    torch.manual_seed(0)
    network = models.vgg16(weights=None)
    if lesson.fast:  # the widest layers cost the most and know nothing either
        network.classifier[0], network.classifier[3] = nn.Linear(25088, 64), nn.Linear(64, 64)
        network.classifier[6] = nn.Linear(64, 1000)
        for at in (0, 3, 6):
            nn.init.zeros_(network.classifier[at].bias)  # as torchvision's
    return network.eval(), False


model, trained = load_network()
print("VGG-16 with ImageNet's weights" if trained else "RANDOM WEIGHTS: the maps below mean nothing.")
label = "" if trained else "random weights"
of_what = "of a trained VGG-16" if trained else "of random weights, which mean nothing"
if not trained:
    warnings.simplefilter("ignore", DisagreementWarning)  # the library would say it at every call; we say it below

# %% [markdown]
"""## The pictures

Cropped to a size that keeps this page short; the papers use 224 pixels.
"""

# %%
size, n_draws = (64, 20) if lesson.fast else (160, 20)
folder = lesson.data / "imagenet"
weights = models.VGG16_Weights.IMAGENET1K_V1
prepare = weights.transforms(crop_size=size, resize_size=round(size * 256 / 224))
mean, std = (torch.tensor(values)[:, None, None] for values in (prepare.mean, prepare.std))


def picture(name: str) -> Tensor:
    """One picture of the folder, as the network takes it, ``(1, 3, H, W)``."""
    paths = sorted(folder.glob(f"*{name}.jpeg"))
    if not paths:
        stop(f"there is no picture of a {name} in {folder}. Give --data a folder that has imagenet/*{name}.jpeg.")
    with Image.open(paths[0]) as image:
        return prepare(image.convert("RGB"))[None]


def target_of(name: str, image: Tensor) -> int:
    """The class of that name; the predicted one where the network is random."""
    with torch.no_grad():
        return weights.meta["categories"].index(name) if trained else int(model(image).argmax())


castle, cat = picture("castle"), picture("tabby")

# %% [markdown]
"""## B-LRP on the castle

100 draws would be better; 20 are the least that a 5th percentile needs. The composite is the paper's choice for
pictures, LRP-CMP (with random weights LRP-epsilon, of which we can check one thing below).
"""

# %%
target = target_of("castle", castle)
composite = LRPCMP() if trained else EpsilonComposite(1e-9, max_pool="average")
dist = BLRP(model, composite=composite).attribute(castle, target=target, n_draws=n_draws, seed=0)
figure, axes = visualize_percentiles(
    dist[0], castle[0] * std + mean, (5, 50, 95), show_deterministic=True, fig_size=(8, 2.4), use_pyplot=False
)
axes[0].set_title(label or "castle", fontsize=11, color="#333333" if trained else "#b22222")
lesson.show(figure, "blrp_castle", f"The castle, LRP and three percentiles {of_what}")

# %% [markdown]
"""Whatever the weights, before you read a map look at what the draws *predict*. A trained VGG-16 keeps to its class in
most draws. Under random weights the predicted class is an accident of one network, and hardly any draw repeats it: the
explanation of a decision that is not there. `agreement` is the first thing to print.
"""

# %%
agreement = dist.predictions.agreement()
print(f"{agreement.share:.0%} of {n_draws} draws agree with the network on the class")
assert agreement.share > 0.5 if trained else agreement.share < 0.5
random_sites = [name for name, module in model.named_modules() if isinstance(module, nn.Dropout)]
assert random_sites == ["classifier.2", "classifier.5"]

# %% [markdown]
"""LRP-epsilon keeps all relevance when there are no biases (torchvision starts them at zero): in every draw of the
random network, relevance over the whole picture sums to that draw's score of the class. The sum is right and the map
is noise: being exact is not the same as meaning something.
"""

# %%
scores = dist.predictions.outputs[:, 0, target]
if not trained:
    sums = dist.draws.flatten(1).sum(1)
    print(f"largest gap between relevance and score: {(sums - scores).abs().max():.1e}")
    torch.testing.assert_close(sums, scores, rtol=1e-2, atol=1e-3)

# %% [markdown]
"""## MCRP on the cat

Mean, uncertainty, signal-to-noise and confusion, on the grey picture as in the paper's figures.

z+ keeps the sign of the score. Where a draw's score of the class is *below zero*, all its relevance is negative, and
scaling it to [0, 1] turns its map upside down. Tutorial 2 has a digit to which this happens. So count those draws
before you trust an MCRP mean.
"""

# %%
target = target_of("tabby", cat)
n_draws = 5 if lesson.fast else 20
relevance = MCRP(model).attribute(cat, target=target, n_draws=n_draws, seed=0)
figure, axes = visualize_distribution(
    relevance[0],
    cat[0] * std + mean,
    ("image", "mean", "stdev", "snr", "confusion"),
    cmap="PuOr_r",
    fig_size=(9.4, 2.8),
    use_pyplot=False,
)
axes[0].set_title(label or "tabby", fontsize=11, color="#333333" if trained else "#b22222")
lesson.show(figure, "mcrp_cat", f"The cat, and mean, stdev, SNR and confusion {of_what}")

# %%
below = relevance.predictions.outputs[:, 0, target] < 0
print(f"in {int(below.sum())} of {n_draws} draws the class scores below zero")
upright, inverted = relevance.draws[~below], relevance.draws[below]
assert not (len(upright) and len(inverted)) or correlation(upright[0], inverted[0]) < 0
assert relevance.draws.min() >= 0
assert relevance.draws.max() <= 1

# %% [markdown]
"""Look at the numbers under the panels before you admire the fur. With random weights the mean is a pretty picture of
the cat, and its stdev is next to nothing: all draws give *the same* map, though they agree on nothing else. z+ through
many layers forgets what the upper layers do, dropout included (Sixt et al., 2020), and what is left is the picture's
own edges. LRP-epsilon's draws, on the castle above, have little in common.

So a narrow spread is no sign that a network knows something. It can be a property of the method.
"""


# %%
def likeness(draws: Tensor) -> float:
    """Mean correlation of two draws' maps, over ten pairs."""
    pairs = [(a, b) for a in range(5) for b in range(a)]
    return sum(correlation(draws[a], draws[b]) for a, b in pairs) / len(pairs)


upper = likeness(relevance.draws if below.all() else upright) if max(below.sum(), (~below).sum()) >= 5 else float("nan")
by_epsilon = likeness(dist.map(channel_sum).draws)
print(f"mean correlation of two draws' maps: z+ on the cat {upper:.3f}, B-LRP on the castle {by_epsilon:.2f}")
if not trained:
    assert upper > 0.99
    assert by_epsilon < 0.5
    print("The weights were random: no map on this page means anything.")
