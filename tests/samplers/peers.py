"""The samplers over other libraries, for the same laws: real posteriors and real Bayesian layers on every network."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from captum_uq.samplers import BayesianLayers, Laplace
from samplers.table import NETWORKS, Source, kind_of

REASON = "an adapted library; install the extra: pip install captum-uq[peers]"


def peer(name: str) -> Any:
    """A library that we adapt, or the skip of the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(name.split(".")[0], reason=REASON)
        return importlib.import_module(name)


# ---- Laplace


def labelled(network: nn.Module) -> DataLoader[tuple[Tensor, ...]]:
    """Inputs of a network with the classes that it predicts: its weights are about those of the posterior's mode."""
    x = kind_of(network).inputs(60)
    with torch.no_grad():
        return DataLoader(TensorDataset(x, network(x).argmax(1)), batch_size=30)


def laplace(network: nn.Module, hessian: str) -> Laplace:
    """A posterior of the last layer, fitted on the network's own features."""
    peer("laplace")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Laplace.fit(network, labelled(network), hessian=hessian, prior_precision=100.0)


# ---- Bayesian layers

PARTS = {
    "perceptron": ("hidden", "head"),
    "convolutional with BatchNorm": ("conv", "head"),
    "tied weights": ("head",),
    "transformer encoder": ("head",),  # torch's fast path reads the weights of those inside the encoder
    "LSTM": ("lstm", "head"),
}
"""What is made Bayesian in each network, where the library has such a layer."""


@dataclass(frozen=True)
class Library:
    """The Bayesian layers of a library, each made after an ordinary one; None where it has none."""

    linear: Callable[[nn.Linear], nn.Module]
    conv: Callable[[nn.Conv2d], nn.Module]
    lstm: Callable[[nn.LSTM], nn.Module] | None = None

    def replace(self, network: nn.Module) -> nn.Module:
        """The network with layers that draw their own weights."""
        name = next(name for name, kind in NETWORKS.items() if isinstance(network, kind.make))
        for part in PARTS[name]:
            layer = network.get_submodule(part)
            make = {nn.Linear: self.linear, nn.Conv2d: self.conv, nn.LSTM: self.lstm}[type(layer)]
            if make is not None:
                parent, _, own = part.rpartition(".")
                setattr(network.get_submodule(parent), own, make(layer))
        network(kind_of(network).inputs(2))  # layers keep what they drew last, from the first forward on
        return network


def bayesian_torch(kind: str) -> Library:
    def of(layer: nn.Module, name: str, *sizes: Any) -> nn.Module:
        made = getattr(peer("bayesian_torch.layers"), f"{name}{kind}")(*sizes)
        made.dnn_to_bnn_flag = True  # as dnn_to_bnn does: outputs alone, without the divergence
        return made

    return Library(
        lambda layer: of(layer, "Linear", layer.in_features, layer.out_features),
        lambda layer: of(layer, "Conv2d", layer.in_channels, layer.out_channels, layer.kernel_size),
        lambda layer: of(layer, "LSTM", layer.input_size, layer.hidden_size),
    )


def torch_uncertainty() -> Library:
    layers, spread = "torch_uncertainty.layers.bayesian", {"sigma_init": -3.0}
    return Library(
        lambda layer: peer(layers).BayesLinear(layer.in_features, layer.out_features, **spread),
        lambda layer: peer(layers).BayesConv2d(layer.in_channels, layer.out_channels, layer.kernel_size, **spread),
    )


def blitz() -> Library:
    layers = "blitz.modules"
    return Library(
        lambda layer: peer(layers).BayesianLinear(layer.in_features, layer.out_features),
        lambda layer: peer(layers).BayesianConv2d(layer.in_channels, layer.out_channels, layer.kernel_size),
        lambda layer: peer(layers).BayesianLSTM(layer.input_size, layer.hidden_size),
    )


def torchbnn() -> Library:
    return Library(
        lambda layer: peer("torchbnn").BayesLinear(0, 0.1, layer.in_features, layer.out_features),
        lambda layer: peer("torchbnn").BayesConv2d(0, 0.1, layer.in_channels, layer.out_channels, layer.kernel_size),
    )


LIBRARIES = {
    "bayesian-torch Flipout": bayesian_torch("Flipout"),
    "bayesian-torch mean field": bayesian_torch("Reparameterization"),
    "torch-uncertainty": torch_uncertainty(),
    "blitz": blitz(),
    "torchbnn": torchbnn(),
}
PEER_SAMPLERS = {
    f"Laplace of the last layer, {hessian}": Source(functools.partial(laplace, hessian=hessian))
    for hessian in ("kron", "diag", "full")
} | {
    f"BayesianLayers of {name}": Source(lambda network: BayesianLayers(), library.replace)
    for name, library in LIBRARIES.items()
}
