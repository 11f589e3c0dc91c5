"""Captum's methods as the laws use them: the second table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import captum.attr as attr
import torch
from torch import Tensor, nn

Maker = Callable[[nn.Module, nn.Module], attr.Attribution]


@dataclass(frozen=True)
class Method:
    """A method: how it is made from a network and a layer of it, and the arguments it needs."""

    make: Maker
    arguments: Callable[[Any], dict[str, Any]] = field(default=lambda inputs: {})
    targeted: bool = True


def zeros(inputs: Any) -> Any:
    """Two baselines of zeros, for methods that want a distribution of them."""
    return (
        tuple(map(zeros, inputs)) if isinstance(inputs, tuple) else torch.zeros_like(inputs[:1]).repeat_interleave(2, 0)
    )


def groups(inputs: Any, offset: int = 0) -> Any:
    """A feature mask of two groups an input, so that perturbation methods stay quick."""
    if isinstance(inputs, tuple):
        return tuple(groups(tensor, 2 * i) for i, tensor in enumerate(inputs))
    size = inputs[0].numel()
    return (torch.arange(size) * 2 // size + offset).view(1, *inputs.shape[1:])


def window(inputs: Any) -> Any:
    """Sliding windows of about half of each dimension."""
    if isinstance(inputs, tuple):
        return tuple(map(window, inputs))
    return tuple(max(1, (size + 1) // 2) for size in inputs.shape[1:])


def grouped(**more: Any) -> Callable[[Any], dict[str, Any]]:
    return lambda inputs: {"feature_mask": groups(inputs), **more}


METHODS: dict[str, Method] = {
    "Saliency": Method(lambda net, layer: attr.Saliency(net), lambda x: {"abs": False}),
    "InputXGradient": Method(lambda net, layer: attr.InputXGradient(net)),
    "IntegratedGradients": Method(lambda net, layer: attr.IntegratedGradients(net), lambda x: {"n_steps": 4}),
    "IntegratedGradients in batches": Method(
        lambda net, layer: attr.IntegratedGradients(net),
        lambda x: {"n_steps": 4, "internal_batch_size": 5, "return_convergence_delta": True},
    ),
    "DeepLift": Method(lambda net, layer: attr.DeepLift(net), lambda x: {"return_convergence_delta": True}),
    "DeepLiftShap": Method(lambda net, layer: attr.DeepLiftShap(net), lambda x: {"baselines": zeros(x)}),
    "LRP": Method(lambda net, layer: attr.LRP(net), lambda x: {"return_convergence_delta": True}),
    "GuidedBackprop": Method(lambda net, layer: attr.GuidedBackprop(net)),
    "Deconvolution": Method(lambda net, layer: attr.Deconvolution(net)),
    "GuidedGradCam": Method(lambda net, layer: attr.GuidedGradCam(net, layer)),
    "LayerGradCam": Method(lambda net, layer: attr.LayerGradCam(net, layer)),
    "LayerConductance": Method(lambda net, layer: attr.LayerConductance(net, layer), lambda x: {"n_steps": 4}),
    "NeuronGradient": Method(
        lambda net, layer: attr.NeuronGradient(net, net),
        lambda x: {"neuron_selector": (1,)},
        targeted=False,
    ),
    "Occlusion": Method(
        lambda net, layer: attr.Occlusion(net),
        lambda x: {"sliding_window_shapes": window(x), "strides": window(x)},
    ),
    "FeatureAblation": Method(lambda net, layer: attr.FeatureAblation(net), grouped()),
    "ShapleyValueSampling": Method(lambda net, layer: attr.ShapleyValueSampling(net), grouped(n_samples=2)),
    "KernelShap": Method(lambda net, layer: attr.KernelShap(net), grouped(n_samples=6)),
    "Lime": Method(lambda net, layer: attr.Lime(net), grouped(n_samples=6)),
    "GradientShap": Method(
        lambda net, layer: attr.GradientShap(net), lambda x: {"baselines": zeros(x), "n_samples": 2}
    ),
    "NoiseTunnel": Method(lambda net, layer: attr.NoiseTunnel(attr.Saliency(net)), lambda x: {"nt_samples": 2}),
}


def arguments(method: Method, inputs: Any, additional: Any = None) -> dict[str, Any]:
    """The keyword arguments of one call."""
    given = method.arguments(inputs)
    if method.targeted:
        given["target"] = 1
    if additional is not None:
        given["additional_forward_args"] = additional
    return given


def attribute(method: Method, network: nn.Module, layer: str, inputs: Any, additional: Any = None) -> Any:
    """Plain Captum on a network: the reference of every law."""
    made = method.make(network, network.get_submodule(layer))
    return made.attribute(inputs, **arguments(method, inputs, additional))


def tensors(result: Any) -> list[Tensor]:
    """The tensors of a result of Captum, in order."""
    return [leaf for item in result for leaf in tensors(item)] if isinstance(result, (tuple, list)) else [result]
