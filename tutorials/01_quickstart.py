# %% [markdown]
"""# How much can you trust a heatmap?

A heatmap shows *one* network's reasons. But the training data never pinned down one network: many explain the data
about equally well, and each has its own reasons. `captum_uq` asks many of them and shows where they agree.

Here you train a small network on handwritten digits, ask a hundred networks why they read a digit as they do, and
draw the answer. It takes about a minute on a laptop, downloads nothing, and ends in one picture.

    python tutorials/01_quickstart.py                    # scikit-learn's digits
    python tutorials/01_quickstart.py --mnist PATH       # MNIST: torchvision's folder, or an .npz
"""

# %%
from __future__ import annotations

import argparse
import copy
import gzip
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import LRP, Attribution, GuidedBackprop, IntegratedGradients
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from torch import Tensor, nn

from captum_uq import DistributionAttribution, MCDropout, StochasticAttribution
from captum_uq.normalization import signed_max

SEED = 0
N_STEPS = 20  # of Integrated Gradients
HERE = Path(__file__).resolve().parent if "__file__" in globals() else Path("..")  # a notebook lies one folder below
OUTPUT = HERE / "output" / "quickstart.png"


# %% [markdown]
"""## The pictures

scikit-learn ships 1,797 digits of 8 x 8 pixels. They are enlarged to 32 x 32, so that the network below fits and the
heatmaps have something to show. MNIST, if you have it, gets a border of two black pixels instead.
"""


# %%
class Digits(NamedTuple):
    """Pictures ``(N, 1, 32, 32)`` of mean 0 and standard deviation 1, and their labels ``(N,)``."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def sklearn_digits() -> Digits:
    """scikit-learn's digits: 1,437 to learn from, 360 to be tested on."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        sys.exit('The digits come with scikit-learn, which is not installed. Run: pip install -e ".[tutorials]"')
    pixels, labels = load_digits(return_X_y=True)
    small = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8)
    images = F.interpolate(small, size=(32, 32), mode="bilinear", align_corners=False)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))
    return standardized(images[order], torch.tensor(labels)[order], n_train=1437)


def mnist(path: Path) -> Digits:
    """MNIST from torchvision's folder, or from an .npz of ``images`` and ``labels``: the first 8,000 to learn from."""
    if not path.exists():
        sys.exit(f"--mnist: there is nothing at {path}. Give torchvision's folder of MNIST, or an .npz file.")
    if path.is_file():
        arrays, n_train = mnist_npz(path), 8000
    else:
        train, test = (mnist_idx(path, name) for name in ("train", "t10k"))
        arrays, n_train = [np.concatenate(pair) for pair in zip(train, test, strict=True)], len(train[0])
    images, labels = (torch.from_numpy(array) for array in arrays)
    if len(images) <= n_train:
        sys.exit(f"--mnist: {path} holds {len(images):,} images; the first {n_train:,} are learnt from, none is left.")
    return standardized(F.pad(images[:, None].float(), (2, 2, 2, 2)), labels.long(), n_train)


def mnist_npz(path: Path) -> list[np.ndarray]:
    """Images ``(N, 28, 28)`` and labels ``(N,)`` of an .npz file."""
    try:
        with np.load(path) as file:
            return [file["images"], file["labels"]]
    except (KeyError, ValueError, OSError, TypeError) as error:
        sys.exit(f"--mnist: {path} is no .npz file with the arrays images and labels ({error}).")


def mnist_idx(folder: Path, name: str) -> list[np.ndarray]:
    """Images and labels from the raw files that torchvision stores in ``MNIST/raw``, as they are or gzipped."""
    arrays = []
    for kind, header, shape in (("images-idx3", 16, (-1, 28, 28)), ("labels-idx1", 8, (-1,))):
        found = sorted(folder.rglob(f"{name}-{kind}-ubyte*"))
        if not found:
            sys.exit(f"--mnist: {folder} holds no {name}-{kind}-ubyte. torchvision stores it in MNIST/raw.")
        content = found[0].read_bytes()
        content = gzip.decompress(content) if found[0].suffix == ".gz" else content
        arrays.append(np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy())
    return arrays


def standardized(images: Tensor, labels: Tensor, n_train: int) -> Digits:
    """Split, and scale to mean 0 and standard deviation 1 over the pictures learnt from."""
    images = (images - images[:n_train].mean()) / images[:n_train].std()
    return Digits(images[:n_train], labels[:n_train], images[n_train:], labels[n_train:])


# %% [markdown]
"""## The network

The LeNet of the B-LRP paper (Bykov et al., 2020, appendix C), with its two dropout layers. They are all that
`captum_uq` needs: switching half of the units off at random gives another network, and Gal and Ghahramani (2016)
showed that networks drawn in this way approximate a Bayesian posterior. Any model with dropout will do.

(One habit from Captum: its LRP knows no `nn.Flatten`, so the flattening happens in `forward`.)
"""


# %%
class LeNet(nn.Module):
    """The LeNet of B-LRP's experiment on MNIST: pictures ``(N, 1, 32, 32)`` to ten scores ``(N, 10)``."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(1, 24, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(24, 48, 5), nn.ReLU(), nn.Dropout(0.5), nn.MaxPool2d(2)),
        )
        self.classifier = nn.Sequential(
            *(nn.Linear(48 * 5 * 5, 240), nn.ReLU(), nn.Dropout(0.5)),
            nn.Linear(240, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Scores ``(N, 10)``."""
        return self.classifier(self.features(images).flatten(1))


def train(digits: Digits, steps: int) -> LeNet:
    """Train for this many steps of 64 pictures; the network comes back in eval mode."""
    torch.manual_seed(SEED)
    model = LeNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        batch = torch.randint(len(digits.train_images), (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(digits.train_images[batch]), digits.train_labels[batch]).backward()
        optimizer.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, digits: Digits) -> float:
    """Share of the test pictures that are read correctly."""
    return (model(digits.test_images).argmax(1) == digits.test_labels).float().mean().item()


def one_of_each(digits: Digits, classes: Sequence[int]) -> Tensor:
    """The first test picture of each class, ``(len(classes), 1, 32, 32)``."""
    return torch.stack([digits.test_images[digits.test_labels == each][0] for each in classes])


# %% [markdown]
"""## A hundred networks, three methods

Here is all there is to it. Take any method of Captum, wrap it as you would wrap it in a `NoiseTunnel`, and call
`attribute` with the arguments that you always use:

    uq = StochasticAttribution(IntegratedGradients(model), MCDropout())
    dist = uq.attribute(images, target=predicted, n_draws=100, seed=0)

One *draw* is one fixed network: its dropout masks hold for the whole batch and for every step inside the method.
Switching dropout on and calling Captum a hundred times looks the same and is not: each step of IntegratedGradients
would meet another network, and most of the spread would average away (`benchmarks/naive_loop.py` measures it).

The seed chooses the networks. The three methods below share it, so they explain the *same* hundred networks.
"""


# %%
def explain(model: LeNet, images: Tensor, draws: int) -> dict[str, DistributionAttribution]:
    """The distributions of three methods, explaining what the network says of each picture."""
    predicted = model(images).argmax(1)
    methods: dict[str, tuple[Attribution, dict[str, int]]] = {
        "LRP": (LRP(model), {}),
        "Integrated Gradients": (IntegratedGradients(model), {"n_steps": N_STEPS}),
        "Guided Backprop": (GuidedBackprop(model), {}),
    }
    results = {}
    for name, (method, options) in methods.items():
        uq = StochasticAttribution(method, MCDropout())
        results[name] = uq.attribute(
            images, target=predicted, n_draws=draws, seed=SEED, show_progress=sys.stderr.isatty(), **options
        )
    return results


def check(model: LeNet, images: Tensor, results: dict[str, DistributionAttribution], before: dict[str, Tensor]) -> None:
    """What this page says, asserted."""
    for dist in results.values():
        # A result is an attribution like any other of Captum's: a tensor, here the mean over the networks.
        assert isinstance(dist, Tensor)
        assert dist.shape == images.shape
        assert torch.equal(dist.point, dist.expectation())
        # It remembers the draws behind it.
        assert dist.draws.shape == (dist.n_draws, *images.shape)
        # What is above 0 at 5% is above 0 for (about) 95% of the networks.
        cautious = dist.percentile(5) > 0
        assert (dist.probability_positive()[cautious] >= 0.95 - 1 / dist.n_draws).all()
        # The three methods explained the same networks.
        assert torch.allclose(dist.predictions, results["LRP"].predictions, atol=1e-4)
    # A draw is a network that you can have in your hands: plain Captum on it gives the same map.
    dist = results["Integrated Gradients"]
    network = MCDropout(model).network(7, images, seed=SEED)
    plain = IntegratedGradients(network).attribute(images, target=dist.target, n_steps=N_STEPS)
    torch.testing.assert_close(dist.draws[7], plain, rtol=1e-4, atol=1e-5)
    # And your own model is as it was: the same weights, dropout off.
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())


# %% [markdown]
"""## Three numbers for each method

**Mean stdev**: how far an attribution strays from network to network, in the units of the method, so beside it stands
what it is relative to the mean size of an attribution. **Certain sign**: the share of pixels that at least 95% of the
networks see on the same side of zero: they speak for the class, or against it, whichever network you ask. **Agree**:
the share of the draws that read the digit as the network itself does; where this is low, you explain networks that
see another digit.
"""


# %%
def agreement(dist: DistributionAttribution) -> Tensor:
    """Share of the draws that predict the class explained, for each picture."""
    return (dist.predictions.argmax(-1) == dist.target).float().mean(0)


def table(results: dict[str, DistributionAttribution]) -> str:
    """The three numbers of each method."""
    rows = [f"{'method':<22}{'mean stdev':>12}{'relative':>12}{'certain sign':>15}{'agree':>9}"]
    for name, dist in results.items():
        stdev = dist.stdev()
        certain = (dist.sign_certainty() >= 0.95) & (stdev > 0)  # a pixel that is always 0 has no sign
        numbers = f"{stdev.mean():>12.4f}{stdev.mean() / dist.expectation().abs().mean():>12.2f}"
        rows.append(f"{name:<22}{numbers}{certain.float().mean():>15.1%}{agreement(dist).mean():>9.1%}")
    return "\n".join(rows)


# %% [markdown]
"""## One picture

Two digits: the one of which the networks are surest, and the one of which they are least sure, by the probability
that they give it on average.

Red speaks for the class, blue against it. *As it stands* is the map that you have drawn so far: dropout off, one
network. The *mean* and the *stdev* are over the hundred; the *SNR*, mean over stdev, keeps what stands out of the
noise; *confusion*, mean times stdev, marks the pixels that matter and are in doubt. The percentiles read as a dial:
what is red at **5%** is red for 95 networks of 100, the cautious explanation; what is red at **95%** is red for at
least a few, the liberal one.

As in B-LRP's figures, each map is scaled by itself and each sign by its own extreme (`signed_max`), so white is zero
everywhere.
"""


# %%
PERCENTILES = (5, 25, 50, 75, 95)
SIGNED, SPREAD = "seismic", "Greens"
INK, LINE = "#333333", "#bbbbbb"
WIDTHS = {"picture": 2, "name": 1.25, "as it stands": 1, "gap": 0.15, "mean": 1, "stdev": 1, "SNR": 1, "confusion": 1}
WIDTHS |= {"another gap": 0.15} | {f"{q}%": 1 for q in PERCENTILES}
COLUMNS = {title: column for column, title in enumerate(WIDTHS)}


def maps(dist: DistributionAttribution) -> dict[str, Tensor]:
    """What is drawn of one picture ``(1, 1, 32, 32)``: a title and a map ``(32, 32)`` each."""
    stdev = dist.stdev()
    drawn = {
        "as it stands": signed_max(dist.deterministic),
        "mean": signed_max(dist.expectation()),
        "stdev": stdev / stdev.max(),
        "SNR": signed_max(finite(dist.snr())),
        "confusion": signed_max(dist.confusion()),
    }
    drawn |= {f"{q}%": signed_max(dist.percentile(q)) for q in PERCENTILES}
    return {title: each[0, 0] for title, each in drawn.items()}


def finite(ratio: Tensor) -> Tensor:
    """A ratio with its infinities, where no network strays, set to its largest finite value."""
    largest = ratio[ratio.isfinite()].abs().max().item()
    return ratio.nan_to_num(posinf=largest, neginf=-largest)


def certainty(dist: DistributionAttribution) -> Tensor:
    """Mean probability, over the draws, of the class explained, for each picture."""
    probabilities = dist.predictions.softmax(-1).mean(0)
    return probabilities.gather(1, dist.target[:, None])[:, 0]


def draw(images: Tensor, results: dict[str, DistributionAttribution], path: Path) -> None:
    """The figure: two digits, a row for each method."""
    sure = certainty(results["LRP"])
    chosen, tops = (int(sure.argmax()), int(sure.argmin())), (1, len(results) + 2)
    figure = Figure(figsize=(13, 7.45), facecolor="white")
    rows = [1.0] * len(results)
    grid = figure.add_gridspec(
        *(2 * len(results) + 3, len(WIDTHS)),
        width_ratios=list(WIDTHS.values()),
        height_ratios=[0.62, *rows, 0.2, *rows, 0.5],
        left=0.01,
        right=0.99,
        bottom=0.01,
        top=0.99,
        wspace=0.06,
        hspace=0.06,
    )
    draw_headings(figure, grid, len(results["LRP"].draws))
    for at, top in zip(chosen, tops, strict=True):
        draw_picture(figure.add_subplot(grid[top : top + len(results), 0]), images[at, 0], results["LRP"][at])
        for row, (name, dist) in enumerate(results.items(), start=top):
            for title, values in maps(dist[at : at + 1]).items():
                axes = figure.add_subplot(grid[row, COLUMNS[title]])
                draw_map(axes, values, SPREAD if title == "stdev" else SIGNED)
                axes.set_title(title if row == 1 else "", fontsize=13, color=INK)
            beside = figure.add_subplot(grid[row, COLUMNS["name"]], frame_on=False, xticks=[], yticks=[])
            beside.text(0.95, 0.5, name.replace(" ", "\n"), ha="right", va="center", fontsize=14, color=INK)
    draw_keys(figure)
    figure.savefig(path, dpi=110)


def draw_headings(figure: Figure, grid: GridSpec, n_draws: int) -> None:
    """Whose maps stand in which columns."""
    headings = {
        "one network": ("as it stands", "as it stands"),
        f"{n_draws} networks": ("mean", "confusion"),
        f"percentiles over the {n_draws} networks": ("5%", "95%"),
    }
    for heading, (first, last) in headings.items():
        axes = figure.add_subplot(grid[0, COLUMNS[first] : COLUMNS[last] + 1])
        axes.axis((0, 1, 0, 1))
        axes.axis("off")
        axes.plot([0, 1], [0.55, 0.55], color=LINE, linewidth=1)
        axes.text(0.5, 0.62, heading, ha="center", va="bottom", fontsize=14, color=INK)


def draw_picture(axes: Axes, image: Tensor, dist: DistributionAttribution) -> None:
    """The digit, what it is read as, and how many networks read it so."""
    axes.imshow(image.numpy(), cmap="gray_r")
    label = int(dist.target)
    agree = (dist.predictions.argmax(-1) == label).sum()
    axes.set_title(f"read as {label}", fontsize=15, color=INK)
    axes.set_xlabel(f"so say {agree} of\n{dist.n_draws} networks", fontsize=14, color=INK)
    bare(axes)


def draw_map(axes: Axes, values: Tensor, colours: str) -> None:
    """One map; white is zero."""
    axes.imshow(values.numpy(), cmap=colours, vmin=-1 if colours == SIGNED else 0, vmax=1)
    bare(axes)


def draw_keys(figure: Figure) -> None:
    """What the colours say."""
    keys = {
        SIGNED: (0.40, {-1: "against the class", 0: "0", 1: "for the class"}),
        SPREAD: (0.74, {0: "0", 1: "largest stdev"}),
    }
    for colours, (left, ticks) in keys.items():
        scale = ScalarMappable(Normalize(min(ticks), 1), colours)
        bar = figure.colorbar(scale, cax=figure.add_axes((left, 0.048, 0.18, 0.017)), orientation="horizontal")
        bar.set_ticks(list(ticks), labels=list(ticks.values()), fontsize=12, color=INK)
        bar.ax.tick_params(length=0)
        bar.outline.set(color=LINE, linewidth=0.6)


def bare(axes: Axes) -> None:
    """Without ticks, in a thin frame."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=LINE, linewidth=0.6)


# %% [markdown]
"""## All of it"""


# %%
class Options(argparse.Namespace):
    """What the command line says."""

    mnist: Path | None
    draws: int
    output: Path
    fast: bool


def parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(description="Explain handwritten digits, and how far to trust the explanations.")
    parser.add_argument("--mnist", type=Path, metavar="PATH", help="MNIST: torchvision's folder, or an .npz file")
    parser.add_argument("--draws", type=int, metavar="T", help="networks to ask, 20 or more (default: 100)")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="PNG", help="the figure (default: %(default)s)")
    parser.add_argument("--fast", action="store_true", help="a poorly trained network and 20 draws, for tests")
    options = parser.parse_args(arguments, namespace=Options())
    options.draws = (20 if options.fast else 100) if options.draws is None else options.draws
    if options.draws < 20:
        parser.error(f"--draws is 20 or more, got {options.draws}: the 5th percentile needs them.")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    digits = sklearn_digits() if options.mnist is None else mnist(options.mnist)
    model = train(digits, steps=20 if options.fast else 200)
    share = accuracy(model, digits)
    learnt, tested = len(digits.train_images), len(digits.test_images)
    print(f"LeNet has seen {learnt:,} digits and reads {share:.1%} of {tested:,} others right")
    assert options.fast or share > 0.95
    images, before = one_of_each(digits, range(10)), copy.deepcopy(model.state_dict())
    results = explain(model, images, options.draws)
    check(model, images, results, before)
    print(f"\n{len(images)} digits explained by {options.draws} networks\n\n{table(results)}\n")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    draw(images, results, options.output)
    print(f"The figure is in {options.output}")


if __name__ == "__main__":
    # Captum says these of LRP and GuidedBackprop each time: it needs gradients and hooks, and takes them off again.
    for message in ("Input Tensor 0 did not already require gradients", "Setting backward hooks on ReLU"):
        warnings.filterwarnings("ignore", message, UserWarning)
    main([] if "ipykernel" in sys.modules else None)
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        seen = (
            "Two digits. Beside each, for LRP, Integrated Gradients and Guided Backprop, the map of one network, mean, "
            "stdev, SNR and confusion over 100 networks, and five percentiles, in which red spreads from 5% to 95%"
        )
        display(Image(OUTPUT.read_bytes(), alt=seen))

# %% [markdown]
"""## From here

- Your own model: any module with dropout in it, and any method of Captum in place of these three.
- `from captum_uq.attr import IntegratedGradients` makes a Captum tutorial stochastic by changing one line.
- `dist.map(fn)` applies a function to every draw before any statistic: a region's sum, a normalisation.
- `dist.save(path)` keeps a result; `DistributionAttribution.load(path)` brings it back.
"""
