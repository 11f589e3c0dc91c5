"""What the two experiments of Mulye and Valdenegro-Toro (2024) at small scale share: sources, methods, the table."""

import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import Attribution, Lime
from torch import Tensor, nn
from torch.func import functional_call

from captum_uq import DistributionAttribution, StochasticAttribution
from captum_uq.metrics import deletion, insertion
from captum_uq.samplers import BayesianLayers, DropConnect, Ensemble, MCDropout, Sampler

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from bayesian_torch.models.dnn_to_bnn import dnn_to_bnn, get_kl_loss
except ImportError:
    dnn_to_bnn = None

DROPCONNECT = 0.1
AREAS = ("ins. mean", "del. mean", "ins. std", "del. std")
"""Insertion (higher is better) and deletion (lower) of the mean map and of the standard deviation map."""
HEADER = " | ".join(("mean CV", "median signed CV", *AREAS))
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Source:
    """A source of uncertainty: a trained network, and the sampler that draws from it."""

    model: nn.Module
    sampler: Sampler


def train(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    loss: Loss,
    epochs: int,
    seed: int,
    forward: Callable[[nn.Module, Tensor], Tensor] | None = None,
    penalty: Callable[[nn.Module], Tensor] | None = None,
) -> nn.Module:
    """Adam with a cosine rate, batches of 64."""
    inputs, targets = data
    rng = torch.Generator().manual_seed(seed)
    batches = -(-len(inputs) // 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs=epochs, steps_per_epoch=batches)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=rng).split(64):
            optimizer.zero_grad()
            outputs = model(inputs[rows]) if forward is None else forward(model, inputs[rows])
            total = loss(outputs, targets[rows]) + (0.0 if penalty is None else penalty(model) / len(inputs))
            total.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def dropconnect_forward(model: nn.Module, inputs: Tensor) -> Tensor:
    """One forward in training with weights, not biases, dropped."""
    drop = nn.functional.dropout
    weights = {name: drop(p, DROPCONNECT) if p.dim() > 1 else p for name, p in model.named_parameters()}
    return functional_call(model, weights, (inputs,))


def sources(
    make: Callable[[float], nn.Module], data: tuple[Tensor, Tensor], loss: Loss, epochs: int
) -> dict[str, Source]:
    """Train the networks of the four sources; ``make(rate)`` makes one with dropout of that rate.

    Flipout is left out, with a word, where bayesian-torch is not installed.
    """

    def new(seed: int, rate: float = 0.0) -> nn.Module:
        torch.manual_seed(seed)
        return make(rate)

    members = [train(new(seed), data, loss, epochs, seed) for seed in range(5)]
    found = {
        "MC-Dropout": Source(train(new(10, 0.3), data, loss, epochs, 10), MCDropout()),
        "DropConnect": Source(
            train(new(11), data, loss, epochs, 11, forward=dropconnect_forward), DropConnect(p=DROPCONNECT)
        ),
        "Ensemble of 5": Source(members[0], Ensemble(members)),
    }
    if dnn_to_bnn is None:
        print("Flipout is left out: bayesian-torch is not installed (pip install 'captum-uq[peers]').")
        return found
    flipout = new(12)
    options = {"prior_mu": 0.0, "prior_sigma": 1.0, "posterior_mu_init": 0.0, "posterior_rho_init": -4.0}
    dnn_to_bnn(flipout, options | {"type": "Flipout", "moped_enable": False, "moped_delta": 0.5})
    found["Flipout"] = Source(train(flipout, data, loss, epochs, 12, penalty=get_kl_loss), BayesianLayers())
    return found


def lime(model: nn.Module) -> Attribution:
    """LIME with the ridge regression of its authors: Captum's lasso gives zeros, whose CV is 0 and means nothing."""
    return Lime(model, interpretable_model=SkLearnRidge(alpha=1.0))


@dataclass
class Row:
    """One source and method: the magnitudes of relevance, relevance itself, and the areas of `areas`, ``(4, N)``."""

    source: str
    method: str
    dist: DistributionAttribution
    signed: DistributionAttribution
    areas: Tensor
    seconds: float

    @property
    def cv(self) -> Tensor:
        """Mean CV of the magnitudes of relevance, for each example, shape ``(N,)``."""
        return self.dist.cv().flatten(1).mean(1)

    @property
    def signed_cv(self) -> float:
        """Median over entries of the CV as the paper takes it, which has no mean where means are near 0."""
        return self.signed.cv().flatten().median().item()

    @property
    def figures(self) -> dict[str, Tensor]:
        """The CV and the areas by name, for each example, shape ``(N,)``."""
        return dict(zip(("mean CV", *AREAS), (self.cv, *self.areas), strict=True))


def areas(
    source: Source,
    dist: DistributionAttribution,
    inputs: Tensor,
    classes: Tensor,
    probabilities: Callable[[Tensor], Tensor],
    n_steps: int,
) -> Tensor:
    """The areas named by `AREAS` under the curves of the class's probability, averaged over at most 5 draws.

    Args:
        source: Where the draws come from.
        dist: Magnitudes of relevance.
        inputs: What was explained, ``(N, *F)``; deleted is what becomes 0, its mean.
        classes: Of each example, ``(N,)``.
        probabilities: From outputs of draws, ``(T, N, C)``, to probabilities of classes.
        n_steps: Steps of the curves.

    Returns:
        For each example, shape ``(4, N)``.
    """
    predict = source.sampler.predictive(source.model, min(5, dist.n_draws), transform=probabilities)
    options = {"baselines": 0.0, "target": classes, "n_steps": n_steps}
    maps = dist.expectation(), dist.stdev()
    return torch.stack([measure(predict, inputs, m, **options).auc for m in maps for measure in (insertion, deletion)])


def explain(
    name: str,
    source: Source,
    methods: dict[str, tuple[Callable[[nn.Module], Attribution], dict[str, object]]],
    inputs: Tensor,
    target: Tensor | None,
    n_draws: int,
    magnitude: Callable[[Tensor], Tensor],
    measure: Callable[[DistributionAttribution], Tensor],
) -> Iterable[Row]:
    """Every method on one source; ``measure`` gives the areas of a distribution of magnitudes."""
    for method, (make, options) in methods.items():
        start = time.perf_counter()
        uq = StochasticAttribution(make(source.model), source.sampler)
        draws = min(n_draws, source.sampler.max_draws or n_draws)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Captum's, about hooks and one example at a time
            dist = uq.attribute(inputs, target=target, n_draws=draws, seed=0, **options)
        magnitudes, seconds = dist.map(magnitude), time.perf_counter() - start
        yield Row(name, method, magnitudes, dist, measure(magnitudes), seconds)


def cells(row: Row) -> str:
    """The figures of a row of the main table, under `HEADER`."""
    figures = " | ".join(f"{value.mean():.3f}" for value in row.areas)
    return f"{row.cv.mean():.3f} | {row.signed_cv:.3f} | {figures}"


def print_per_class(rows: list[Row], classes: Tensor, names: list[str]) -> None:
    """A table of each figure, for each class."""
    for figure in ("mean CV", *AREAS):
        print(f"\n{figure}, for each class:\n| source | method | " + " | ".join(names) + " |")
        print("|" + "---|" * (2 + len(names)))
        for row in rows:
            per_class = " | ".join(f"{row.figures[figure][classes == c].mean():.2f}" for c in range(len(names)))
            print(f"| {row.source} | {row.method} | {per_class} |")


def verdict(rows: list[Row]) -> str:
    """Whether Guided Backpropagation has the lowest mean CV for each source."""
    lines = []
    for source in dict.fromkeys(row.source for row in rows):
        found = {row.method: row.cv for row in rows if row.source == source}
        best = min(found, key=lambda method: found[method].mean().item())
        rivals = [cv - found["GuidedBackprop"] for method, cv in found.items() if method != "GuidedBackprop"]
        errors = [(d.mean().item(), 2 * d.std().item() / len(d) ** 0.5) for d in rivals]
        margins = ", ".join(f"{mean:+.3f} +- {error:.3f}" for mean, error in errors)
        lines.append(f"{source}: lowest mean CV {best}; the others less GuidedBackprop: {margins} (2 standard errors)")
    return "\n".join(lines)
