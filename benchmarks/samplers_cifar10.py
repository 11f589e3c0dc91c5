"""Which explanation is least uncertain? The experiment of Mulye and Valdenegro-Toro (2024), small, on CIFAR-10.

MC-Dropout, DropConnect, an ensemble of 5 and Flipout, each with Guided Backpropagation, Integrated Gradients and
LIME, on a miniVGG: mean CV, insertion and deletion of mean and standard deviation maps, per class.

Run from the repository: ``OMP_NUM_THREADS=1 python benchmarks/samplers_cifar10.py`` (about 20 minutes on one core;
``--epochs 1 --images 10 --draws 3`` for a look).
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from captum.attr import GuidedBackprop, IntegratedGradients
from samplers_common import HEADER, Source, areas, cells, explain, lime, print_per_class, sources, verdict
from torch import Tensor, nn

from captum_uq import DistributionAttribution

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10_11k.npz"


def mini_vgg(rate: float, width: int = 16) -> nn.Module:
    """Two blocks of two convolutions, and a hidden layer; dropout after each where the rate is above 0."""

    def dropout(scale: float = 1.0) -> list[nn.Module]:
        return [nn.Dropout(rate * scale)] if rate else []

    layers: list[nn.Module] = []
    for before, after in ((3, width), (width, 2 * width)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.Conv2d(after, after, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2), *dropout(0.5)]
    layers += [nn.Flatten(), nn.Linear(128 * width, 64), nn.ReLU(), *dropout(), nn.Linear(64, 10)]
    return nn.Sequential(*layers)


def load(path: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], list[str]]:
    """Standardized images and labels for training and test, and the names of the classes."""
    data = np.load(path)
    sets = []
    for part in ("train", "test"):
        images = torch.as_tensor(data[f"{part}_images"]).permute(0, 3, 1, 2).float() / 255
        sets.append(((images - 0.47) / 0.25, torch.as_tensor(data[f"{part}_labels"]).long()))
    return sets[0], sets[1], [str(name) for name in data["class_names"]]


def magnitude(relevance: Tensor) -> Tensor:
    """Magnitude of each pixel's relevance, ``(N, 1, H, W)``."""
    return relevance.abs().sum(1, keepdim=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    if not options.data.exists():
        raise SystemExit(f"{options.data} is missing: give --data, an npz of train_images, train_labels, test_...")
    data, test, names = load(options.data)
    rows_of_class = options.images // len(names)
    chosen = torch.cat([(test[1] == c).nonzero()[:rows_of_class, 0] for c in range(len(names))])
    inputs, labels = test[0][chosen], test[1][chosen]
    patches = (torch.arange(32) // 4)[:, None] * 8 + torch.arange(32) // 4
    methods = {
        "GuidedBackprop": (GuidedBackprop, {}),
        "IntegratedGradients": (IntegratedGradients, {"n_steps": 16, "internal_batch_size": 256}),
        "Lime": (lime, {"feature_mask": patches[None, None], "n_samples": 100, "perturbations_per_eval": 100}),
    }
    found = sources(mini_vgg, data, nn.functional.cross_entropy, options.epochs)
    rows = []
    print(f"| source | method | {HEADER} | s |\n|" + "---|" * 9)
    for name, source in found.items():
        with torch.no_grad():
            accuracy = (source.model(test[0]).argmax(1) == test[1]).float().mean()
        agreement = source.sampler.agreement(test[0][:200], labels=test[1][:200], n_draws=5, model=source.model)

        def measure(dist: DistributionAttribution, source: Source = source) -> Tensor:
            return areas(source, dist, inputs, labels, lambda outputs: outputs.softmax(-1), 16)

        for row in explain(name, source, methods, inputs, labels, options.draws, magnitude, measure):
            rows.append(row)
            print(f"| {name} | {row.method} | {cells(row)} | {row.seconds:.0f} |", flush=True)
        print(f"| {name} | accuracy {accuracy:.3f}; {agreement} | | | | | | | |", flush=True)
    print_per_class(rows, labels, names)
    print("\n" + verdict(rows))


if __name__ == "__main__":
    main()
