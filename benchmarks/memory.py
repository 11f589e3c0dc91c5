"""Peak memory of many draws, by what is kept of them: the bar is that moments take no more for 10,000 than for 100.

Run from the repository: ``OMP_NUM_THREADS=1 python benchmarks/memory.py``. Each row is a process of its own, the LeNet
of B-LRP on one image of 1 x 32 x 32, Saliency; the peak is what the process needed at most beside what it held before
the call (``ru_maxrss``, after a short call that warms up).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch
from captum.attr import Saliency
from torch import nn

from captum_uq import MCDropout, StochasticAttribution

KEEPS = ("moments", "percentiles", "percentiles:5,25,50,75,95", "draws")
UNIT = 2**20 if sys.platform == "darwin" else 2**10
"""How many of what ``ru_maxrss`` counts are a MiB: it is bytes on macOS and KiB elsewhere."""


def lenet() -> nn.Module:
    """The LeNet of the B-LRP paper, for images of 1 x 32 x 32."""
    features = [nn.Conv2d(1, 24, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(24, 48, 5), nn.ReLU(), nn.Dropout(0.5)]
    head = [nn.Flatten(), nn.Linear(1200, 240), nn.ReLU(), nn.Dropout(0.5), nn.Linear(240, 10)]
    return nn.Sequential(*features, nn.MaxPool2d(2), *head)


def peak() -> float:
    """The most memory that this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / UNIT


def measure(keep: str, n_draws: int) -> None:
    """Prints the peak of the process, that of the call alone, and the seconds of the call."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    uq = StochasticAttribution(Saliency(lenet()), MCDropout())
    image = torch.randn(1, 1, 32, 32, requires_grad=True)
    uq.attribute(image, target=3, n_draws=40, seed=0, keep=keep)
    before, start = peak(), time.perf_counter()
    dist = uq.attribute(image, target=3, n_draws=n_draws, seed=0, keep=keep)
    seconds = time.perf_counter() - start
    print(peak(), peak() - before, seconds, dist.expectation().abs().sum().item())


def in_a_process(keep: str, n_draws: int) -> list[float]:
    """What `measure` prints.

    Raises:
        RuntimeError: The process failed.
    """
    command = [sys.executable, __file__, "--keep", keep, "--draws", str(n_draws)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(run.stderr)
    return [float(each) for each in run.stdout.split()]


def table(sizes: list[int]) -> None:
    print(
        "| keep | draws | peak, MiB | of the call, MiB | over that of the fewest draws | s |\n|---|---|---|---|---|---|"
    )
    for keep in KEEPS:
        fewest = None
        for n_draws in sizes:
            whole, of_call, seconds, _ = in_a_process(keep, n_draws)
            fewest = whole if fewest is None else fewest
            row = f"| {whole:.1f} | {of_call:.1f} | {whole / fewest:.3f} | {seconds:.1f} |"
            print(f'| `"{keep}"` | {n_draws} {row}', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory by what is kept of the draws.")
    parser.add_argument("--draws", type=int, nargs="+", default=[100, 10_000], metavar="T")
    parser.add_argument("--keep", help="only this, in this process")
    options = parser.parse_args()
    if options.keep:
        measure(options.keep, options.draws[0])
    else:
        table(options.draws)


if __name__ == "__main__":
    main()
