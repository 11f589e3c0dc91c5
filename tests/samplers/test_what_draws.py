"""What MC dropout takes for dropout, and what it leaves alone: rates, selections, shuffles, the probe in train mode."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import Saliency
from torch import nn

from captum_uq import StochasticAttribution
from captum_uq.samplers import DrawError, MCDropout, NoiseGrad
from samplers.table import NETWORKS, SAMPLERS

RATE = 0.2


class Attention(nn.Module):
    """A function with dropout that is not told whether it is training."""

    def __init__(self, rate=0.1):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x, dropout_p=self.rate if self.training else 0.0)


class PNorm(nn.Module):
    """Its ``p`` is no rate, though it might be one."""

    def __init__(self):
        super().__init__()
        self.p = 1

    def forward(self, x):
        return F.normalize(x, p=self.p, dim=-1)


class Drops(nn.Module):
    """Somebody's own dropout, at a rate of 0 until it is overridden."""

    def __init__(self):
        super().__init__()
        self.drop_prob = 0.0

    def forward(self, x):
        return F.dropout(x, self.drop_prob, self.training)


def network(before, after):
    torch.manual_seed(0)
    return nn.Sequential(before, nn.Linear(8, 8), after, nn.Flatten(), nn.Linear(48, 3)).eval()


@pytest.mark.parametrize("before", [Attention, PNorm, Drops, nn.Dropout], ids=lambda kind: kind.__name__)
def test_a_rate_is_that_of_the_selected_modules_alone(before):
    x = torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(1))
    own = MCDropout(network(before(), nn.Dropout(RATE)), modules="2").outputs(x, 20)
    given = MCDropout(network(before(), nn.Dropout(0.5)), modules="2", p=RATE).outputs(x, 20)
    assert torch.equal(own, given)


@pytest.mark.parametrize("before", [lambda: Attention(RATE), PNorm, lambda: nn.Dropout(RATE)])
def test_a_rate_is_that_of_what_drops_out_alone(before):
    x = torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(1))
    own = MCDropout(network(before(), nn.Dropout(RATE)))
    other = network(before(), nn.Dropout(0.5))
    assert torch.equal(
        own.outputs(x, 20, model=network(before(), nn.Dropout(RATE))), MCDropout(other, p=RATE).outputs(x, 20)
    )
    assert [module.p for module in other.modules() if isinstance(module, PNorm)] in ([], [1])


def test_a_rate_switches_on_what_has_one_of_zero():
    x = torch.randn(3, 6, 8)
    model = network(Drops(), nn.Identity())
    outputs = MCDropout(model, p=0.5).outputs(x, 4000)
    inside = MCDropout(model, p=0.5).network(0, x)
    assert (inside[0].drop_prob, model[0].drop_prob) == (0.5, 0.0)
    assert outputs.std(0).min() > 0


class Shuffles(nn.Module):
    """Mixes every row with another, as mixup does."""

    def forward(self, x):
        return 0.5 * x + 0.5 * x[torch.randperm(len(x))] if self.training else x


class ShufflesTokens(nn.Module):
    """Mixes the tokens of all rows."""

    def forward(self, x):
        return x.flatten(0, 1)[torch.randperm(x.shape[0] * x.shape[1])].view(x.shape) if self.training else x


class Permutes(nn.Module):
    """Takes the tokens of a row in another order."""

    def forward(self, x):
        return x[:, torch.randperm(x.shape[1])] if self.training else x


def test_rows_that_are_shuffled_are_no_draw():
    x = torch.randn(4, 6, 8)
    for options in ({}, {"p": 0.1}):
        with pytest.raises(DrawError, match=r"Shuffles '0' shuffles the rows of a batch"):
            MCDropout(network(Shuffles(), nn.Dropout(0.5)), **options).outputs(x, 2)
    assert MCDropout(network(Shuffles(), nn.Dropout(0.5)), modules=nn.Dropout).outputs(x, 2).std(0).min() > 0


def test_tokens_that_are_shuffled_over_rows_are_no_draw():
    model, x = network(ShufflesTokens(), nn.Identity()), torch.randn(4, 6, 8)
    assert MCDropout(model).outputs(x[:1], 2).std(0).min() > 0
    with pytest.raises(DrawError, match="ShufflesTokens '0' draws from a distribution that changes with the input"):
        MCDropout(model).outputs(x, 2)


@pytest.mark.filterwarnings("ignore::captum_uq.samplers.DisagreementWarning")  # the network is not trained
def test_an_order_of_tokens_is_one_for_every_row():
    x = torch.randn(4, 6, 8)
    sampler = MCDropout(network(Permutes(), nn.Identity()))
    outputs = sampler.outputs(x, 12)
    assert outputs.std(0).min() > 0
    torch.testing.assert_close(sampler.outputs(x[1:2], 12), outputs[:, 1:2])
    dist = StochasticAttribution(Saliency(sampler.model), sampler).attribute(x, target=0, n_draws=12, seed=0)
    torch.testing.assert_close(dist.predictions.outputs, outputs)


class Statistics(nn.Module):
    """A norm written by hand, which needs more than a row in train mode."""

    def forward(self, x):
        return F.batch_norm(x.flatten(1), torch.zeros(48), torch.ones(48), training=self.training)


def test_a_network_that_runs_in_eval_mode_alone_says_what_may_draw():
    x = torch.randn(4, 6, 8)
    model = nn.Sequential(Statistics(), nn.Dropout(0.5), nn.Linear(48, 3)).eval()
    uq = StochasticAttribution(Saliency(model), MCDropout())
    with pytest.raises(
        DrawError, match=r"once in train mode, on one row, .*Expected more than 1 value.*modules=nn.Dropout"
    ):
        uq.attribute(x, target=0, n_draws=2, seed=0)
    assert MCDropout(model, modules=nn.Dropout).outputs(x, 2).std(0).max() > 0
    with pytest.raises(ValueError, match=r"^Expected more than 1 value"):  # wrong in eval mode too: torch's to say
        MCDropout(model).outputs(torch.randn(4, 5), 2)


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm], ids=lambda norm: norm.__name__)
@pytest.mark.parametrize("name", ["MCDropout", "NoiseGrad", "InputNoise", "Ensemble of modules", "SWAG"])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_weights_that_hooks_compute_are_no_obstacle_and_keep_their_values(name, norm):
    kind = NETWORKS["perceptron"]
    model, x = kind.network(), kind.inputs(4)
    norm(model.hidden)
    with torch.no_grad():
        model(x)  # whose weight can be copied
    sampler = SAMPLERS[name].make(model)
    model(x).sum().backward()
    with torch.no_grad():
        model(x)
    before = model.hidden.weight.clone()
    outputs = sampler.outputs(x, 3, seed=2, model=model)
    assert torch.equal(model.hidden.weight, before)
    model(x).sum().backward()
    expected = torch.stack([sampler.network(t, x, seed=2, model=model)(x) for t in range(3)])
    torch.testing.assert_close(outputs, expected.detach())


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        self.count += 1
        return self.head(x)


def test_a_buffer_is_what_it_was_after_any_look_at_the_predictions():
    model, x = Counts(), torch.randn(5, 4)
    sampler = NoiseGrad(model, std=0.01)
    sampler.outputs(x, 3)
    sampler.agreement(x, 3)
    sampler.predictive()(x)
    sampler.network(0, x)
    assert model.count == 0


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return {"logits": self.head(x)}


@pytest.mark.parametrize("ask", ["outputs", "agreement"])
def test_outputs_of_draws_are_one_tensor(ask):
    with pytest.raises(TypeError, match="Named must return one tensor, got a dict. Wrap it"):
        getattr(NoiseGrad(Named()), ask)(torch.randn(2, 4), 2)


def test_numbers_may_be_numpys():
    kind = NETWORKS["perceptron"]
    model, x = kind.network(), kind.inputs(2)
    sampler = MCDropout(model, p=np.float32(0.25))
    assert repr(sampler) == "MCDropout(p=0.25)"
    assert torch.equal(sampler.outputs(x, np.int64(3), seed=np.int64(1)), sampler.outputs(x, 3, seed=1))
    dist = StochasticAttribution(Saliency(model), sampler).attribute(x, target=0, n_draws=np.int64(3), seed=1)
    assert (type(dist.n_draws), dist.n_draws) == (int, 3)
    with pytest.raises(ValueError, match=r"got None. Pass such a number; attribute\(seed=None\) alone"):
        sampler.outputs(x, 3, seed=None)
