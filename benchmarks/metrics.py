"""Speed, memory and variance bars of ``captum_uq.metrics``, as a table: ratios within one run, interleaved, medians.

Run from the repository: ``OMP_NUM_THREADS=1 python benchmarks/metrics.py``. Quantus is compared where installed. Beside
a bar of speed stand the bare forward passes of the same rows as they lie, and a loop written by hand. Only another
layout beats the bare passes: ours shows pictures with their channels last.
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import InputXGradient
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from captum_uq import MCDropout, StochasticAttribution, stats
from captum_uq.metrics import NoisyLinearImputation, UniformNoise, pixel_flipping

try:
    import quantus
except ImportError:
    quantus = None

MNIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist_t10k.npz"


class LeNet(nn.Sequential):
    """The network of B-LRP's MNIST experiment (Bykov et al., 2020, appendix C), for any picture of 32 x 32."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__(
            *(nn.Conv2d(channels, 24, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(24, 48, 5), nn.ReLU()),
            *(nn.Dropout(0.5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1200, 240), nn.ReLU()),
            *(nn.Dropout(0.5), nn.Linear(240, 10)),
        )


def tabular() -> nn.Sequential:
    """A small network for eight columns."""
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))


class Recorded(nn.Module):
    """Keeps the rows that a model is shown, pass by pass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.passes = model, []

    def forward(self, inputs: Tensor) -> Tensor:
        """Run the model."""
        self.passes.append(inputs.clone(memory_format=torch.contiguous_format))
        return self.model(inputs)


def report(bar: str, measured: float, wanted: float, least: bool, beside: str = "", unit: str = "") -> None:
    """Print one line of the table."""
    met = "yes" if (measured >= wanted if least else measured <= wanted) else "no"
    sign = "at least" if least else "at most"
    print(f"| {bar} | {measured:.4g}{unit} | {sign} {wanted:g}{unit} | {met} | {beside} |", flush=True)


def interleaved(repeats: int, **functions: Callable[[], Any]) -> dict[str, float]:
    """Median seconds of a call, in turn, so that the machine's moods meet all; a turn lasts 20 ms or one call.

    With one thread these are seconds of the processor, which other processes on the machine do not lengthen.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            calls, start = 0, clock()
            while calls == 0 or clock() - start < 0.02:
                function()
                calls += 1
            if repeat:  # the first round warms up
                times[name].append((clock() - start) / calls)
    return {name: statistics.median(values) for name, values in times.items()}


@torch.no_grad()
def bare(model: nn.Module, passes: list[Tensor]) -> None:
    """The forward passes that a flipping cannot do without."""
    for rows in passes:
        model(rows)


@torch.no_grad()
def by_hand(model: nn.Module, inputs: Tensor, maps: Tensor, target: Tensor, n_steps: int, limit: int = 256) -> Tensor:
    """The same scores for even steps and a fill of 0, without a check or an option: what of our time is the rows."""
    n_points, shape = n_steps + 1, (-1, *[1] * (inputs.ndim - 1))
    places = maps.flatten(1).argsort(1, descending=True).argsort(1).view_as(maps)
    counts = torch.arange(n_points) * (maps[0].numel() // n_steps)
    examples, scores = torch.arange(len(inputs)).repeat_interleave(n_points), []
    for rows, flipped in zip(examples.split(limit), counts.repeat(len(inputs)).split(limit), strict=True):
        perturbed = inputs[rows].masked_fill_(places[rows] < flipped.view(shape), 0.0)
        scores.append(model(perturbed).gather(1, target[rows].unsqueeze(1)))
    return torch.cat(scores).view(len(inputs), n_points)


def quantus_run(model: nn.Module, inputs: Tensor, maps: Tensor, target: Tensor, size: int) -> Callable[[], Any] | None:
    if quantus is None:
        return None
    metric = quantus.PixelFlipping(features_in_step=size, normalise=False, disable_warnings=True)
    x, y, a = inputs.numpy(), target.numpy(), maps.numpy()
    return lambda: metric(model, x, y, a, softmax=False, device="cpu", batch_size=64)


def speed(name: str, model: nn.Module, inputs: Tensor, n_steps: int, repeats: int, bar: float) -> None:
    maps, target = torch.randn(inputs.shape), torch.randint(2, (len(inputs),))
    size = maps[0].numel() // n_steps
    recorded = Recorded(model).eval()
    pixel_flipping(recorded.forward, inputs, maps, target=target, n_steps=n_steps)
    functions = {
        "ours": lambda: pixel_flipping(model, inputs, maps, target=target, n_steps=n_steps),
        "bare": lambda: bare(model, recorded.passes),
        "by hand": lambda: by_hand(model, inputs, maps, target, n_steps),
    }
    torch.testing.assert_close(functions["ours"]().scores, functions["by hand"](), rtol=0, atol=1e-6)
    peer = quantus_run(model, inputs, maps, target, size)
    if peer:
        functions["quantus"] = peer
    seconds = interleaved(repeats, **functions)
    rows = f"{len(recorded.passes)} passes of {sum(map(len, recorded.passes))} rows"
    over = {way: seconds[way] / seconds["bare"] for way in ("ours", "by hand")}
    if peer:
        times = {way: seconds["quantus"] / seconds[way] for way in ("ours", "bare", "by hand")}
        beside = f"bare forward passes {times['bare']:.4g}, by hand {times['by hand']:.4g}"
        report(f"{name}: times as fast as Quantus", times["ours"], bar, True, beside)
    beside = f"by hand {over['by hand']:.3g}; {1e3 * seconds['ours']:.3g} ms, {rows}"
    report(f"{name}: time over bare forward passes", over["ours"], 1.1, False, beside)


def memory(fill: Any, name: str) -> None:
    """Peak of live tensor memory above the start, 256 rows of 3 x 32 x 32, model activations included."""
    model, inputs, maps = LeNet(3).eval(), torch.randn(64, 3, 32, 32), torch.randn(64, 1, 32, 32)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        pixel_flipping(model, inputs, maps, target=0, perturb_func=fill)
    live = peak = 0
    for event in trace.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    report(f"peak extra memory, {name}", peak / 1e6, 100, False, "256 rows of 3 x 32 x 32", " MB")


def trained_lenet() -> tuple[nn.Module, Tensor, Tensor]:
    """A LeNet after two epochs on MNIST where the data is there, and 100 pictures; else an untrained one."""
    torch.manual_seed(0)
    model = LeNet()
    if not MNIST.exists():
        print(f"{MNIST} is missing: the variance ratio is that of an untrained network on noise")
        return model.eval(), torch.randn(100, 1, 32, 32), torch.randint(10, (100,))
    data = np.load(MNIST)
    images = nn.functional.pad(torch.from_numpy(data["images"]).float().unsqueeze(1) / 255, (2, 2, 2, 2))
    images, labels = (images - 0.1) / 0.27, torch.from_numpy(data["labels"]).long()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for batch in torch.randperm(8000).repeat(2).split(64):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimiser.step()
    return model.eval(), images[8000:8100], labels[8000:8100]


def common_random_numbers(seeds: int) -> None:
    """Variance over fills of a mean difference of area, with the same fills for both maps and without."""
    model, inputs, target = trained_lenet()
    uq = StochasticAttribution(InputXGradient(model), MCDropout())
    dist = uq.attribute(inputs.requires_grad_(), target=target, n_draws=50, seed=0)
    maps = {name: stats.summarize(dist.draws, name) for name in ("mean", "percentile:25", "percentile:50")}
    fill = UniformNoise(0.1, 0.27)

    def areas(seed: int) -> dict[str, float]:
        shared = {"target": target, "perturb_func": fill, "seed": seed, "score": "softmax"}
        return {name: pixel_flipping(model, inputs, m, **shared).auc.mean().item() for name, m in maps.items()}

    runs, others = [areas(seed) for seed in range(seeds)], [areas(1000 + seed) for seed in range(seeds)]
    for a, b in combinations(maps, 2):
        common = statistics.variance([run[a] - run[b] for run in runs])
        separate = statistics.variance([run[a] - other[b] for run, other in zip(runs, others, strict=True)])
        report(f"common random numbers, {a} - {b}: variance divided by", separate / common, 10, True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=40)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {arguments.repeats} or more\n")
    print("| bar | measured | wanted | met | beside it |\n|---|---|---|---|---|")
    lenet, small, often = LeNet().eval(), tabular().eval(), 5 * arguments.repeats
    speed("LeNet, batch 64", lenet, torch.randn(64, 1, 32, 32), 32, arguments.repeats, 1)
    speed("LeNet, batch 1", lenet, torch.randn(1, 1, 32, 32), 32, often, 4)
    for n in (1, 64, 1024):
        speed(f"tabular MLP, batch {n}", small, torch.randn(n, 8), 8, often, 30)
    memory(None, "constant fill")
    memory(UniformNoise(), "random fill")
    memory(NoisyLinearImputation(), "noisy linear imputation")
    common_random_numbers(arguments.seeds)
    print(
        f"whole run: peak resident {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
