"""What a feature is: an element, a pixel over its channels, or a group of a feature mask."""

from dataclasses import dataclass

import torch
from torch import Tensor

from captum_uq.metrics._inputs import as_tuple, precise

__all__ = ["Features", "find_features"]


@dataclass(frozen=True)
class Features:
    """The features of a batch, and where they lie in the inputs.

    Attributes:
        relevance: What each feature is ranked by, shape ``(N, F)``; NaN where an example lacks the feature.
        present: Which features an example has, shape ``(N, F)``, bool; ``None`` where each has all.
        shapes: For each input, the shape of one example's map; dimensions of 1 flip together.
        ids: Feature of each element, shape ``(N, P)``, over all inputs; ``None`` where element ``p`` is feature
            ``p``.
    """

    relevance: Tensor
    present: Tensor | None
    shapes: tuple[tuple[int, ...], ...]
    ids: Tensor | None

    @property
    def counts(self) -> Tensor:
        """Number of features of each example, shape ``(N,)``, int64, on the CPU."""
        n_examples, n_features = self.relevance.shape
        return torch.full((n_examples,), n_features) if self.present is None else self.present.sum(1).cpu()

    def spread(self, values: Tensor) -> tuple[Tensor, ...]:
        """Write a value of each feature on every element of it.

        Args:
            values: Shape ``(N, F)``.

        Returns:
            For each input a tensor that broadcasts with it, shape ``(N, *S)``.
        """
        flat = values if self.ids is None else values.gather(1, self.ids)
        if len(self.shapes) == 1:
            return (flat.view(flat.shape[0], *self.shapes[0]),)
        sizes = [int(torch.Size(shape).numel()) for shape in self.shapes]
        parts = torch.split(flat, sizes, dim=1)
        return tuple(part.reshape(len(part), *shape) for part, shape in zip(parts, self.shapes, strict=True))


def find_features(
    inputs: tuple[Tensor, ...],
    attributions: tuple[Tensor, ...],
    feature_mask: Tensor | tuple[Tensor, ...] | None,
    group_relevance: str,
) -> Features:
    """Tell from the shapes and the mask what is ranked.

    Args:
        inputs: Tensors of shape ``(N, *F)``.
        attributions: One for each input, of its shape or with 1 where elements flip together, as ``(N, 1, H, W)``.
        feature_mask: Ids of the groups, broadcastable to the inputs; ids are shared over the tuple.
        group_relevance: ``"mean"`` or ``"sum"`` of the relevance in a group.

    Returns:
        The features.

    Raises:
        ValueError: Shapes that do not fit.
        TypeError: A mask of floats, or complex attributions.
    """  # noqa: DOC502 (raised by the helpers)
    _check_attributions(inputs, attributions)
    maps = [_real(a).to(x.device) for a, x in zip(attributions, inputs, strict=True)]
    if feature_mask is None:
        flat = [m.reshape(m.shape[0], -1) for m in maps]
        relevance = torch.cat(flat, dim=1) if len(flat) > 1 else flat[0]
        shapes = tuple(tuple(m.shape[1:]) for m in maps)
        return Features(relevance, None, shapes, None)
    return _group(inputs, maps, as_tuple(feature_mask, "feature_mask"), group_relevance)


def _real(attribution: Tensor) -> Tensor:
    if attribution.is_complex():
        raise TypeError(f"attributions are ranked, got {attribution.dtype}, which has no order. Take .real or .abs().")
    return attribution if attribution.is_floating_point() else attribution.to(precise(attribution.device))


def _check_attributions(inputs: tuple[Tensor, ...], attributions: tuple[Tensor, ...]) -> None:
    if len(inputs) != len(attributions):
        raise ValueError(
            f"attributions must hold one tensor for each input, got {len(attributions)} for {len(inputs)} inputs. "
            "Pass the tuple that the attribution method returned for this tuple of inputs."
        )
    for x, a in zip(inputs, attributions, strict=True):
        same_rank = x.ndim == a.ndim and x.shape[0] == a.shape[0]
        if not same_rank or any(s not in {1, f} for f, s in zip(x.shape[1:], a.shape[1:], strict=True)):
            raise ValueError(
                "attributions must have the shape of their inputs, or 1 in the dimensions that flip together "
                f"((N, 1, H, W) ranks pixels): got {tuple(a.shape)} for inputs of {tuple(x.shape)}. "
                f"{_way_to_shape(x, a)}"
            )


def _way_to_shape(x: Tensor, attribution: Tensor) -> str:
    """How attributions of another shape come to rank the features of an input."""
    if attribution.ndim > x.ndim and attribution.shape[: x.ndim] == x.shape:
        return "Pool what is behind, as the dimensions of an embedding: dist.map(lambda draw: draw.sum(-1))."
    return (
        "Reduce with .sum(1, keepdim=True), or add the missing dimension with .unsqueeze(1); of a distribution "
        "dist.map(lambda draw: draw.sum(1, keepdim=True))."
    )


def _group(inputs: tuple[Tensor, ...], maps: list[Tensor], masks: tuple[Tensor, ...], group_relevance: str) -> Features:
    """Pool relevance over the groups of a mask; ids are made consecutive over all inputs together.

    Raises:
        ValueError: Not one mask for each input.
    """
    if len(masks) != len(maps):
        raise ValueError(
            f"feature_mask must hold one tensor for each input, got {len(masks)} for {len(maps)} inputs. "
            "Give every input a mask; equal ids in two masks make one group."
        )
    for x, mask in zip(inputs, masks, strict=True):
        _check_mask(x, mask)
    shapes = [torch.broadcast_shapes(m.shape, mask.shape) for m, mask in zip(maps, masks, strict=True)]
    unique, inverse = torch.unique(
        torch.cat([mask.reshape(-1).to(maps[0].device) for mask in masks]), return_inverse=True
    )
    parts = inverse.split([mask.numel() for mask in masks])
    n = len(maps[0])
    grids = [p.view(mask.shape).expand(s).reshape(n, -1) for p, mask, s in zip(parts, masks, shapes, strict=True)]
    ids = torch.cat(grids, dim=1)
    relevance = torch.cat([m.expand(s).reshape(n, -1) for m, s in zip(maps, shapes, strict=True)], dim=1)
    sizes = torch.zeros(n, len(unique), dtype=precise(ids.device), device=ids.device)
    total = sizes.scatter_add(1, ids, relevance.to(sizes))
    sizes.scatter_add_(1, ids, torch.ones_like(ids, dtype=sizes.dtype))
    pooled = total / sizes if group_relevance == "mean" else total.masked_fill(sizes == 0, torch.nan)
    present = sizes > 0
    return Features(pooled, None if bool(present.all()) else present, tuple(tuple(s[1:]) for s in shapes), ids)


def _check_mask(inputs: Tensor, mask: Tensor) -> None:
    """Refuse a mask that does not lie on the inputs in one way only.

    Raises:
        TypeError: A mask of floats or bools.
        ValueError: A mask that does not broadcast with the inputs, or whose first dimension may be the batch or not.
    """
    if mask.is_floating_point() or mask.is_complex() or mask.dtype == torch.bool:
        raise TypeError(
            f"feature_mask must hold integer ids of groups, got {mask.dtype}. Convert it with .long(); for a "
            "boolean mask this gives two groups."
        )
    missing, n_examples = inputs.ndim - mask.ndim, len(inputs)
    fits = missing >= 0 and all(m in {1, x} for m, x in zip(mask.shape, inputs.shape[missing:], strict=True))
    # (N, H, W) or (C, H, W): with as many examples as channels nothing tells which
    ambiguous = missing == 1 and mask.ndim > 1 and mask.shape[0] == n_examples > 1
    if not fits or ambiguous:
        raise ValueError(
            f"feature_mask must broadcast with the inputs, and in one way only, got {tuple(mask.shape)} for inputs of "
            f"{tuple(inputs.shape)}. Give it as many dimensions: 1 first where all examples share the groups, "
            ".unsqueeze(1) where channels do."
        )
