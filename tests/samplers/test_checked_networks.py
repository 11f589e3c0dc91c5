"""`check_sampler` on networks of every kind: it leaves them as they were, and says which it cannot take."""

import contextlib

import pytest
import torch
from torch import nn

from captum_uq.samplers import InputNoise, NoiseGrad
from captum_uq.testing import check_sampler
from samplers.table import Constant


class Counting(nn.Module):
    """Counts its forwards, in place and in a new buffer each time."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("count", torch.zeros(1))
        self.register_buffer("other", torch.zeros(1))

    def forward(self, x):
        self.count += 1
        self.other = self.other + 1
        return self.layer(x)


@pytest.mark.parametrize("sampler", [NoiseGrad, InputNoise, lambda: InputNoise(arguments=1)])
def test_buffers_are_what_they_were_after_the_check_and_after_its_errors(sampler):
    network = Counting()
    count, other = network.count, network.other
    with contextlib.suppress(ValueError):
        check_sampler(sampler, network, torch.ones(2, 4))
    assert (network.count is count, network.other is other) == (True, True)
    assert (count.item(), other.item()) == (0, 0)


class Returning(nn.Module):
    def __init__(self, returned):
        super().__init__()
        self.layer, self.returned = nn.Linear(4, 3), returned

    def forward(self, x):
        return self.returned(self.layer(x))


@pytest.mark.parametrize(
    ("returned", "name"), [(lambda out: {"logits": out}, "dict"), (lambda out: (out, out), "tuple")]
)
def test_outputs_that_are_no_tensor_are_refused(returned, name):
    with pytest.raises(TypeError, match=rf"one tensor, \(N, \*outputs\), got a {name}\. Give a network around"):
        check_sampler(NoiseGrad, Returning(returned), torch.ones(2, 4))


def test_outputs_may_be_a_view_of_a_weight():
    check_sampler(NoiseGrad, Constant(), torch.ones(2, 4))


def test_inputs_are_asked_for_where_no_layer_tells_them():
    with pytest.raises(ValueError, match="give inputs="):
        check_sampler(InputNoise, nn.ReLU())
