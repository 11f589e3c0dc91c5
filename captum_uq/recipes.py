"""The three founding papers, each a few lines over the rest.

    dist = MCRP(vgg16).attribute(images, target=labels)            # relevance maps in [0, 1], 100 draws
    mean, uncertainty, snr, confusion = MCRP.scores(dist)

    dist = BLRP(lenet).attribute(images, target=labels)
    maps = BLRP.percentile_maps(dist)                              # 5, 25, 50, 75, 95

    dist = ExplanationUncertainty(GuidedBackprop(net), MCDropout()).attribute(images, target="predicted")
    mean, stdev, cv = ExplanationUncertainty.scores(dist)

References:
    [1] Fischer and Schneider, On feature relevance uncertainty: a Monte Carlo dropout sampling approach (MCRP), 2020.
    [2] Bykov et al., How much can I trust you? Quantifying uncertainties in explaining neural networks (B-LRP), 2020.
    [3] Mulye and Valdenegro-Toro, Uncertainty quantification for gradient-based explanations in neural networks, 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from captum.attr import Attribution
from torch import Tensor, nn

from captum_uq._captum import log_usage
from captum_uq._trees import tree_map
from captum_uq.attribution import StochasticAttribution
from captum_uq.distribution import DistributionAttribution
from captum_uq.distribution.keep import DRAWS
from captum_uq.distribution.required import require_distribution
from captum_uq.lrp import LRP, Composite, EpsilonComposite, LayerLRP, ZPlusComposite
from captum_uq.normalization import channel_mean, min_max, signed_max
from captum_uq.samplers.base import Sampler
from captum_uq.samplers.dropout import MCDropout

PERCENTILES = (5, 25, 50, 75, 95)
"""Those of B-LRP's figures."""

_MADE_BY = "pass what attribute returned"


class MCRPScores(NamedTuple):
    """What MCRP's figures show, from left to right; each of the distribution's shape."""

    mean: Tensor
    uncertainty: Tensor
    snr: Tensor
    confusion: Tensor


class UncertaintyScores(NamedTuple):
    """What Mulye and Valdenegro-Toro show of an explanation; each of the distribution's shape."""

    mean: Tensor
    stdev: Tensor
    cv: Tensor


class MCRP(StochasticAttribution):
    """Monte Carlo relevance propagation: z+ under the model's own dropout, each draw's map normalised.

    Args:
        model: The network, giving logits.
        layer: A hidden layer (or a list) whose relevance is asked for, in place of the inputs'.
        composite: The rules of LRP; None for z+ everywhere.
        sampler: Where the draws come from; None for MC dropout at the model's own rates, 100 draws.

    References:
        Fischer and Schneider (MCRP), 2020: eq. 1 (z+), 5 and 6 (one mask for both passes), 7 to 9, section 3.2.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(32, 2)).eval()
        >>> dist = MCRP(model).attribute(torch.rand(2, 3, 4, 4, requires_grad=True), target=1, n_draws=20, seed=0)
        >>> dist.shape, dist.draws.amax().item()
        (torch.Size([2, 1, 4, 4]), 1.0)
    """

    def __init__(
        self,
        model: nn.Module,
        layer: nn.Module | list[nn.Module] | None = None,
        *,
        composite: Composite | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        super().__init__(_relevance(model, layer, composite or ZPlusComposite()), sampler or MCDropout())

    @log_usage()  # type: ignore[untyped-decorator]  # sets __wrapped__, which NoiseTunnel reads
    def attribute(self, *args: Any, **kwargs: Any) -> Any:
        """The distribution of normalised maps.

        Args:
            args: As for `StochasticAttribution.attribute`.
            kwargs: As there.

        Returns:
            Relevance averaged over channels, and every draw's map mapped to [0, 1] by its own extremes (eq. 9), shape
            ``(N, 1, *F)``; inputs without channels, ``(N, F)``, keep their shape.

        Raises:
            ValueError: ``keep`` is not ``"draws"``, of which the maps are made.
        """
        if kwargs.get("keep", DRAWS) != DRAWS:
            raise ValueError(f"MCRP normalises each draw (eq. 9), for which keep={DRAWS!r}; got {kwargs['keep']!r}.")
        return tree_map(
            lambda dist: dist.map(_normalised) if dist.ndim > 1 else dist, super().attribute(*args, **kwargs)
        )

    @staticmethod
    def scores(dist: DistributionAttribution) -> MCRPScores:
        """Mean, uncertainty, signal-to-noise ratio and confusion of the maps.

        Args:
            dist: What `attribute` returned, shape ``(N, 1, *F)``.

        Returns:
            ``mu``, ``sigma``, ``mu / sigma`` and ``mu sigma``, with ``sigma`` over ``T`` (eq. 8: ``correction=0``).

        Raises:
            TypeError: ``dist`` is no distribution, as the tuple of a network of several inputs.
        """  # noqa: DOC502 (raised in the check)
        require_distribution(dist, "MCRP.scores", _MADE_BY)
        return MCRPScores(dist.expectation(), dist.stdev(0), dist.snr(0), dist.confusion(0))


class BLRP(StochasticAttribution):
    """Bayesian LRP: percentiles of the distribution of relevance.

    Args:
        model: The network, giving logits.
        layer: A hidden layer (or a list) whose relevance is asked for, in place of the inputs'.
        composite: The rules of LRP; None for LRP-epsilon with epsilon 1e-9 and max-pooling redistributed as
            average-pooling. `captum_uq.lrp.LRPCMP` is the paper's other choice.
        sampler: Where the draws come from; None for MC dropout.

    References:
        Bykov et al. (B-LRP), 2020: eq. 4 and 5, section 3.1.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)).eval()
        >>> dist = BLRP(model).attribute(torch.rand(2, 3, requires_grad=True), target=1, n_draws=20, seed=0)
        >>> BLRP.percentile_maps(dist).shape
        torch.Size([5, 2, 3])
    """

    def __init__(
        self,
        model: nn.Module,
        layer: nn.Module | list[nn.Module] | None = None,
        *,
        composite: Composite | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        composite = composite or EpsilonComposite(1e-9, max_pool="average")
        super().__init__(_relevance(model, layer, composite), sampler or MCDropout())

    @staticmethod
    def percentile_maps(dist: DistributionAttribution, q: float | Sequence[float] = PERCENTILES) -> Tensor:
        """Percentile maps as the paper shows them, each example's map scaled to [-1, 1] with 0 kept in place.

        For pictures in colour, give it ``dist.map(captum_uq.normalization.channel_sum)``.

        Args:
            dist: What `attribute` returned, shape ``(N, *F)``, or one example of it, ``(*F)``.
            q: Percentile in [0, 100], or several.

        Returns:
            Shape ``(len(q), N, *F)``, for one example ``(len(q), *F)``, for one ``q`` without the first axis; positive
            where relevance is.

        Raises:
            TypeError: ``dist`` is no distribution, as the tuple of a network of several inputs.

        References:
            Bykov et al. (B-LRP), 2020, eq. 5 and appendix B.
        """  # noqa: DOC502 (raised in the check)
        require_distribution(dist, "BLRP.percentile_maps", _MADE_BY)
        maps = dist.percentile(q)
        several = maps.ndim - dist.ndim + dist._record.has_examples  # axes of percentiles and of examples
        each = maps.reshape(math.prod(maps.shape[:several]), *maps.shape[several:])
        return signed_max(each).reshape(maps.shape)


class ExplanationUncertainty(StochasticAttribution):
    """Mean, standard deviation and coefficient of variation of an explanation.

    All draws explain the same output: ``target`` is the labels, for the logits of the ground truth; ``"predicted"``,
    for the class that the network as it stands predicts; or nothing, for a regression.

    Args:
        attribution_method: Any method of Captum, such as ``GuidedBackprop(model)``.
        sampler: Where the draws come from.

    References:
        Mulye and Valdenegro-Toro, 2024, section 3.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)).eval()
        >>> method = ExplanationUncertainty(Saliency(model), MCDropout())
        >>> dist = method.attribute(torch.rand(2, 3, requires_grad=True), target="predicted", n_draws=20, seed=0)
        >>> ExplanationUncertainty.scores(dist).cv.shape
        torch.Size([2, 3])
    """

    @staticmethod
    def scores(dist: DistributionAttribution) -> UncertaintyScores:
        """Mean, standard deviation and coefficient of variation.

        Args:
            dist: What `attribute` returned, shape ``(N, *F)``.

        Returns:
            ``mu``, ``sigma`` and ``sigma / |mu|``. The paper prints its ``E_sigma`` as a mean of squares and uses it as
            a standard deviation, which this is.

        Raises:
            TypeError: ``dist`` is no distribution, as the tuple of a network of several inputs.
        """  # noqa: DOC502 (raised in the check)
        require_distribution(dist, "ExplanationUncertainty.scores", _MADE_BY)
        return UncertaintyScores(dist.expectation(), dist.stdev(), dist.cv())


def _relevance(model: nn.Module, layer: nn.Module | list[nn.Module] | None, composite: Composite) -> Attribution:
    return LRP(model, composite) if layer is None else LayerLRP(model, layer, composite)


def _normalised(relevance: Tensor) -> Tensor:
    """One draw's maps, averaged over channels where there are any, in [0, 1]."""
    return min_max(channel_mean(relevance) if relevance.ndim > 2 else relevance)
