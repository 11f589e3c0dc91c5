"""Networks built of Bayesian layers: Flipout, mean-field variational inference."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from captum_uq._trees import leaves, tree_map
from captum_uq.samplers._replay import ReplayedNetwork
from captum_uq.samplers.base import BoundSampler, Sampler


class BayesianLayers(Sampler):
    """Draws of a network whose layers draw their own weights, each draw held for a whole attribution.

    Such layers draw at every forward, in eval mode too: those of bayesian-torch, torch-uncertainty, blitz and
    torchbnn, and any other whose random numbers come from torch. What they draw is found by running the network once
    on one row in eval mode, so dropout stays off, and is then replayed. Flipout's signs are shared by the rows of a
    batch, as its weights are: a draw is one exact draw of the mean-field posterior, marginally that of Flipout.

    The forward returns outputs alone: in bayesian-torch, layers made by ``dnn_to_bnn``, or called with
    ``return_kl=False``.

    Args:
        model: The network; None to find it in the attribution method.

    References:
        Wen et al., Flipout: Efficient Pseudo-Independent Weight Perturbations on Mini-Batches, 2018; Blundell et
        al., Weight Uncertainty in Neural Networks, 2015.

    Example:
        >>> import torch
        >>> class MeanField(nn.Linear):
        ...     def forward(self, x):
        ...         return nn.functional.linear(x, self.weight + 0.1 * torch.randn_like(self.weight), self.bias)
        >>> x = torch.ones(1, 3)
        >>> network = BayesianLayers(MeanField(3, 2)).network(0, x)
        >>> bool((network(x) == network(x)).all())
        True
    """

    def bind(self, model: nn.Module) -> BoundSampler:
        """The draws of ``model``."""
        return _BayesianNetwork(model, set(), rate=None)

    def network(self, index: int, inputs: Any = None, *, model: nn.Module | None = None, **options: Any) -> nn.Module:
        """Draw ``index`` as an independent, deterministic module; see `Sampler.network`."""
        model = self._model(model)
        with _without_graphs(model):
            return super().network(index, inputs, model=model, **options)


class _BayesianNetwork(ReplayedNetwork):
    """A network that draws in eval mode."""

    def _nothing(self) -> str:
        return (
            f"BayesianLayers found nothing to draw in {type(self.model).__name__}: no module of it used a random "
            "number in eval mode. Give it a network built with bayesian-torch, torch-uncertainty, blitz or torchbnn "
            "whose layers are not frozen, or use MCDropout for a network with dropout."
        )


@contextlib.contextmanager
def _without_graphs(model: nn.Module) -> Iterator[None]:
    """What layers remember of their last forward (their weights, a log prior) off its graph, so it can be copied."""
    found = [
        (vars(module), name, value)
        for module in model.modules()
        for name, value in vars(module).items()
        if any(tensor.grad_fn is not None for tensor in leaves(value))
    ]
    try:
        for attributes, name, value in found:
            attributes[name] = tree_map(Tensor.detach, value)
        yield
    finally:
        for attributes, name, value in found:
            attributes[name] = value
