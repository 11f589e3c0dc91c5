"""Noise on the inputs: on every argument that is named, or the call is refused."""

import copy

import pytest
import torch
from captum import attr
from torch import nn

from captum_uq import StochasticAttribution
from captum_uq.samplers import Compose, InputNoise, MCDropout, NothingToDrawError

ONES = torch.ones(2, 3)


class Masked(nn.Module):
    """Rows, which tokens among them, and a mask by name."""

    def forward(self, x, tokens=None, *, mask=None):
        x = x if tokens is None else x + tokens
        return x if mask is None else x * mask


MISSING = {
    "a name and a position": ((0, "maks", 7), "['maks', 7] of [0, 'maks', 7]"),
    "a position": (5, "[5] of [5]"),
    "tokens": ((0, 1), "[1] of [0, 1]"),
    "a name of what is passed by position": ("x", "['x'] of ['x']"),
    "one from the end": (-1, "[-1] of [-1]"),
}
USES = {
    "network, shown inputs": lambda sampler, args: sampler.network(0, args),
    "network, at its first forward": lambda sampler, args: sampler.network(0)(*args),
    "outputs": lambda sampler, args: sampler.outputs(args, 2),
    "attribute": lambda sampler, args: StochasticAttribution(attr.Saliency(sampler.model), sampler).attribute(
        args[0], target=1, additional_forward_args=args[1:], n_draws=2
    ),
    "in a Compose": lambda sampler, args: Compose(sampler, InputNoise()).network(0, args),
}


@pytest.mark.parametrize(("arguments", "named"), MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_every_argument_that_gets_no_noise_is_named(use, arguments, named):
    with pytest.raises(NothingToDrawError) as refused:
        use(InputNoise(Masked(), arguments=arguments), (ONES, torch.ones(2, 3, dtype=torch.long)))
    assert f"and {named} are none" in str(refused.value)
    assert "arguments=" in str(refused.value)


def test_an_argument_of_standard_deviation_0_may_be_anything():
    tokens = torch.ones(2, 3, dtype=torch.long)
    network = InputNoise(Masked(), std=(0.1, 0), arguments=(0, 1)).network(0)
    torch.testing.assert_close(network(ONES, tokens) - 1, network(ONES))


def test_arguments_are_looked_for_in_the_whole_call():
    """A function may call the network more than once, not each time with all."""
    model = Masked()

    def forward(x, mask):
        return model(x) + model(x, mask=mask)

    uq = StochasticAttribution(attr.Saliency(forward), InputNoise(model, arguments=(0, "mask")))
    dist = uq.attribute(ONES, target=1, additional_forward_args=ONES, n_draws=3, seed=0)
    assert (dist.stdev()[:, 1] > 0).all()


@pytest.mark.parametrize("probed", [True, False])
def test_a_copy_of_a_network_with_noise_is_a_network_of_its_own(probed):
    layer = nn.Linear(3, 2)
    network = InputNoise(layer, std=0.5).network(1, ONES if probed else None)
    other = copy.deepcopy(network)
    expected = network(ONES)
    assert torch.equal(other(ONES), expected)
    assert not torch.equal(other(ONES), layer(ONES))
    with torch.no_grad():
        other.weight.zero_()
    assert torch.equal(other(ONES), other.bias.expand(2, -1))
    assert torch.equal(network(ONES), expected)


def test_noise_is_beside_dropout():
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2)).eval()
    outputs = Compose(InputNoise(std=0.5), MCDropout()).outputs(ONES, 5, model=model)
    shift = InputNoise(std=0.5).network(2, ONES, model=nn.Identity())(ONES)
    torch.testing.assert_close(outputs[2], MCDropout(model).network(2, ONES)(shift).detach())
