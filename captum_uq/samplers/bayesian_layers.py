"""Networks built of Bayesian layers: Flipout, mean-field variational inference."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from captum_uq.samplers._held import HeldDraw
from captum_uq.samplers._random_calls import RandomCall
from captum_uq.samplers._replay import ReplayedNetwork
from captum_uq.samplers.base import BoundSampler, Sampler


class BayesianLayers(Sampler):
    """Draws of a network whose layers draw their own weights, each draw held for a whole attribution.

    Such layers draw at every forward, in eval mode too: those of bayesian-torch, torch-uncertainty, blitz and
    torchbnn, and any other whose random numbers come from torch. What they draw is found by running the network once
    on one row in eval mode, so dropout stays off, and is then replayed. Flipout's signs are shared by the rows of a
    batch, as its weights are: a draw is one exact draw of the mean-field posterior, marginally that of Flipout. The
    network as it stands, ``dist.deterministic``, is the one at the mean of these weights.

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


class _BayesianNetwork(ReplayedNetwork):
    """A network that draws in eval mode."""

    @contextlib.contextmanager
    def undrawn(self) -> Iterator[None]:
        """The network at the mean of its weights."""
        with super().undrawn(), _Mean(self, 0, 0):
            yield

    def _nothing(self) -> str:
        return (
            f"BayesianLayers found nothing to draw in {type(self.model).__name__}: no module of it used a random "
            "number in eval mode. Give it a network built with bayesian-torch, torch-uncertainty, blitz or torchbnn "
            "whose layers are not frozen, or use MCDropout for a network with dropout."
        )


class _Mean(HeldDraw):
    """A network whose normal numbers are all 0, and whose others are those of a draw: signs, which then do nothing."""

    def variate(self, name: str, use: int, position: int, call: RandomCall, device: torch.device) -> Tensor:
        """The standard variate of one random call, for one row."""
        if call.kind == "normal":
            return torch.zeros(call.shape, device=device)
        return super().variate(name, use, position, call, device)
