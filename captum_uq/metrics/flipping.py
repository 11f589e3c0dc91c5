"""Pixel flipping: the one measure of which deletion and insertion are the two directions."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from captum_uq.metrics._features import find_features
from captum_uq.metrics._forward import Forward
from captum_uq.metrics._inputs import as_tuple, check_inputs
from captum_uq.metrics._noise import ExampleNoise
from captum_uq.metrics._options import Baselines, Tensors, check_options, warn_of_live_layers
from captum_uq.metrics._ordering import rank_features
from captum_uq.metrics._rows import Perturbation, PerturbFunction, score_rows
from captum_uq.metrics._schedule import schedule
from captum_uq.metrics._scores import ScoreFunction, ScoreReader, Target
from captum_uq.metrics._setup import check_scores, prepare_fills
from captum_uq.metrics.curves import PerturbationCurve
from captum_uq.metrics.fills import Fill

__all__ = ["pixel_flipping"]


@torch.no_grad()
def pixel_flipping(
    forward_func: Callable[..., Tensor],
    inputs: Tensors,
    attributions: Tensors,
    baselines: Baselines = None,
    additional_forward_args: Any = None,
    target: Target = None,
    feature_mask: Tensors | None = None,
    *,
    mode: Literal["deletion", "insertion"] = "deletion",
    order: Literal["morf", "lerf", "random"] = "morf",
    n_steps: int | None = None,
    max_fraction: float = 1.0,
    score: str | ScoreFunction = "output",
    perturb_func: Fill | tuple[Fill, ...] | PerturbFunction | None = None,
    seed: int = 0,
    tie_break: Literal["stable", "random"] = "stable",
    nan_policy: Literal["raise", "propagate"] = "raise",
    group_relevance: Literal["mean", "sum"] = "mean",
    max_examples_per_batch: int = 256,
    show_progress: bool = False,
) -> PerturbationCurve:
    """Flip features in the order of their relevance and watch the score.

    Deletion starts from the input and replaces its most relevant features first: a faithful map makes the score
    fall fast. Insertion starts from the replacement and puts them back: the score should rise fast. The curve of
    an example does not depend on the batch it stands in, nor on ``max_examples_per_batch``.

    The model runs as it stands, without gradients; call ``model.eval()`` first. It is not switched for you. A module
    with ``nn.Conv2d`` sees pictures of float32 on a CPU in ``torch.channels_last``, which may halve its time, where one
    row shows on its first pass that it gives the same scores then (to 1e-5 of the largest output); all else as it lies.

    Args:
        forward_func: A model, or any function of the inputs (then the additional arguments) to one output for each
            row, shape ``(R,)`` or ``(R, *O)``; for a posterior predictive mean ``sampler.predictive(model, n)``. One
            that differentiates inside does so under ``torch.enable_grad()``, by ``rows.detach().requires_grad_()``.
        inputs: The examples, shape ``(N, *F)``, or a tuple of such; integer inputs (tokens) keep their dtype.
        attributions: What ranks the features. In the inputs' shape they rank elements; dimensions of 1 flip
            together, so ``(N, 1, H, W)`` ranks pixels with all their channels. A tuple is ranked jointly.
        baselines: Values of flipped features: a number, a tensor that broadcasts with the inputs, or a tuple with
            one for each input. Default: 0.
        additional_forward_args: Passed after the inputs; tensors of ``N`` rows follow their example.
        target: Which output is scored, as in Captum: an index, one for each example, or tuples of indices.
        feature_mask: Integer ids of features that flip together, broadcastable to the inputs, as ``(1, 1, H, W)`` and
            ``(N, 1, H, W)`` are to pictures; one id in the masks of two inputs is one feature.
        mode: ``"deletion"`` or ``"insertion"``.
        order: ``"morf"`` flips the most relevant first, ``"lerf"`` the least relevant, ``"random"`` ignores the map,
            NaN in it included.
        n_steps: Number of steps ``K``, at most the number of features to flip; None for 32, or for one at a time where
            there are fewer features.
        max_fraction: Share of the features flipped at the end, in (0, 1].
        score: ``"output"``, ``"softmax"``, ``"log_softmax"``, ``"margin"`` (target minus the best other class), or
            ``score(outputs, target) -> (R,)``, each row for itself, in floats, integers or bools. Outputs of half
            precision are scored in float32.
        perturb_func: Instead of ``baselines``: one of ``captum_uq.metrics.fills``, a tuple with one for each input,
            or a function ``(rows, flipped) -> rows`` (of tuples where the inputs are a tuple), each row for itself.
        seed: Of all random numbers here. They belong to (seed, example, feature), so maps compared on one seed meet
            the same fills.
        tie_break: Order of equally relevant features: by position, or random.
        nan_policy: With NaN in a map or a score ``"raise"``, or ``"propagate"``: an example whose map has NaN has a
            curve of NaN, and a score of NaN stays at its point.
        group_relevance: How ``feature_mask`` pools: ``"mean"``, which leaves a map that is constant over each group
            as it is, or ``"sum"``, the share of the output that a conserving map gives the group.
        max_examples_per_batch: Rows in one forward pass; steps and examples share them.
        show_progress: Show a progress bar.

    Returns:
        The curves, shape ``(N, K + 1)``, the unperturbed point first.

    Raises:
        TypeError: An argument of the wrong type.
        ValueError: Shapes that do not match, an empty batch, NaN, too many steps, a target out of range, an unknown
            option, or a model that returns another number of rows.

    Warns:
        UserWarning: A constant map, or a model whose dropout or batch normalisation is in train mode.

    References:
        [1] Samek et al., "Evaluating the visualization of what a deep neural network has learned", 2017, section III.
        [2] Petsiuk et al., "RISE: Randomized input sampling for explanation of black-box models", 2018, section 4.1.
        [3] Bykov et al., "How much can I trust you?", 2020, algorithm 1.

    Example:
        >>> weights = torch.tensor([[1.0, 2.0, 3.0]])
        >>> curve = pixel_flipping(lambda x: x @ weights.T, torch.ones(1, 3), weights, n_steps=3)
        >>> curve.scores
        tensor([[6., 3., 1., 0.]])
        >>> curve.auc
        tensor([2.3333])
    """  # noqa: DOC502 (most are raised by the helpers)
    choices = {"mode": mode, "order": order, "tie_break": tie_break, "nan_policy": nan_policy}
    whole = {
        "n_steps": 1 if n_steps is None else n_steps,
        "seed": seed,
        "max_examples_per_batch": max_examples_per_batch,
    }
    check_options(choices | {"group_relevance": group_relevance}, whole, max_fraction, score, forward_func)
    warn_of_live_layers(forward_func)
    tensors = as_tuple(inputs, "inputs")
    n_examples = check_inputs(tensors)
    noise = ExampleNoise(tensors, seed)
    features = find_features(tensors, as_tuple(attributions, "attributions"), feature_mask, group_relevance)
    ranking = rank_features(features, order, tie_break, nan_policy, noise)
    counts, fractions = schedule(features, n_steps, max_fraction)
    fills, values = prepare_fills(tensors, baselines, perturb_func, noise)
    places = features.spread(ranking.places)
    tuples = isinstance(inputs, tuple)
    perturbation = Perturbation(tensors, places, counts, mode == "insertion", fills, values, tuples)
    forward = Forward(forward_func, _extra(additional_forward_args), tensors)
    reader = ScoreReader(score, target, n_examples, tensors[0].device)
    scores = score_rows(forward, perturbation, reader, max_examples_per_batch, show_progress)
    scores = check_scores(scores, ranking.unranked, nan_policy)
    name = score if isinstance(score, str) else getattr(score, "__name__", type(score).__name__)
    return PerturbationCurve(fractions.to(scores), scores, ranking.tie_fraction, mode, order, name, float(max_fraction))


def _extra(additional_forward_args: Any) -> tuple[Any, ...]:
    if additional_forward_args is None:
        return ()
    return additional_forward_args if isinstance(additional_forward_args, tuple) else (additional_forward_args,)
