"""Which explanation is least uncertain? The experiment of Mulye and Valdenegro-Toro (2024), small, on housing prices.

As ``samplers_cifar10.py``, for a regression: an MLP on California Housing, the output is the price. Its classes are
the thirds of the prices, cheap, middle and dear: insertion and deletion follow the predictive probability that a price
is in its third, that of a normal distribution about the output.

Run from the repository: ``OMP_NUM_THREADS=1 python benchmarks/samplers_housing.py`` (about 5 minutes on one core).
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from captum.attr import GuidedBackprop, IntegratedGradients
from samplers_common import HEADER, Source, areas, cells, explain, lime, print_per_class, sources, verdict
from torch import Tensor, nn

from captum_uq import DistributionAttribution

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "california_housing.csv"
COLUMNS = 8


def mlp(rate: float) -> nn.Module:
    """Two hidden layers; dropout after each where the rate is above 0."""

    def dropout() -> list[nn.Module]:
        return [nn.Dropout(rate / 3)] if rate else []

    hidden = [nn.Linear(COLUMNS, 64), nn.ReLU(), *dropout(), nn.Linear(64, 64), nn.ReLU(), *dropout()]
    return nn.Sequential(*hidden, nn.Linear(64, 1))


def load(path: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], list[str]]:
    """Standardized columns and prices for training and test, and the columns' names; rows with gaps are left out."""
    names = path.read_text().splitlines()[0].split(",")[:COLUMNS]
    table = np.genfromtxt(path, delimiter=",", skip_header=1, usecols=range(COLUMNS + 1))
    table = table[~np.isnan(table).any(1)]
    table = torch.as_tensor(table[np.random.default_rng(0).permutation(len(table))]).float()
    table = (table - table.mean(0)) / table.std(0)
    x, y = table[:, :COLUMNS], table[:, COLUMNS:]
    return (x[:16000], y[:16000]), (x[16000:], y[16000:]), names


def thirds(edges: Tensor, deviation: float) -> Callable[[Tensor], Tensor]:
    """From outputs ``(T, N, 1)`` to the probabilities of the thirds, ``(T, N, 3)``.

    Args:
        edges: The two prices between the thirds.
        deviation: Standard deviation of prices about the output.
    """

    def probabilities(outputs: Tensor) -> Tensor:
        below = torch.special.ndtr((edges - outputs) / deviation)
        zero, one = torch.zeros_like(outputs), torch.ones_like(outputs)
        return torch.cat([zero, below, one], -1).diff(dim=-1)

    return probabilities


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--draws", type=int, default=50)
    options = parser.parse_args()
    if not options.data.exists():
        raise SystemExit(f"{options.data} is missing: give --data, the csv of California Housing.")
    data, test, names = load(options.data)
    inputs = test[0][: options.rows]
    methods = {
        "GuidedBackprop": (GuidedBackprop, {}),
        "IntegratedGradients": (IntegratedGradients, {"n_steps": 32}),
        "Lime": (lime, {"n_samples": 100, "perturbations_per_eval": 100}),
    }
    edges = torch.quantile(data[1], torch.tensor([1 / 3, 2 / 3]))
    third = torch.bucketize(test[1][: options.rows].flatten(), edges)
    rows = []
    print(f"| source | method | R2 | {HEADER} | " + " | ".join(names) + " | s |")
    print("|" + "---|" * (10 + len(names)))
    for name, source in sources(mlp, data, nn.functional.mse_loss, options.epochs).items():
        errors = source.sampler.outputs(test[0], 5, model=source.model).mean(0) - test[1]
        r2 = 1 - (errors**2).mean() / test[1].var()
        probabilities = thirds(edges, errors.std().item())

        def measure(dist: DistributionAttribution, source: Source = source, probabilities=probabilities) -> Tensor:
            return areas(source, dist, inputs, third, probabilities, COLUMNS)

        target = torch.zeros(len(inputs), dtype=torch.long)
        for row in explain(name, source, methods, inputs, target, options.draws, torch.abs, measure):
            rows.append(row)
            per_feature = " | ".join(f"{cv:.2f}" for cv in row.dist.cv().mean(0))
            print(
                f"| {name} | {row.method} | {r2:.3f} | {cells(row)} | {per_feature} | {row.seconds:.0f} |", flush=True
            )
    print_per_class(rows, third, ["cheap", "middle", "dear"])
    print("\n" + verdict(rows))


if __name__ == "__main__":
    main()
