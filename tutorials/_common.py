"""What the tutorials share: the command line, the data, training, and where the figures go."""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
DPI = 70
CAPTUM_SAYS = (
    r"Input Tensor \d+ did not already require gradients",
    "Setting forward, backward hooks and attributes on non-linear",
    "Setting backward hooks on ReLU activations",
    "You are providing multiple inputs for Lime / Kernel SHAP",
)
"""Captum says these each time: it needs gradients and hooks, and takes them off again."""


class Lesson:
    """One run of a tutorial: what the command line asked for.

    Args:
        title: What ``--help`` says.
        arguments: The command line; None for this process's own. A notebook has none.

    Attributes:
        fast: Whether seconds matter more than what the network learns, as in tests.
        data: Folder of the real data.
        download: Whether torchvision or scikit-learn may fetch the data into that folder.
        output: Folder for the figures.
    """

    def __init__(self, title: str, arguments: Sequence[str] | None = None) -> None:
        parser = argparse.ArgumentParser(description=title)
        parser.add_argument("--fast", action="store_true", help="less of everything, for tests: seconds")
        parser.add_argument("--data", type=Path, default=SHARED, help="folder of the data (default: %(default)s)")
        parser.add_argument("--download", action="store_true", help="let torchvision or scikit-learn fetch it")
        parser.add_argument("--output", type=Path, help="folder for the figures (default: a temporary one)")
        options = parser.parse_args([] if in_notebook() else arguments)
        self.fast: bool = options.fast
        self.data: Path = options.data
        self.download: bool = options.download
        self.output: Path = options.output or Path(tempfile.mkdtemp(prefix="captum_uq_"))
        self.output.mkdir(parents=True, exist_ok=True)
        for message in CAPTUM_SAYS:
            warnings.filterwarnings("ignore", message, UserWarning)
        torch.manual_seed(0)
        if not in_notebook():
            print(f"{title}. The figures go to {self.output}")

    def show(self, figure: Figure, name: str, seen: str) -> None:
        """Save the figure; in a notebook, show it, with what is seen on it for those who cannot see it."""
        path = self.output / f"{name}.png"
        figure.savefig(path, dpi=DPI, bbox_inches="tight", facecolor="white")
        if in_notebook():
            from IPython.display import Image, display

            display(Image(path.read_bytes(), alt=seen))
        else:
            print(f"figure: {path.name}")


def in_notebook() -> bool:
    """Whether a notebook runs this, and not a command line."""
    return "ipykernel" in sys.modules


def stop(reason: str) -> NoReturn:
    """End the tutorial early, and say why; nothing has failed.

    Raises:
        SystemExit: Always, with status 0.
    """
    print(f"Not run: {reason}")
    raise SystemExit(0)


# ---- data


class Pictures(NamedTuple):
    """Pictures ``(N, C, H, W)`` and labels ``(N,)``; ``raw = pictures * std + mean`` lies in [0, 1]."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    names: list[str]
    mean: float
    std: float

    def raw(self, image: Tensor) -> Tensor:
        """The picture as one looks at it, in [0, 1]."""
        return (image * self.std + self.mean).clamp(0, 1)

    def first_of(self, label: int, count: int) -> Tensor:
        """The first test pictures of a class, ``(count, C, H, W)``."""
        return self.test_images[self.test_labels == label][:count]


def mnist(lesson: Lesson) -> Pictures:
    """MNIST's test set at 32 x 32, 8,000 to learn from; scikit-learn's digits where it is not there."""
    path = lesson.data / "mnist_t10k.npz"
    if path.exists():
        with np.load(path) as file:
            images, labels = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"]).long()
    elif lesson.download:
        found = _from_torchvision("MNIST", lesson, train=False)
        images, labels = found.data, found.targets
    else:
        print(f"There is no {path.name} in {lesson.data}: these are scikit-learn's 8 x 8 digits, enlarged.")
        return _split(*_sklearn_digits(), n_train=1400, names=list("0123456789"))
    images = F.interpolate(images[:, None].float() / 255, size=(32, 32), mode="bilinear", align_corners=False)
    return _split(images, labels, n_train=8000, names=list("0123456789"))


def _sklearn_digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    small = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    images = F.interpolate(small, size=(32, 32), mode="bilinear", align_corners=False)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order], torch.tensor(labels)[order]


def cifar10(lesson: Lesson, classes: Sequence[str] = ()) -> Pictures:
    """A tenth of CIFAR-10, all of it or some classes, which are then numbered in the order given."""
    path = lesson.data / "cifar10_11k.npz"
    if path.exists():
        with np.load(path) as file:
            arrays = [file[f"{part}_{kind}"] for part in ("train", "test") for kind in ("images", "labels")]
            names = [str(name) for name in file["class_names"]]
    elif lesson.download:
        parts = [_from_torchvision("CIFAR10", lesson, train=train) for train in (True, False)]
        arrays = [array[:10000] for part in parts for array in (part.data, np.asarray(part.targets))]
        names = list(parts[0].classes)
    else:
        stop(
            f"there is no {path.name} in {lesson.data}. Give its folder by --data, or --download (170 MB, torchvision)."
        )
    chosen = list(classes or names)
    kept = [names.index(name) for name in chosen]
    splits = []
    for images, labels in (arrays[:2], arrays[2:]):
        rows = np.isin(labels, kept)
        pixels = torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255
        splits += [(pixels - 0.47) / 0.25, torch.tensor([kept.index(label) for label in labels[rows]])]
    return Pictures(*splits, chosen, 0.47, 0.25)


def _from_torchvision(name: str, lesson: Lesson, train: bool) -> Any:
    try:
        from torchvision import datasets
    except ImportError:
        stop("--download is torchvision's, which is not installed: pip install torchvision")
    return getattr(datasets, name)(lesson.data, train=train, download=True)


def _split(images: Tensor, labels: Tensor, n_train: int, names: list[str]) -> Pictures:
    mean, std = images[:n_train].mean().item(), images[:n_train].std().item()
    images = (images - mean) / std
    return Pictures(images[:n_train], labels[:n_train], images[n_train:], labels[n_train:], names, mean, std)


PLACE = ["longitude", "latitude"]
DISTRICT = ["housing median age", "total rooms", "total bedrooms", "population", "households", "median income"]


class Table(NamedTuple):
    """Standardised columns ``(N, F)`` and targets ``(N,)``, the columns' names and their units."""

    train_rows: Tensor
    train_targets: Tensor
    test_rows: Tensor
    test_targets: Tensor
    names: list[str]


def housing(lesson: Lesson) -> Table:
    """California Housing: eight standardised columns of a district, and its median price in 100,000 dollars."""
    path = lesson.data / "california_housing.csv"
    if path.exists():
        cells = np.genfromtxt(path, delimiter=",", skip_header=1, usecols=range(9))
    elif lesson.download:
        cells = _housing_from_sklearn(lesson.data)
    else:
        stop(f"there is no {path.name} in {lesson.data}. Give its folder by --data, or --download (scikit-learn).")
    cells = cells[~np.isnan(cells).any(1)]  # 207 districts lack a column
    cells = torch.as_tensor(cells[np.random.default_rng(0).permutation(len(cells))]).float()
    rows, prices = cells[:, :8], cells[:, 8] / 1e5
    rows = (rows - rows[:16000].mean(0)) / rows[:16000].std(0)
    return Table(rows[:16000], prices[:16000], rows[16000:], prices[16000:], [*PLACE, *DISTRICT])


def _housing_from_sklearn(folder: Path) -> np.ndarray:
    """scikit-learn gives rooms, bedrooms and people by household; here are the sums of a district again."""
    from sklearn.datasets import fetch_california_housing

    columns, prices = fetch_california_housing(data_home=folder, return_X_y=True)
    income, age, rooms, bedrooms, people, people_each, latitude, longitude = columns.T
    homes = people / people_each
    sums = rooms * homes, bedrooms * homes, people, homes
    return np.stack([longitude, latitude, age, *sums, income, prices * 1e5], axis=1)


# ---- training

Forward = Callable[[nn.Module, Tensor], Tensor]


def train(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    epochs: int,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    seed: int = 0,
    forward: Forward | None = None,
    penalty: Callable[[nn.Module], Tensor] | None = None,
) -> nn.Module:
    """Adam with a cosine rate on batches of 64; the network comes back in eval mode.

    Args:
        model: The network.
        inputs: Examples, ``(N, *F)``.
        targets: What the loss compares the outputs with, ``(N, ...)``.
        epochs: How often each example is seen.
        loss: ``(outputs, targets) -> ()``.
        seed: Of the batches, and of dropout.
        forward: ``(model, inputs) -> outputs``, where it is not a plain call.
        penalty: Added to the loss, divided by ``N``: the divergence of variational layers.

    Returns:
        The same network.
    """
    order, batches = torch.Generator().manual_seed(seed), -(-len(inputs) // 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs=epochs, steps_per_epoch=batches)
    torch.manual_seed(seed)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=order).split(64):
            optimizer.zero_grad()
            outputs = model(inputs[rows]) if forward is None else forward(model, inputs[rows])
            (loss(outputs, targets[rows]) + (0.0 if penalty is None else penalty(model) / len(inputs))).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Share of the examples whose class is predicted."""
    return (model(inputs).argmax(1) == labels).float().mean().item()


def correlation(one: Tensor, other: Tensor) -> float:
    """Pearson correlation over all entries of two tensors of one shape."""
    return torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].item()
