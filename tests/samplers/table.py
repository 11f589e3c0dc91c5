"""The tables of the laws: every sampler, and the networks that they are run on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captum_uq.samplers import (
    SWAG,
    Compose,
    DropConnect,
    Ensemble,
    InputNoise,
    MCDropout,
    NoiseGrad,
    Sampler,
    VariationalDropout,
    WeightSamples,
    from_callable,
)

CLASSES = 3


class Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.relu, self.dropout = nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.5)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.relu(self.hidden(x))))


class Convolutional(nn.Module):
    """With BatchNorm, whose statistics are not those of a new network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.pool, self.dropout, self.head = nn.MaxPool2d(2), nn.Dropout(0.4), nn.Linear(16, CLASSES)
        self.norm.running_mean = torch.rand(4)
        self.norm.running_var = 0.5 + torch.rand(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.pool(self.relu(self.norm(self.conv(x)))).flatten(1)))


class Tied(nn.Module):
    """One weight under two names: encoder and decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.relu, self.dropout = nn.Linear(5, 5), nn.ReLU(), nn.Dropout(0.5)
        self.decoder, self.head = nn.Linear(5, 5), nn.Linear(5, CLASSES)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.decoder(self.dropout(self.relu(self.encoder(x)))))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.3, batch_first=True)
        self.relu, self.head = nn.ReLU(), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.encoder(x)).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, 2, dropout=0.5, batch_first=True)
        self.relu, self.head = nn.ReLU(), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.lstm(x)[0])[:, -1])


class Constant(nn.Module):
    """Its outputs lie on the memory of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.ones(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.expand(len(x), -1)


@dataclass(frozen=True)
class Kind:
    """A network, the shape of one row of its inputs, and the layer that layer methods look at."""

    make: Callable[[], nn.Module]
    row: tuple[int, ...]
    layer: str

    def network(self) -> nn.Module:
        torch.manual_seed(1)
        return self.make().eval()

    def inputs(self, rows: int) -> Tensor:
        return torch.randn(rows, *self.row, generator=torch.Generator().manual_seed(2))


NETWORKS = {
    "perceptron": Kind(Perceptron, (5,), "hidden"),
    "convolutional with BatchNorm": Kind(Convolutional, (2, 6, 6), "conv"),
    "tied weights": Kind(Tied, (5,), "encoder"),
    "transformer encoder": Kind(Transformer, (3, 4), "relu"),
    "LSTM": Kind(Recurrent, (3, 4), "relu"),
}


def members(network: nn.Module, count: int = 3) -> list[nn.Module]:
    """Networks of the same architecture: other weights, and other statistics of BatchNorm."""
    rng, others = torch.Generator().manual_seed(3), [copy.deepcopy(network) for _ in range(count)]
    for tensor in (tensor for other in others for tensor in (*other.parameters(), *other.buffers())):
        if tensor.is_floating_point():
            tensor.data += 0.1 * torch.rand(tensor.shape, generator=rng)
    return others


def stacked(network: nn.Module) -> dict[str, Tensor]:
    states = [dict(member.named_parameters()) for member in members(network, 4)]
    return {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}


def shifted(index: int, generator: torch.Generator, network: nn.Module) -> nn.Module:
    """A draw as a module of its own."""
    other = copy.deepcopy(network)
    for parameter in other.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return other


def kind_of(network: nn.Module) -> Kind:
    return next(kind for kind in NETWORKS.values() if isinstance(network, kind.make))


def swag(network: nn.Module) -> SWAG:
    """Collected from a few networks, with the statistics of BatchNorm computed anew."""
    fitted = SWAG(batches=[kind_of(network).inputs(4)])
    for member in members(network, 4):
        fitted.collect(member)
    return fitted


@dataclass(frozen=True)
class Source:
    """A sampler for a network, and what the network is made into beforehand."""

    make: Callable[[nn.Module], Sampler]
    prepare: Callable[[nn.Module], nn.Module] = lambda network: network

    def network(self, kind: Kind) -> nn.Module:
        return self.prepare(kind.network()).eval()

    def __call__(self, network: nn.Module) -> Sampler:
        return self.make(network)


_MAKERS: dict[str, Callable[[nn.Module], Sampler]] = {
    "MCDropout": lambda net: MCDropout(),
    "DropConnect": lambda net: DropConnect(p=0.3),
    "NoiseGrad": lambda net: NoiseGrad(),
    "VariationalDropout": lambda net: VariationalDropout(p=0.2),
    "Ensemble of modules": lambda net: Ensemble(members(net)),
    "Ensemble of state dicts": lambda net: Ensemble([member.state_dict() for member in members(net)]),
    "WeightSamples in a list": lambda net: WeightSamples(member.state_dict() for member in members(net)),
    "WeightSamples stacked": lambda net: WeightSamples(stacked(net)),
    "WeightSamples of some weights": lambda net: WeightSamples(
        lambda index, generator: {"head.weight": torch.randn(net.head.weight.shape, generator=generator)}
    ),
    "SWAG": swag,
    "from_callable": lambda net: from_callable(lambda index, generator: shifted(index, generator, net)),
    "InputNoise": lambda net: InputNoise(std=0.2),
    "Compose of an ensemble and dropout": lambda net: Compose(Ensemble(members(net)), MCDropout()),
    "Compose of weight and input noise": lambda net: Compose(NoiseGrad(std=0.1), InputNoise(std=0.2)),
}
SAMPLERS = {name: Source(make) for name, make in _MAKERS.items()}
