"""Which methods of Captum may run many draws at once, and how: one row for each, with its reason."""

from __future__ import annotations

from dataclasses import dataclass, replace

from captum import attr

ROWS, FORWARDS = "rows", "forwards"


@dataclass(frozen=True)
class Folding:
    """How a method runs many draws at once.

    Attributes:
        way: ``"rows"``: the draws are further examples of one call. ``"forwards"``: every forward answers all
            draws, and where neither of the last two holds the method runs once for each. None: it does not.
        reason: Why.
        gradients: Whether it calls for gradients, so that a shared prefix needs a backward pass for each draw.
        inside: Whether it looks at activations inside the network, which must then have a row for each draw.
        random: Whether it uses random numbers of its own.
        distributions: Arguments that hold a distribution, not one entry for each example.
        outputs: Whether it attributes any number of outputs to its inputs, those of all draws too: it then makes what
            the draws are asked about once, where one mask stands for all examples.
        surrogate: Whether it explains the network by a surrogate, which can be fitted to every draw in one call.
    """

    way: str | None
    reason: str
    gradients: bool = True
    inside: bool = False
    random: bool = False
    distributions: tuple[str, ...] = ()
    outputs: bool = False
    surrogate: bool = False


_BY_ROW = Folding(ROWS, "each example is attributed by itself")
_INSIDE = Folding(ROWS, "each example is attributed by itself", inside=True)
_WITHOUT_GRADIENTS = Folding(ROWS, "each example is perturbed in the same way", gradients=False, outputs=True)
_INSIDE_PERTURBED = Folding(ROWS, "each example is perturbed in the same way", gradients=False, inside=True)
_INSIDE_BASELINES = Folding(ROWS, "each example meets every baseline", inside=True, distributions=("baselines",))
_SHARED_SAMPLES = Folding(FORWARDS, "all draws are asked about the same perturbed inputs", gradients=False, random=True)
_SURROGATE = replace(_SHARED_SAMPLES, surrogate=True)
_SHARED_GRADIENTS = Folding(FORWARDS, "all draws are asked for gradients at the same random inputs", random=True)
_RANDOM_ROWS = Folding(None, "its random numbers depend on the number of rows", random=True)

FOLDABLE: dict[type, Folding] = {
    attr.Saliency: _BY_ROW,
    attr.InputXGradient: _BY_ROW,
    attr.IntegratedGradients: _BY_ROW,
    attr.GuidedBackprop: _BY_ROW,
    attr.Deconvolution: _BY_ROW,
    attr.DeepLift: _BY_ROW,
    attr.DeepLiftShap: Folding(ROWS, "each example meets every baseline", distributions=("baselines",)),
    attr.LRP: _BY_ROW,
    attr.GuidedGradCam: _INSIDE,
    attr.Occlusion: _WITHOUT_GRADIENTS,
    attr.FeatureAblation: _WITHOUT_GRADIENTS,
    attr.ShapleyValues: _WITHOUT_GRADIENTS,
    attr.ShapleyValueSampling: Folding(
        ROWS, "each example is perturbed in the same, random order", gradients=False, random=True, outputs=True
    ),
    attr.FeaturePermutation: replace(_SHARED_SAMPLES, outputs=True),
    attr.KernelShap: _SURROGATE,
    attr.Lime: _SURROGATE,
    attr.LimeBase: _SURROGATE,
    attr.LayerActivation: Folding(ROWS, "each example has its own activations", gradients=False, inside=True),
    attr.LayerGradientXActivation: _INSIDE,
    attr.LayerGradCam: _INSIDE,
    attr.LayerConductance: _INSIDE,
    attr.LayerIntegratedGradients: _INSIDE,
    attr.InternalInfluence: _INSIDE,
    attr.LayerDeepLift: _INSIDE,
    attr.LayerDeepLiftShap: Folding(
        ROWS, "each example meets every baseline", inside=True, distributions=("baselines",)
    ),
    attr.LayerLRP: _INSIDE,
    attr.LayerFeatureAblation: _INSIDE_PERTURBED,
    attr.NeuronGradient: _INSIDE,
    attr.NeuronIntegratedGradients: _INSIDE,
    attr.NeuronConductance: _INSIDE,
    attr.NeuronDeepLift: _INSIDE,
    attr.NeuronDeepLiftShap: Folding(
        ROWS, "each example meets every baseline", inside=True, distributions=("baselines",)
    ),
    attr.NeuronGuidedBackprop: _INSIDE,
    attr.NeuronDeconvolution: _INSIDE,
    attr.NeuronFeatureAblation: _INSIDE_PERTURBED,
    attr.GradientShap: _SHARED_GRADIENTS,
    attr.LayerGradientShap: _RANDOM_ROWS,
    attr.NeuronGradientShap: _RANDOM_ROWS,
    attr.NoiseTunnel: _SHARED_GRADIENTS,
    attr.LayerFeaturePermutation: Folding(None, "it exchanges activations between the rows of a batch", random=True),
    attr.DataLoaderAttribution: Folding(None, "its inputs come from a data loader"),
    attr.LLMAttribution: Folding(None, "its inputs are texts"),
    attr.LLMGradientAttribution: Folding(None, "its inputs are texts"),
    attr.RemoteLLMAttribution: Folding(None, "its network is elsewhere"),
}
"""``tests/execution/test_foldable.py`` holds every row to it, and every method of Captum to a row."""

_UNKNOWN = Folding(None, "it is not in the table of methods known to be foldable", random=True)


def folding(method: attr.Attribution) -> Folding:
    """The row of a method.

    Args:
        method: Any attribution method. A subclass has a row of its own, or that of the class that it names as
            ``folds_as``; it is not taken for what it derives from.

    Returns:
        How its draws may be folded.
    """
    how = FOLDABLE.get(getattr(type(method), "folds_as", type(method)), _UNKNOWN)
    return _tunnelled(method.attribution_method) if type(method) is attr.NoiseTunnel else how


def _tunnelled(method: attr.Attribution) -> Folding:
    """The row of a NoiseTunnel around a method, whose draws ask what that method asks."""
    how = folding(method)
    remembers = isinstance(method, (attr.DeepLift, attr.LRP))  # the rows of a forward, in hooks
    if how.way is None or how.inside or remembers:
        return Folding(None, f"its {type(method).__name__} cannot share forwards", random=True)
    return FOLDABLE[attr.NoiseTunnel]
