"""MCRP's figure (Fischer and Schneider, 2020, figures 4 to 7): what VGG-16 looks at in a picture, and how surely.

Run from the repository: ``python benchmarks/mcrp_imagenet.py --images ../shared/data/imagenet``. One row a picture, in
the paper's order: image, mean, uncertainty, signal-to-noise ratio, confusion, with the grey image behind. By default
the rows are the cat, the dog, the bird and the spider; ``--all`` takes every picture of the folder.

The weights are torchvision's, downloaded on first use. Where they cannot be had the network is random and the figure's
title says so: such maps show that the code runs, and nothing else. 100 draws take some minutes a picture on a CPU.

The class explained is the one that the file's name says, as in ``n02123045_tabby.jpeg``, and the predicted one where
it says none or the network is random. Each panel is scaled by itself, from its 1st to its 99.5th percentile.
Relevance has the sign of the output: a draw in which the class is below 0 gives its map upside down. Where there are
such draws, the line printed for the picture counts them.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from captum_uq import MCRP

SHOWN = ("tabby", "golden_retriever", "goldfinch", "black_and_gold_garden_spider")
"""The paper's cat, dog, bird and spider, in its order."""
SUFFIXES = (".jpeg", ".jpg", ".png")
OUTPUT = Path(__file__).resolve().parent / "output" / "mcrp.png"
TITLES = (
    *("Image", "Mean  $\\mu$", "Uncertainty  $\\sigma$"),
    *("Signal-to-noise  $\\mu\\,/\\,\\sigma$", "Confusion  $\\mu\\,\\sigma$"),
)
LOW, HIGH = 0.01, 0.995
"""Quantiles of a map between which its panel is scaled."""
COLOURS, INK, LINE, ALARM = "inferno", "#333333", "#bbbbbb", "#b22222"
BEHIND = 0.6
"""Brightness of the grey image."""
PANEL, GAP, LEFT, TOP, BOTTOM = 2.2, 0.09, 0.85, 1.05, 0.72
"""Of the figure, in inches."""
UNDER = 0.2
"""Height of the numbers under a panel, in inches."""


class Row(NamedTuple):
    """One picture of the figure."""

    name: str
    explained: Sequence[str]
    picture: Tensor  # shape: (3, H, W), in [0, 1]
    maps: Sequence[Tensor]  # as in MCRPScores, each of shape (H, W)


class Classes:
    """The classes of the network: with names where the weights are trained.

    Args:
        names: Of all classes, in the order of the outputs; None where the weights are random.
    """

    def __init__(self, names: Sequence[str] | None) -> None:
        self.names = names

    def __getitem__(self, index: int) -> str:
        return f"class {index}" if self.names is None else self.names[index]

    def in_name(self, name: str) -> list[int]:
        """Those whose words stand in the name of a picture; of these the longest: "garden spider" is no "spider"."""
        text = _words(name)
        found = [index for index, label in enumerate(self.names or ()) if _words(label) in text]
        longest = max((len(self[index]) for index in found), default=0)
        return [index for index in found if len(self[index]) == longest]


def _words(text: str) -> str:
    """Letters only, so that "wine_bottle" is "wine bottle", and "jack-o'-lantern" is itself however it is written."""
    return " ".join(["", *re.findall(r"[^\W\d_]+", text.casefold()), ""])


def import_models() -> ModuleType:
    """The networks of torchvision.

    Raises:
        SystemExit: It is not installed.
    """
    try:
        from torchvision import models
    except ModuleNotFoundError:
        raise SystemExit('VGG-16 is torchvision\'s, which is not installed: pip install -e ".[peers]"') from None
    return models


def load_network(models: ModuleType, weights: str, seed: int) -> tuple[nn.Module, Classes]:
    """VGG-16 with ImageNet's weights, or with random ones where they are asked for or nothing else can be had."""
    if weights == "imagenet":
        trained = models.VGG16_Weights.IMAGENET1K_V1
        try:
            model = models.vgg16(weights=trained, progress=sys.stderr.isatty())
        except (OSError, RuntimeError) as error:  # no connection; a file cut short
            reason = " ".join(str(error).split())
            print(f"ImageNet's weights cannot be had ({reason}); going on with random weights, which mean nothing.")
        else:
            return model.eval(), Classes(trained.meta["categories"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.vgg16(weights=None).eval(), Classes(None)


def find_pictures(folder: Path, every: bool) -> list[Path]:
    """The paper's four pictures, those of them that are there; or all, which is also what a folder without them gives.

    Raises:
        SystemExit: There is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise SystemExit(f"there is no folder at {folder}. Give --images a folder of pictures ({', '.join(SUFFIXES)}).")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise SystemExit(f"{folder} holds no picture ({', '.join(SUFFIXES)}).")
    named = {re.sub(r"^n\d{8}_", "", path.stem): path for path in paths}
    chosen = [named[name] for name in SHOWN if name in named]
    if not every and not chosen:
        print(f"none of {', '.join(SHOWN)} in {folder}: taking all {len(paths)} pictures.")
    return paths if every or not chosen else chosen


def read_picture(path: Path) -> Image.Image:
    """The picture in colour.

    Raises:
        SystemExit: It cannot be read.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except OSError as error:
        raise SystemExit(f"{path} cannot be read as a picture: {error}") from None


def choose_target(name: str, logits: Tensor, classes: Classes) -> tuple[int, str]:
    """The class to explain, and where it comes from."""
    predicted = int(logits.argmax())
    if classes.names is None:
        return predicted, "predicted by random weights"
    found = classes.in_name(name)
    if not found:
        print(f"{name}: no class of ImageNet has this name, so the predicted one is explained.")
        return predicted, "predicted"
    target = max(found, key=lambda index: float(logits[index]))  # two kinds of crane: the one that it sees rather
    return target, f"by file name; predicted: {classes[predicted]}"


def explain(path: Path, model: nn.Module, classes: Classes, prepare: Any, options: argparse.Namespace) -> Row:
    """MCRP of one picture, and a line on it."""
    inputs = prepare(read_picture(path))[None]
    name = re.sub(r"^n\d{8}_", "", path.stem).replace("_", " ")
    with torch.no_grad():
        target, source = choose_target(name, model(inputs)[0], classes)
    start = time.perf_counter()
    dist = MCRP(model).attribute(
        inputs.requires_grad_(),
        target=target,
        n_draws=options.draws,
        seed=options.seed,
        return_deterministic=False,
        show_progress=sys.stderr.isatty(),
    )
    outputs = dist.predictions.outputs[:, 0, target]
    seconds = (time.perf_counter() - start) / dist.n_draws
    agree = (dist.predictions.classes() == target).float().mean().item()
    line = f"{name}: {classes[target]} ({source}); {agree:.0%} of {dist.n_draws} draws agree; {seconds:.2f} s a draw"
    if below := int((outputs < 0).sum()):
        line += f"; in {below} the class is below 0, which turns the map upside down"
    print(line, flush=True)
    mean, std = (torch.tensor(values)[:, None, None] for values in (prepare.mean, prepare.std))
    picture = (inputs.detach()[0] * std + mean).clamp(0, 1)
    explained = [f"{agree:.0%} of draws agree"]
    if _words(classes[target]) != _words(name):
        explained.insert(0, f"({classes[target]})")
    return Row(name, explained, picture, [values[0, 0] for values in MCRP.scores(dist)])


def scaled(values: Tensor) -> tuple[Tensor, float, float]:
    """A map in [0, 1] from one quantile of its finite values to another, and these; infinity is 1."""
    finite = values[values.isfinite()]
    if not finite.numel():
        return values.isposinf().float(), 0.0, 0.0
    low, high = torch.quantile(finite, torch.tensor([LOW, HIGH])).tolist()
    within = (values.clamp(low, high) - low) / (high - low) if high > low else (values > low).float()
    return within, low, high


def draw(rows: Sequence[Row], title: str, warning: str = "") -> Figure:
    """The figure, one row a picture.

    Args:
        rows: The pictures.
        title: Above everything.
        warning: Beneath it, and all in red: that the maps mean nothing, where they do not.

    Returns:
        A figure to save.
    """
    pitch = PANEL + UNDER + GAP
    width, height = LEFT + len(TITLES) * (PANEL + GAP), TOP + len(rows) * pitch + BOTTOM
    figure = Figure(figsize=(width, height), facecolor="white")
    text, colour = (f"{title}\n{warning}", ALARM) if warning else (title, INK)
    figure.suptitle(text, y=1 - 0.16 / height, va="top", fontsize=15, color=colour)
    for number, row in enumerate(rows):
        bottom = height - TOP - number * pitch - PANEL
        panels = []
        for column in range(len(TITLES)):
            box = ((LEFT + column * (PANEL + GAP)) / width, bottom / height, PANEL / width, PANEL / height)
            panels.append(figure.add_axes(box, xticks=[], yticks=[]))
            panels[-1].spines[:].set(color=LINE, linewidth=0.6)
            panels[-1].set_title(TITLES[column] if number == 0 else "", fontsize=13, color=INK)
        draw_row(panels, row)
    draw_key(figure, width, height)
    return figure


def draw_row(panels: Sequence[Axes], row: Row) -> None:
    """The picture, and its maps over its grey self."""
    first, *others = panels
    first.imshow(row.picture.permute(1, 2, 0).numpy())
    lines = [line for text in (row.name, *row.explained) for line in textwrap.wrap(text, 24)]
    first.set_ylabel("\n".join(lines), fontsize=11, color=INK)
    grey = (row.picture * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    for axes, values in zip(others, row.maps, strict=True):
        strength, low, high = scaled(values)
        colours = torch.from_numpy(colormaps[COLOURS](strength.numpy())[..., :3]).float()
        cover = strength.sqrt()[..., None]
        axes.imshow(((1 - cover) * BEHIND * grey[..., None] + cover * colours).numpy())
        axes.set_xlabel(f"{number(low)} to {number(high)}", fontsize=9, color=INK, labelpad=2)


def number(value: float) -> str:
    """With two digits or, from 100 on, without decimals."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"


def draw_key(figure: Figure, width: float, height: float) -> None:
    """What the colours say."""
    box = ((width - 4.5) / 2 / width, 0.42 / height, 4.5 / width, 0.12 / height)
    bar = figure.colorbar(ScalarMappable(cmap=COLOURS), cax=figure.add_axes(box), orientation="horizontal")
    labels = [f"{LOW:.0%} quantile", "of each panel by itself", f"{HIGH:.1%} quantile"]
    bar.set_ticks([0, 0.5, 1], labels=labels, fontsize=10, color=INK)
    bar.ax.tick_params(length=0)
    bar.outline.set(color=LINE, linewidth=0.6)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=Path, required=True, help="a folder of pictures, named by what they show")
    parser.add_argument("--all", action="store_true", help="every picture, not only cat, dog, bird and spider")
    parser.add_argument("--weights", choices=("imagenet", "random"), default="imagenet")
    parser.add_argument("--draws", type=int, default=100, help="T")
    parser.add_argument("--size", type=int, default=224, help="pictures are cropped to it")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the figure, a PNG")
    parser.add_argument("--seed", type=int, default=0, help="of the draws, and of random weights")
    options = parser.parse_args(arguments)
    if options.draws < 2:
        parser.error(f"--draws is 2 or more, as one draw has no uncertainty, got {options.draws}")
    if options.size < 32:
        parser.error(f"--size is 32 or more, as VGG-16 halves the picture 5 times, got {options.size}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    models = import_models()
    paths = find_pictures(options.images, options.all)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    model, classes = load_network(models, options.weights, options.seed)
    prepare = models.VGG16_Weights.IMAGENET1K_V1.transforms(
        crop_size=options.size, resize_size=round(options.size * 256 / 224)
    )
    rows = [explain(path, model, classes, prepare, options) for path in paths]
    title = f"Monte Carlo relevance propagation on VGG-16: T = {options.draws} draws of its dropout"
    warning = (
        "" if classes.names else "The weights are random, so these maps mean nothing: they show that the code runs."
    )
    figure = draw(rows, title, warning)
    figure.savefig(options.output, format="png", dpi=150, metadata={"Title": figure.get_suptitle()})
    print(f"The figure is in {options.output}")


if __name__ == "__main__":
    main()
