"""The price of a weight draw on a ResNet-18: the bar is a swap below 2% of an attribution, and no copy of the model.

Run from the repository: ``OMP_NUM_THREADS=1 python benchmarks/weight_swap.py``. Needs torchvision for its ResNet-18;
without it, a network of the same shapes is built here.
"""

import copy
import statistics
import time
from collections.abc import Callable

import torch
from captum.attr import IntegratedGradients, Saliency
from torch import Tensor, nn

from captum_uq.samplers import DropConnect, Ensemble, NoiseGrad, Sampler

DRAWS = 20


class Block(nn.Module):
    """Two convolutions with a path around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        around = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.around = around if stride > 1 or before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """The block."""
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + self.around(x))


def resnet18() -> nn.Module:
    """ResNet-18 of He et al. (2016): 11.7 million parameters."""
    blocks, width = [], 64
    for stage, after in enumerate((64, 128, 256, 512)):
        blocks += [Block(width, after, 1 if stage == 0 else 2), Block(after, after, 1)]
        width = after
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)).eval()


def median(run: Callable[[], object], repeats: int = 5) -> float:
    """Median seconds of some runs, after one that warms up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def enter_and_leave(sampler: Sampler, model: nn.Module) -> Callable[[], None]:
    """A draw in which nothing is run."""
    bound = sampler.bind(model)
    counter = iter(range(10**6))

    def run() -> None:
        with bound.draw(next(counter) % 2, 0):
            pass

    return run


def main() -> None:
    torch.manual_seed(0)
    model = resnet18()
    x, target = torch.randn(1, 3, 224, 224), torch.tensor([3])
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million parameters, one image of 224 x 224")
    saliency = median(lambda: Saliency(model).attribute(x, target=target), 3)
    gradients = median(
        lambda: IntegratedGradients(model).attribute(x, target=target, n_steps=50, internal_batch_size=10), 1
    )
    print(f"one attribution: Saliency {saliency:.3f} s, IntegratedGradients (50 steps) {gradients:.2f} s")
    members = [copy.deepcopy(model) for _ in range(2)]
    for parameter in members[1].parameters():
        parameter.data = parameter.data + 0.01
    samplers = {
        "swap alone (Ensemble)": Ensemble(members),
        "DropConnect: draw and swap": DropConnect(),
        "NoiseGrad: draw and swap": NoiseGrad(),
    }
    print("| | ms a draw | of a Saliency | of an IntegratedGradients |\n|---|---|---|---|")
    for name, sampler in samplers.items():
        seconds = median(enter_and_leave(sampler, model), DRAWS)
        print(f"| {name} | {1e3 * seconds:.2f} | {seconds / saliency:.2%} | {seconds / gradients:.2%} |", flush=True)
    seconds = median(lambda: copy.deepcopy(model), 5)
    print(f"| deepcopy of the model | {1e3 * seconds:.2f} | {seconds / saliency:.2%} | {seconds / gradients:.2%} |")


if __name__ == "__main__":
    main()
