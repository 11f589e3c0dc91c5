"""What goes wrong when dropout is switched on and Captum is called in a loop: spreads and conservation, measured.

The truth is plain Captum on each of T fixed networks (``sampler.network(t)``), stacked. The naive loop switches the
dropout modules of the same network to train mode and calls Captum T times: within one call every forward pass, and
every row, meets other masks. The spread of a method is the standard deviation over the draws, averaged over pixels;
the table gives it relative to the truth, so 1.00 is right.

Ours and the truth keep the random numbers of GradientShap the same in all draws, so that only the network moves. The
naive loop does not: with Captum's 5 samples the noise of the method about makes up for the spread that averages away,
and the ratio comes close to 1 for no good reason; with 20 samples it does not.

Run from the repository: ``python benchmarks/naive_loop.py``. It trains the LeNet of ``tutorials/01_quickstart.py``.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from captum.attr import (
    LRP,
    Attribution,
    DeepLift,
    FeatureAblation,
    GradientShap,
    IntegratedGradients,
    Occlusion,
    Saliency,
)
from torch import Tensor, nn

from captum_uq import MCDropout, StochasticAttribution
from captum_uq._rng import seed_global
from captum_uq.stats import stdev

QUICKSTART = Path(__file__).resolve().parents[1] / "tutorials" / "01_quickstart.py"


def quickstart() -> ModuleType:
    """The tutorial as a module: its name is no Python name."""
    spec = importlib.util.spec_from_file_location("quickstart", QUICKSTART)
    module = importlib.util.module_from_spec(spec)
    sys.modules["quickstart"] = module
    spec.loader.exec_module(module)
    return module


class Question(NamedTuple):
    """What is explained, and how often."""

    images: Tensor  # shape: (N, 1, 32, 32)
    target: Tensor  # shape: (N,)
    draws: int
    seed: int


class Draws(NamedTuple):
    """Attributions ``(T, N, 1, 32, 32)`` and, where the method has them, convergence deltas ``(T, N)``."""

    maps: Tensor
    deltas: Tensor | None


Method = tuple[type[Attribution], dict[str, Any]]


def methods(images: Tensor) -> dict[str, Method]:
    """Each method with its arguments; the regions that are taken away are squares of 8 x 8 pixels."""
    squares = torch.arange(16).reshape(1, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    window = {"sliding_window_shapes": (1, 8, 8), "strides": (1, 4, 4)}
    black = torch.full_like(images[:1], images.min())
    baselines = torch.cat([black, torch.zeros_like(black)])
    return {
        "IntegratedGradients": (IntegratedGradients, {}),
        "GradientShap": (GradientShap, {"baselines": baselines}),
        "GradientShap, 20 samples": (GradientShap, {"baselines": baselines, "n_samples": 20}),
        "Occlusion": (Occlusion, {**window, "perturbations_per_eval": 7}),
        "FeatureAblation": (FeatureAblation, {"feature_mask": squares, "perturbations_per_eval": 8}),
        "DeepLift": (DeepLift, {"return_convergence_delta": True}),
        "LRP": (LRP, {"return_convergence_delta": True}),
        "Saliency": (Saliency, {"abs": False}),
    }


def stacked(results: Sequence[Tensor | tuple[Tensor, Tensor]]) -> Draws:
    """What Captum returned for each draw."""
    pairs = [result if isinstance(result, tuple) else (result, None) for result in results]
    maps = torch.stack([maps.detach() for maps, _ in pairs])
    return Draws(maps, None if pairs[0][1] is None else torch.stack([delta.detach() for _, delta in pairs]))


def true(model: nn.Module, method: Method, question: Question) -> Draws:
    """Plain Captum on each network."""
    kind, options = method
    results = []
    for index in range(question.draws):
        network = MCDropout(model).network(index, question.images, seed=question.seed)
        seed_global(question.seed, "estimator", 0)  # GradientShap's own random numbers: those of ours, in every draw
        results.append(kind(network).attribute(question.images, target=question.target, **options))
    return stacked(results)


def naive(model: nn.Module, method: Method, question: Question) -> Draws:
    """Plain Captum in a loop, with dropout switched on."""
    kind, options = method
    network = copy.deepcopy(model)
    for module in network.modules():
        module.training = isinstance(module, nn.Dropout)
    attribute = kind(network).attribute
    seed_global(question.seed)
    return stacked([attribute(question.images, target=question.target, **options) for _ in range(question.draws)])


def ours(model: nn.Module, method: Method, question: Question) -> Draws:
    """`StochasticAttribution`."""
    kind, options = method
    uq = StochasticAttribution(kind(model), MCDropout())
    result = uq.attribute(
        question.images, target=question.target, n_draws=question.draws, seed=question.seed, **options
    )
    maps, deltas = result if isinstance(result, tuple) else (result, None)
    return Draws(maps.draws, None if deltas is None else deltas.draws)


LOOPS: dict[str, Callable[[nn.Module, Method, Question], Draws]] = {"naive": naive, "ours": ours}


def spread(draws: Draws) -> float:
    """Mean over pixels of the standard deviation over draws."""
    return stdev(draws.maps).mean().item()


def without_biases(model: nn.Module) -> nn.Module:
    """A copy with every bias 0: there LRP hands the whole output down to the pixels."""
    bare = copy.deepcopy(model)
    for name, parameter in bare.named_parameters():
        if name.endswith("bias"):
            parameter.data.zero_()
    return bare


def print_spreads(model: nn.Module, question: Question) -> None:
    print(f"Spread over {question.draws} draws, relative to that of as many fixed networks (1.00 is right)\n")
    print(f"{'method':<26}{'naive loop':>12}{'ours':>8}")
    for name, method in methods(question.images).items():
        right = spread(true(model, method, question))
        ratios = [spread(loop(model, method, question)) / right for loop in LOOPS.values()]
        print(f"{name:<26}{ratios[0]:>12.2f}{ratios[1]:>8.2f}", flush=True)


def print_conservation(model: nn.Module, question: Question) -> None:
    print("\nConservation (a delta of 0 is right; relevance over output: 1 is right)\n")
    print(f"{'':<38}{'naive loop':>20}{'ours':>20}")
    every = methods(question.images)
    deltas = [loop(model, every["DeepLift"], question).deltas.abs().max() for loop in LOOPS.values()]
    print(f"{'DeepLift, worst delta':<38}{deltas[0]:>20.1e}{deltas[1]:>20.1e}")
    relevance = [loop(without_biases(model), every["LRP"], question) for loop in LOOPS.values()]
    deltas = [each.deltas.abs().max() for each in relevance]
    print(f"{'LRP, no biases, worst delta':<38}{deltas[0]:>20.1e}{deltas[1]:>20.1e}")
    sums = [each.maps.flatten(2).sum(-1) for each in relevance]
    shares = [total / (total + each.deltas) for total, each in zip(sums, relevance, strict=True)]
    ranges = [f"{share.min():.4f} to {share.max():.4f}" for share in shares]
    print(f"{'LRP, no biases, relevance over output':<38}{ranges[0]:>20}{ranges[1]:>20}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The naive loop against the truth, and captum_uq against it.")
    parser.add_argument("--draws", type=int, metavar="T", help="draws (default: 100, 6 with --fast)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fast", action="store_true", help="a poorly trained network, two digits, for tests")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same figures whatever the number of cores, and whoever else uses them
    tutorial = quickstart()
    digits = tutorial.sklearn_digits()
    model = tutorial.train(digits, steps=20 if options.fast else 200)
    images = tutorial.one_of_each(digits, range(2 if options.fast else 4))
    draws = options.draws or (6 if options.fast else 100)
    question = Question(images, model(images).argmax(1), draws, options.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Captum's, about hooks and gradients, at each call
        print_spreads(model, question)
        print_conservation(model, question)


if __name__ == "__main__":
    main()
