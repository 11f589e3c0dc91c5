"""Networks over the nodes of a graph: sparse matrices inside, and a batch that is no set of rows."""

import copy

import pytest
import torch
from captum import attr
from torch import nn

from captum_uq import StochasticAttribution
from captum_uq._checked_state import checked_state
from captum_uq.samplers import (
    SWAG,
    Compose,
    DrawError,
    DropConnect,
    Ensemble,
    InputNoise,
    MCDropout,
    NoiseGrad,
    VariationalDropout,
    WeightSamples,
    from_callable,
)
from captum_uq.testing import check_sampler

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
LAYOUTS = {"dense": torch.Tensor.clone, "COO": torch.Tensor.to_sparse, "CSR": torch.Tensor.to_sparse_csr}


class Mixing(nn.Module):
    """Mixes features, or the nodes of a graph, by a matrix that is a buffer or a parameter."""

    def __init__(self, layout, *, trained=False, nodes=False):
        super().__init__()
        mix = layout((torch.rand(5, 5, generator=torch.Generator().manual_seed(1)) > 0.4).float())
        if trained:
            self.mix = nn.Parameter(mix, requires_grad=False)
        else:
            self.register_buffer("mix", mix)
        self.nodes, self.hidden, self.dropout, self.head = nodes, nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3)

    def forward(self, x):
        x = self.mix @ x if self.nodes else (self.mix @ x.T).T
        return self.head(self.dropout(torch.tanh(self.hidden(x))))


def made(layout, **options):
    torch.manual_seed(0)
    return Mixing(LAYOUTS[layout], **options).eval()


def others(layout, **options):
    torch.manual_seed(3)
    return [Mixing(LAYOUTS[layout], **options).eval() for _ in range(4)]


SAMPLERS = {
    "MCDropout": lambda nets: MCDropout(),
    "DropConnect": lambda nets: DropConnect(p=0.3),
    "VariationalDropout": lambda nets: VariationalDropout(p=0.2),
    "NoiseGrad": lambda nets: NoiseGrad(modules=["hidden", "head"]),
    "InputNoise": lambda nets: InputNoise(),
    "Ensemble": Ensemble,
    "WeightSamples": lambda nets: WeightSamples(net.state_dict() for net in nets),
    "from_callable": lambda nets: from_callable(lambda index, generator: nets[index], max_draws=4),
    "Compose": lambda nets: Compose(Ensemble(nets), InputNoise()),
}
every_sampler = pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)


@every_sampler
@pytest.mark.parametrize("trained", [False, True], ids=["buffer", "parameter"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_draw_of_a_network_with_a_sparse_matrix_is_its_oracle(make, layout, trained):
    network, nets = made(layout, trained=trained), others(layout, trained=trained)
    sampler, x = make(nets), torch.randn(4, 5, generator=torch.Generator().manual_seed(2))
    before = checked_state(network)
    oracles = [sampler.network(t, x, seed=5, model=network) for t in range(3)]
    assert torch.equal(sampler.outputs(x, 3, seed=5, model=network), torch.stack([net(x) for net in oracles]))
    uq = StochasticAttribution(attr.IntegratedGradients(network), sampler)
    for execution in ("auto", "loop"):
        found = uq.attribute(x, target=1, n_draws=3, seed=5, execution=execution)
        for draw, oracle in zip(found.draws, oracles, strict=True):
            torch.testing.assert_close(draw, attr.IntegratedGradients(oracle).attribute(x, target=1).float())
    expected = sampler.outputs(x, 3, seed=5, model=network)
    for oracle in oracles:
        oracle.mix.data.mul_(0)
    assert torch.equal(sampler.outputs(x, 3, seed=5, model=network), expected)
    with sampler.draw(1, x, model=network):
        network(x)
    assert checked_state(network) == before


@every_sampler
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_laws_hold_for_a_network_with_a_sparse_matrix(make, layout):
    nets = others(layout)
    check_sampler(lambda: make(nets), made(layout), torch.randn(4, 5, generator=torch.Generator().manual_seed(2)))


@pytest.mark.parametrize("layout", ["COO", "CSR"])
def test_a_sparse_weight_that_would_draw_is_named(layout):
    network = made(layout, trained=True)
    with pytest.raises(ValueError, match=r"dense tensors, got torch\.sparse_\w+ for mix of Mixing\. .*modules="):
        NoiseGrad(network).network(0)
    with pytest.raises(ValueError, match=r"SWAG fits .*got mix of torch\.float32, torch\.sparse_\w+\. .*WeightSamples"):
        SWAG().collect(network)


def test_a_complex_weight_is_not_collected():
    network = nn.ParameterDict({"weight": torch.ones(2, dtype=torch.complex64)})
    with pytest.raises(ValueError, match=r"got weight of torch\.complex64"):
        SWAG().collect(network)


@every_sampler
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_network_that_needs_all_nodes_of_its_graph_is_drawn_or_the_sampler_says_why_not(make, layout):
    network, nets = made(layout, nodes=True), others(layout, nodes=True)
    sampler, x = make(nets), torch.randn(5, 5, generator=torch.Generator().manual_seed(2))
    uq = StochasticAttribution(attr.Saliency(network), sampler)
    before = copy.deepcopy(x)
    if isinstance(sampler, MCDropout):
        for use in (
            lambda: uq.attribute(x, target=1, n_draws=3),
            lambda: sampler.network(0, x, model=network),
            lambda: sampler.outputs(x, 3, model=network),
        ):
            with pytest.raises(DrawError, match=r"Mixing needs its whole batch: on one row .*DropConnect"):
                use()
        return
    oracles = [sampler.network(t, x, seed=5, model=network) for t in range(3)]
    assert torch.equal(sampler.outputs(x, 3, seed=5, model=network), torch.stack([net(x) for net in oracles]))
    found = uq.attribute(x, target=1, n_draws=3, seed=5)
    for draw, oracle in zip(found.draws, oracles, strict=True):
        torch.testing.assert_close(draw, attr.Saliency(oracle).attribute(x, target=1))
    assert torch.equal(x, before)
