"""What stands for a number is one, whatever library it comes from; and what an error advises works."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from captum_uq.metrics import Constant, GaussianBlur, NoisyLinearImputation, compare, pixel_flipping

TABLE, IMAGE = torch.ones(2, 4), torch.ones(2, 3, 4, 4)
RANKS = torch.arange(8.0).view(2, 4)
PIXELS = torch.arange(32.0).view(2, 1, 4, 4)


def model(inputs):
    return inputs.flatten(1)[:, :4] * torch.arange(4.0)


def test_the_way_out_of_a_blur_beside_tokens_works():
    fills = Constant(7), GaussianBlur()
    curve = pixel_flipping(
        lambda tokens, pictures: tokens.sum(1) + 0 * pictures.sum((1, 2, 3)),
        (TABLE.long(), IMAGE),
        (RANKS, PIXELS),
        perturb_func=fills,
        n_steps=4,
    )
    assert curve.scores[:, [0, -1]].tolist() == [[4, 28]] * 2


@pytest.mark.parametrize("number", [np.float32, np.float64, np.float16, Fraction], ids=lambda kind: kind.__name__)
def test_numbers_of_any_kind_are_those_of_python(number):
    half = pixel_flipping(model, TABLE, RANKS, target=1, n_steps=2, max_fraction=number(0.5))
    same = pixel_flipping(model, TABLE, RANKS, target=1, n_steps=2, max_fraction=0.5)
    assert torch.equal(half.fractions, same.fractions)
    table = compare(half, replace(half, max_fraction=0.5), number(0.75))
    assert table == compare(half, same, 0.75)
    json.dumps([half.to_dict(), table.to_dict()])
    assert all(map(torch.equal, half.ci(number(0.75)), half.ci(0.75)))
    pixel_flipping(model, IMAGE, PIXELS, target=1, n_steps=2, perturb_func=GaussianBlur(5, number(0.5)))
    pixel_flipping(model, IMAGE, PIXELS, target=1, n_steps=2, perturb_func=NoisyLinearImputation(number(0.5)))
