"""What T draws cost: the naive loop against ours, ours against the least there is, and against a batch by hand.

The naive loop is what users write today: Captum called T times with dropout switched on. All are timed in one run, in
turn, and the tables give ratios of medians; for the LeNet beside them how many rows its first layer ran, which does not
wobble. The random weights do not matter for the time.

Run from the repository: ``OMP_NUM_THREADS=2 python benchmarks/execution.py``, or with some of ``lenet``, ``table``,
``vgg``, ``sources``, ``resnet`` and ``batched``. The whole takes about half an hour on two cores.
``--readme`` puts the tables that were made into README.md.
"""

from __future__ import annotations

import argparse
import copy
import re
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from execution_cases import Case, cases, lenet, minivgg, mlp, resnet18, table_cases, vgg16
from torch import Tensor, nn

from captum_uq import MCDropout, lrp
from captum_uq.samplers import Ensemble, NoiseGrad, Sampler, WeightSamples

README = Path(__file__).resolve().parents[1] / "README.md"
RESNET_METHODS = ("Saliency", "GuidedBackprop", "IntegratedGradients", "Occlusion", "FeatureAblation")
VGG_METHODS = ("Saliency", "GuidedBackprop", "IntegratedGradients", "LRP", "Occlusion", "FeatureAblation")
ONCE = ("Occlusion", "FeatureAblation")
"""Of these, one deterministic run is the least there is."""


def medians(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each way, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def rows_of(network: nn.Module, way: Callable[[], object]) -> int:
    """How many rows the network's first layer ran."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    rows: list[int] = []
    handle = first.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    way()  # a network with another hook is checked anew
    rows.clear()
    way()
    handle.remove()
    return sum(rows)


def picture(batch: int, channels: int, size: int) -> Tensor:
    """Pictures of noise, ``(batch, channels, size, size)``."""
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(0))


def table(title: str, columns: list[str], rows: dict[str, list[str]]) -> str:
    """A table in Markdown, its title in the corner."""
    lines = [[title, *columns], ["---"] * (1 + len(columns)), *([name, *cells] for name, cells in rows.items())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def one_batch(case: Case, network: nn.Module, draws: int) -> float:
    """The naive loop over one batch of all draws, forwards and backwards and nothing else."""

    def together() -> None:
        rows = picture(1, 1, 32).repeat(draws, 1, 1, 1).requires_grad_()
        torch.autograd.grad(network.train()(rows)[:, 1].sum(), rows)
        network.eval()

    seconds = medians({"naive": partial(case.naive, network, picture(1, 1, 32), draws), "batch": together}, 15)
    return seconds["naive"] / seconds["batch"]


def lenet_table(repeats: int) -> str:
    """Bar 1: the naive loop over ours, T = 100."""
    draws, network, rows = 100, lenet(), {}
    every = cases(32, 1, 8, 50)
    print(f"Saliency, naive over a bare batch of {draws} rows: {one_batch(every['Saliency'], network, draws):.2f}")
    for batch in (1, 8):
        inputs = picture(batch, 1, 32)
        many = repeats if batch == 1 else max(1, repeats // 2)
        rows[f"batch of {batch}"] = [against_naive(case, network, inputs, draws, many) for case in every.values()]
        rows[f"rows of the first layer, batch of {batch}"] = [
            f"{rows_of(network, way['naive'])} / {rows_of(network, way['auto'])}"
            for way in (ways_of(case, network, inputs, draws) for case in every.values())
        ]
    return table(f"LeNet, T = {draws}: naive / ours", list(every), rows)


def mlp_table(repeats: int) -> str:
    """The naive loop over ours on a table, T = 100."""
    draws, network, every, rows = 100, mlp(), table_cases(8, 20), {}
    for batch in (1, 32):
        inputs = torch.randn(batch, 8, generator=torch.Generator().manual_seed(0))
        many = repeats if batch == 1 else max(1, repeats // 2)
        rows[f"batch of {batch}"] = [against_naive(case, network, inputs, draws, many) for case in every.values()]
    return table(f"MLP on a table, T = {draws}: naive / ours", list(every), rows)


def ways_of(case: Case, network: nn.Module, inputs: Tensor, draws: int) -> dict[str, Callable[[], Any]]:
    """MC dropout by the naive loop, by our loop and by the fastest of our roads."""
    return {
        "naive": partial(case.naive, network, inputs, draws),
        "loop": partial(case.ours, network, inputs, draws, MCDropout(), "loop"),
        "auto": partial(case.ours, network, inputs, draws, MCDropout(), "auto"),
    }


def against_naive(case: Case, network: nn.Module, inputs: Tensor, draws: int, repeats: int) -> str:
    """The naive loop's median over ours."""
    ways = ways_of(case, network, inputs, draws)
    road = ways["auto"]().execution
    seconds = medians(ways, repeats)
    ratio, loop = (f"{seconds['naive'] / seconds[way]:.2f}" for way in ("auto", "loop"))
    print(f"{case.name}, batch {len(inputs)}: {ratio}, by the loop {loop}; {road}", flush=True)
    return ratio


def least(case: Case, network: nn.Module, inputs: Tensor, draws: int) -> Callable[[], Any]:
    """The least there is: a forward and a backward pass for each draw, or one deterministic run."""
    return partial(case.once, network, inputs) if case.name in ONCE else partial(case.floor, network, inputs, draws)


def vgg_table(repeats: int) -> str:
    """Bar 2: ours over the least there is, and the naive loop over ours, T = 20."""
    draws, network, inputs = 20, vgg16(), picture(1, 3, 224)
    every, over, gain = cases(224, 3, 56, 8), [], []
    for case in map(every.__getitem__, VGG_METHODS):
        ways: dict[str, Callable[[], Any]] = {
            "ours": partial(case.ours, network, inputs, draws, MCDropout(), "auto"),
            "least": least(case, network, inputs, draws),
        }
        road = ways["ours"]().execution
        seconds = medians(ways, repeats)
        naive = medians({"naive": partial(case.naive, network, inputs, 2)}, 1)["naive"] * draws / 2
        over.append(f"{seconds['ours'] / seconds['least']:.2f}")
        gain.append(f"{naive / seconds['ours']:.1f}")
        print(f"{case.name}: {over[-1]} of the least, naive / ours {gain[-1]}; {road}", flush=True)
    rows = {"ours / the least there is": over, "naive / ours": gain}
    return table(f"VGG-16, T = {draws}", list(VGG_METHODS), rows)


def sources(network: nn.Module) -> list[tuple[str, Sampler, int]]:
    """Draws of the last layer, as a last-layer Laplace gives them, and an ensemble; and how many are taken."""
    last = {name: p.detach() for name, p in network.named_parameters() if name.startswith("classifier.6")}
    drawn = [{name: p + 0.05 * torch.randn(p.shape) for name, p in last.items()} for _ in range(50)]
    members = [copy.deepcopy(network) for _ in range(5)]
    for member in members:
        for parameter in member.parameters():
            parameter.data += 0.01 * torch.randn(parameter.shape)
    last_layer = WeightSamples(drawn)
    return [("last layer", last_layer, 20), ("last layer", last_layer, 50), ("ensemble", Ensemble(members), 5)]


def against_both(
    case: Case, network: nn.Module, inputs: Tensor, sampler: Sampler, draws: int, repeats: int
) -> tuple[str, str]:
    """Ours over the least there is, and the naive loop over ours: Captum on networks that are drawn already."""
    networks = [sampler.network(t, model=network, seed=0) for t in range(draws)]
    ways: dict[str, Callable[[], Any]] = {
        "naive": lambda: [case.once(one, inputs) for one in networks],
        "least": least(case, network, inputs, draws),
        "ours": partial(case.ours, network, inputs, draws, sampler, "auto"),
    }
    road = ways["ours"]().execution
    seconds = medians(ways, repeats)
    over, gain = (f"{seconds[a] / seconds[b]:.2f}" for a, b in (("ours", "least"), ("naive", "ours")))
    print(f"{sampler!r}, {case.name}, batch {len(inputs)}: naive / ours {gain}; {road}", flush=True)
    return over, gain


def sources_table(repeats: int) -> str:
    """Bar 3: the last layer and an ensemble, whose members share nothing: there is no less than the loop."""
    network, every, rows = minivgg(), cases(32, 3, 8, 20), dict[str, list[str]]()
    for label, sampler, draws in sources(network):
        for batch in (1, 4):
            given = network, picture(batch, 3, 32), sampler, draws, 3 * repeats if draws > 20 else 8 * repeats
            pairs = [against_both(every[name], *given) for name in VGG_METHODS]
            row = f"{label}, T = {draws}, batch of {batch}"
            if label == "last layer":
                rows[f"{row}: ours / the least there is"] = [over for over, _ in pairs]
            rows[f"{row}: naive / ours"] = [gain for _, gain in pairs]
    return table("small VGG", list(VGG_METHODS), rows)


def resnet_table(repeats: int) -> str:
    """A residual network whose weights are more than its activations: our loop over ours."""
    network, inputs, every, rows = resnet18(), picture(1, 3, 32), cases(32, 3, 8, 8), dict[str, list[str]]()
    drawn = {"dropout before the last layer": (MCDropout(), 50), "all weights (NoiseGrad)": (NoiseGrad(std=0.01), 16)}
    for label, (sampler, draws) in drawn.items():
        ratios = []
        for case in map(every.__getitem__, RESNET_METHODS):
            ways = {way: partial(case.ours, network, inputs, draws, sampler, way) for way in ("loop", "auto")}
            road = ways["auto"]().execution
            seconds = medians(ways, repeats)
            ratios.append(f"{seconds['loop'] / seconds['auto']:.2f}")
            print(f"{label}, T = {draws}, {case.name}: {ratios[-1]}; {road}", flush=True)
        rows[f"{label}, T = {draws}"] = ratios
    return table("ResNet-18, 3 x 32 x 32: loop / ours", list(RESNET_METHODS), rows)


def batched_by_hand(network: nn.Sequential, image: Tensor, draws: int, target: int) -> Tensor:
    """LRP-epsilon of a batch of draws of the LeNet, written for this network alone: a row for each draw."""
    layers, rows = list(network), [image.repeat(draws, 1, 1, 1)]
    for layer in layers:
        rows.append(F.dropout(rows[-1]) if isinstance(layer, nn.Dropout) else layer(rows[-1]))
    relevance = F.one_hot(torch.tensor(target), rows[-1].shape[1]) * rows[-1]
    for index in reversed(range(len(layers))):
        layer, x = layers[index], rows[index].detach().requires_grad_()
        if isinstance(layer, (nn.Dropout, nn.ReLU)):
            continue
        pooled = F.avg_pool2d(x, 2) if isinstance(layer, nn.MaxPool2d) else layer(x)
        share = relevance / (pooled + 1e-9 * pooled.detach().sign())
        relevance = (torch.autograd.grad(pooled, x, share.detach())[0] * x).detach()
    return relevance


def batched_table(repeats: int) -> str:
    """Bar 6: 100 draws of LRP-epsilon of one digit, against a batch written by hand."""
    draws, network = 100, lenet()
    assert isinstance(network, nn.Sequential)
    image = picture(1, 1, 32)
    case = Case("LRP", lambda net: lrp.LRP(net, composite=lrp.EpsilonComposite(epsilon=1e-9, max_pool="average")))
    ways: dict[str, Callable[[], Any]] = {
        "loop": lambda: case.ours(network, image, draws, MCDropout(), "loop"),
        "ours": lambda: case.ours(network, image, draws, MCDropout(), "auto"),
        "by hand": lambda: batched_by_hand(network, image, draws, 1),
    }
    for way in ways.values():
        way()
    seconds = medians(ways, 3 * repeats)
    cells = [f"{value * 1e3:.0f} ms" for value in seconds.values()]
    return table(f"LRP-epsilon of one digit, T = {draws}", list(ways), {"LeNet": cells})


PARTS = {
    "lenet": lenet_table,
    "table": mlp_table,
    "vgg": vgg_table,
    "sources": sources_table,
    "resnet": resnet_table,
    "batched": batched_table,
}


def write_readme(part: str, made: str) -> None:
    """Put a table in the place of its last version."""
    marks = f"<!-- benchmarks/execution.py {part} -->\n", f"\n<!-- {part} -->"
    text = README.read_text()
    assert all(mark in text for mark in marks), f"README.md has no place for {part}"
    README.write_text(
        re.sub(f"(?s){re.escape(marks[0])}.*{re.escape(marks[1])}", f"{marks[0]}\n{made}\n{marks[1]}", text)
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which tables; all by default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--readme", action="store_true", help="put the tables into README.md")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for part in given.parts or PARTS:
        made = PARTS[part](given.repeats)
        print(f"\n{made}\n")
        if given.readme:
            write_readme(part, made)


if __name__ == "__main__":
    main()
