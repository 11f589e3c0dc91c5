"""Which explanation is least uncertain? The experiment of Mulye and Valdenegro-Toro (2024), small, on housing prices.

As ``samplers_cifar10.py``, for a regression: an MLP on California Housing, the output is the price.

Run from the repository: ``OMP_NUM_THREADS=1 python benchmarks/samplers_housing.py`` (about 5 minutes on one core).
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from captum.attr import GuidedBackprop, IntegratedGradients
from samplers_common import explain, lime, sources, verdict
from torch import Tensor, nn

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
    rows = []
    print("| source | method | R2 | mean CV of magnitudes | median signed CV | " + " | ".join(names) + " | s |")
    print("|" + "---|" * (6 + len(names)))
    for name, source in sources(mlp, data, nn.functional.mse_loss, options.epochs).items():
        predicted = source.sampler.outputs(test[0], 5, model=source.model).mean(0)
        r2 = 1 - ((predicted - test[1]) ** 2).mean() / test[1].var()
        target = torch.zeros(len(inputs), dtype=torch.long)
        for row in explain(name, source, methods, inputs, target, options.draws, torch.abs):
            rows.append(row)
            per_feature = " | ".join(f"{cv:.2f}" for cv in row.dist.cv().mean(0))
            cells = f"{r2:.3f} | {row.cv.mean():.3f} | {row.signed_cv:.3f} | {per_feature} | {row.seconds:.0f}"
            print(f"| {name} | {row.method} | {cells} |", flush=True)
    print("\n" + verdict(rows))


if __name__ == "__main__":
    main()
