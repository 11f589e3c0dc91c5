"""A feature mask lies on the inputs in one way, that of numpy's broadcasting, or is refused."""

import itertools

import numpy as np
import pytest
import torch

from captum_uq.metrics import deletion

SHAPES = [(3, 4), (3, 3), (2, 3, 4), (3, 3, 3), (1, 3, 3), (2, 3, 4, 5), (3, 3, 4, 4), (4, 1, 2, 3)]


def lying(ids, shape):
    """A mask spread over inputs of a shape as numpy spreads it, or None."""
    try:
        return np.broadcast_to(ids, shape)
    except ValueError:
        return None


def whole(ids, shape):
    """The mask of every element, or None where there is none, or another one with the first dimension as the batch."""
    last, first = lying(ids, shape), lying(ids[:, None], shape) if 1 < ids.ndim == len(shape) - 1 else None
    return last if first is None or last is None or (last == first).all() else None


def masks(shape):
    """Shapes of masks that fit, and that do not for one size or one dimension too many or too few."""
    for present in itertools.product(*({1, size} for size in shape)):
        yield present
        yield from (present[k:] for k in range(1, len(shape)))
        yield from (present[:k] + present[k + 1 :] for k in range(1, len(shape)))
    yield from ((*shape[:k], 7, *shape[k + 1 :]) for k in range(len(shape)))
    yield (1, *shape)


CASES = [(shape, mask) for shape in SHAPES for mask in sorted(set(masks(shape)))]


@pytest.mark.filterwarnings("ignore:.* attribution maps are constant")  # a table's map of one column
@pytest.mark.parametrize("reduced", [False, True], ids=["elements", "reduced map"])
@pytest.mark.parametrize(("shape", "mask"), CASES)
def test_a_mask_is_that_of_the_inputs_shape_or_refused(shape, mask, reduced):
    generator = torch.Generator().manual_seed(0)
    inputs, maps = (torch.rand(shape, generator=generator) for _ in range(2))
    maps = maps.mean(1, keepdim=True) if reduced else maps
    ids = torch.randperm(int(np.prod(mask)), generator=generator).view(mask)
    expected = whole(ids.numpy(), shape)

    def measure(feature_mask):
        half = {"n_steps": 1, "max_fraction": 0.5}
        return deletion(lambda x: x.flatten(1).sum(1), inputs, maps, feature_mask=feature_mask, **half)

    if expected is None:
        with pytest.raises(ValueError, match="feature_mask must broadcast with the inputs, and in one way only, got"):
            measure(ids)
    else:
        assert torch.equal(measure(ids).scores, measure(torch.from_numpy(expected.copy())).scores)
