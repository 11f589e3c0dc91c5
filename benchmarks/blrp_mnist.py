"""B-LRP's MNIST experiment (Bykov et al., 2020, section 3.1 and appendix C) on the MNIST test set alone.

Run from the repository: ``python benchmarks/blrp_mnist.py [--data mnist_t10k.npz] [--out folder]``. The network is
trained on the first 8,000 images and explained on 300 of the last 2,000. Prints

1. the mean target logit after 3, 6, 12 and 25% of the pixels are flipped, by each map, with standard errors of the
   paired differences to LRP;
2. the areas under the curves, compared example by example;
3. what a plain loop over Captum's LRP with dropout switched on gives on the same network.

and saves the curves (the paper's Figure 4) and the percentile panel (Figure 3).
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from pathlib import Path

import captum.attr
import numpy as np
import torch
from matplotlib import pyplot as plt
from torch import Tensor, nn
from torch.nn import functional as F

from captum_uq import DistributionAttribution
from captum_uq.lrp import LRP, EpsilonComposite, EpsilonRule, PassRule
from captum_uq.metrics import PerturbationCurve, UniformNoise, compare, pixel_flipping, summary_curves
from captum_uq.normalization import signed_max
from captum_uq.recipes import BLRP, PERCENTILES

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist_t10k.npz"
TRAINED, STEPS, SHARE = 8000, 64, 0.25
SUMMARIES = [f"percentile:{q}" for q in PERCENTILES]
REPORTED = {
    "deterministic": (13.1, 10.0, 3.6, 0.0),
    "percentile:5": (12.6, 7.9, 3.8, 3.0),
    "percentile:25": (13.2, 9.3, 2.9, 0.1),
    "percentile:95": (13.0, 10.3, 6.1, 0.7),
    "random": (18.7, 17.3, 14.4, 9.7),
}
"""Orientation only: a network trained on all 60,000 images, at 3, 6, 12 and 25%."""


class LeNet(nn.Sequential):
    """Appendix C, with channel dropout on the convolution."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(1, 24, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(24, 48, 5), nn.ReLU(), nn.Dropout2d(0.5), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(1200, 240), nn.ReLU(), nn.Dropout(0.5), nn.Linear(240, 10)),
        )


def load(path: Path) -> tuple[Tensor, Tensor, float, float]:
    """Images ``(10000, 1, 32, 32)`` with mean 0 and deviation 1, labels, and the mean and deviation before."""
    with np.load(path) as data:
        images, labels = torch.from_numpy(data["images"]), torch.from_numpy(data["labels"]).long()
    images = F.interpolate(images[:, None].float() / 255, size=(32, 32), mode="bilinear", align_corners=False)
    mean, std = images[:TRAINED].mean().item(), images[:TRAINED].std().item()
    return (images - mean) / std, labels, mean, std


def train(images: Tensor, labels: Tensor, epochs: int, seed: int) -> LeNet:
    """Appendix C: SGD, learning rate 0.001, momentum 0.9, batches of 32."""
    torch.manual_seed(seed)
    model = LeNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    return model.eval()


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def print_table(curves: dict[str, PerturbationCurve]) -> None:
    """Mean target logits, and the standard error of the paired difference to LRP in brackets."""
    steps = [round(share * STEPS / SHARE) for share in (0.03, 0.06, 0.12, 0.25)]
    reference = curves["deterministic"].scores
    print("mean target logit (standard error of the paired difference to LRP) | orientation: 60,000 images")
    print(f"{'':16}" + "".join(f"{f'{100 * step * SHARE / STEPS:.1f}%':>16}" for step in steps))
    for name, curve in curves.items():
        error = (curve.scores - reference).std(0) / len(reference) ** 0.5
        cells = "".join(f"{f'{curve.scores[:, s].mean():.2f} ({error[s]:.2f})':>16}" for s in steps)
        print(f"{name:16}{cells}  | {' / '.join(map(str, REPORTED.get(name, ())))}")


def compare_with_plain_loop(model: LeNet, images: Tensor, labels: Tensor, dist: DistributionAttribution) -> None:
    """What ``model.train()`` and Captum's LRP in a loop make of the same network."""
    plain, missed = plain_loop(model, images, labels, dist.n_draws)
    bare = copy.deepcopy(model)
    for name, parameter in bare.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    of_bare = BLRP(bare).attribute(images, target=labels, n_draws=20, seed=0)
    low = torch.quantile(plain, 0.05, dim=0)
    rows = {
        "share of the output that relevance misses": (f"{missed:.3f}", f"{missing(dist, labels):.3f}"),
        "  the same with biases set to 0": (
            f"{plain_loop(bare, images, labels, 20)[1]:.3f}",
            f"{missing(of_bare, labels):.0e}",
        ),
        "stdev over draws, relative to captum_uq": (f"{plain.std(0).mean() / dist.stdev().mean():.2f}", "1"),
        "pixels with a positive 5th percentile": (
            f"{(low > 0).float().mean():.1%}",
            f"{(dist.percentile(5) > 0).float().mean():.1%}",
        ),
    }
    print(f"\n{'(medians over draws and images)':44}{'plain loop':>12}{'captum_uq':>12}")
    for name, (by_loop, ours) in rows.items():
        print(f"{name:44}{by_loop:>12}{ours:>12}")


def missing(dist: DistributionAttribution, labels: Tensor) -> float:
    """Share of the target's output that relevance misses, the median over draws and examples."""
    index = labels.expand(dist.n_draws, -1)[..., None]
    outputs = dist.predictions.gather(-1, index)[..., 0]
    return ((dist.draws.flatten(2).sum(-1) - outputs) / outputs).abs().median().item()


def plain_loop(model: LeNet, images: Tensor, labels: Tensor, n_draws: int) -> tuple[Tensor, float]:
    """Draws of a loop over Captum's LRP with dropout switched on, and the share of the output they miss.

    Captum has no rule for two of the layers; they are given those that its loop needs to run at all.
    """
    torch.manual_seed(0)
    draws, missed = [], []
    model.train()
    for _ in range(n_draws):
        for layer in model:
            if isinstance(layer, nn.Flatten):
                layer.rule = PassRule()
            elif isinstance(layer, nn.Dropout2d):
                layer.rule = EpsilonRule()
        relevance, delta = captum.attr.LRP(model).attribute(images, target=labels, return_convergence_delta=True)
        draws.append(relevance.detach())
        missed.append((delta / (delta + relevance.flatten(1).sum(1))).detach().abs())
    model.eval()
    return torch.stack(draws), torch.stack(missed).median().item()


def save_curves(curves: dict[str, PerturbationCurve], path: Path) -> None:
    """The paper's Figure 4, left."""
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, curve in curves.items():
        label = "LRP" if name == "deterministic" else name.replace("percentile:", "B-LRP, percentile ")
        axis.plot(100 * curve.fractions, curve.scores.mean(0), label=label, ls=":" if name == "random" else "-")
    axis.set(xlabel="flipped pixels (%)", ylabel="mean target logit", title="Pixel flipping, 300 MNIST test images")
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=150, bbox_inches="tight")
    plt.close(figure)


def save_panel(images: Tensor, dist: DistributionAttribution, path: Path, rows: int = 4) -> None:
    """The paper's Figure 3: image, LRP, and the percentiles of B-LRP."""
    dist = dist[:rows]
    maps = [signed_max(dist.deterministic), *BLRP.percentile_maps(dist)]
    titles = ["image", "LRP", *(f"percentile {q}" for q in PERCENTILES)]
    figure, axes = plt.subplots(rows, len(titles), figsize=(1.6 * len(titles), 1.7 * rows), layout="constrained")
    for row in range(rows):
        axes[row, 0].imshow(images[row, 0], cmap="gray")
        for column, values in enumerate(maps, start=1):
            axes[row, column].imshow(values[row, 0], cmap="seismic", vmin=-1, vmax=1)
        for column, title in enumerate(titles):
            axes[row, column].set_axis_off()
            axes[row, column].set_title(title if row == 0 else "", fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    plt.switch_backend("agg")
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=DATA, help="mnist_t10k.npz")
    parser.add_argument("--out", type=Path, default=Path("blrp_mnist"), help="where figures and the network go")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", message="Input Tensor 0 did not already require gradients")
    images, labels, mean, std = load(options.data)
    model = trained(images, labels, options)
    test = TRAINED + torch.randperm(2000, generator=torch.Generator().manual_seed(options.seed))[: options.examples]
    images, labels = images[test], labels[test]

    start = time.perf_counter()
    dist = BLRP(model).attribute(images, target=labels, n_draws=options.draws, seed=options.seed)
    print(f"{options.draws} draws of {len(images)} images: {time.perf_counter() - start:.0f} s\n")
    flips = {"target": labels, "n_steps": STEPS, "max_fraction": SHARE, "perturb_func": UniformNoise(mean, std)}
    curves = summary_curves(model, images, dist, SUMMARIES, seed=options.seed, **flips)
    curves["random"] = pixel_flipping(model, images, dist.point, order="random", seed=options.seed, **flips)
    print_table(curves)
    print(f"\n{compare(curves, reference='deterministic')}")
    few = slice(0, 20)
    compare_with_plain_loop(model, images[few], labels[few], dist[few])
    save_curves(curves, options.out / "curves.png")
    save_panel(images, dist, options.out / "percentiles.png")
    check_oracle(model, images[:2], labels[:2], dist[:2])


def trained(images: Tensor, labels: Tensor, options: argparse.Namespace) -> LeNet:
    """The network, trained now or read from the folder."""
    path = options.out / f"lenet_{options.epochs}_{options.seed}.pt"
    if path.exists():
        model = LeNet().eval()
        model.load_state_dict(torch.load(path, weights_only=True))
    else:
        model = train(images[:TRAINED], labels[:TRAINED], options.epochs, options.seed)
        torch.save(model.state_dict(), path)
    print(f"accuracy on the last 2,000 images: {accuracy(model, images[TRAINED:], labels[TRAINED:]):.1%}")
    return model


def check_oracle(model: LeNet, images: Tensor, labels: Tensor, dist: DistributionAttribution) -> None:
    """The deterministic map is LRP's own."""
    own = LRP(model, EpsilonComposite(1e-9, max_pool="average")).attribute(images, target=labels)
    torch.testing.assert_close(own.detach(), dist.deterministic, rtol=1e-3, atol=1e-5)


if __name__ == "__main__":
    main()
