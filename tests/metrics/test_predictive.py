"""The posterior predictive mean as the score: curves are the mean over draws of each draw's own network, by hand."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from captum_uq.metrics import UniformNoise, compare, deletion, insertion, pixel_flipping, summary_curves
from captum_uq.samplers import InputNoise, MCDropout, NoiseGrad, Unchanged
from samplers.table import NETWORKS, SAMPLERS

KIND, T, N = NETWORKS["perceptron"], 3, 4
TARGET = torch.tensor([0, 1, 2, 0])
MAPS = torch.randn(N, 5, generator=torch.Generator().manual_seed(3))
PREDICTED = {
    "outputs": ({}, lambda outputs: outputs),
    "softmax": ({"transform": lambda outputs: outputs.softmax(-1)}, lambda outputs: outputs.softmax(-1)),
}


def removed(inputs, maps, kept):
    """Rows (N, K + 1, 5) with the most relevant features at 0.5 (kept: all but them), by a loop."""
    rows = []
    for example, order in zip(inputs, maps.argsort(1, descending=True), strict=True):
        steps = [example.clone() if not kept else torch.full_like(example, 0.5)]
        for feature in order:
            steps.append(steps[-1].clone())
            steps[-1][feature] = example[feature] if kept else 0.5
        rows.append(torch.stack(steps))
    return torch.stack(rows)


def by_hand(sampler, network, rows, view, seed):
    """Mean over draws of what each draw's own network says of each row, for its target, shape (N, K + 1)."""
    flat = rows.flatten(0, 1)
    draws = [sampler.network(t, flat, model=network, seed=seed)(flat) for t in range(T)]
    mean = torch.stack([view(outputs) for outputs in draws]).mean(0).detach()
    return mean.gather(1, TARGET.repeat_interleave(rows.shape[1]).unsqueeze(1)).view(rows.shape[:2])


@pytest.mark.parametrize("measure", [deletion, insertion])
@pytest.mark.parametrize("predicted", PREDICTED)
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_curve_is_the_mean_over_the_networks_of_the_draws(name, predicted, measure):
    network, inputs = KIND.network(), KIND.inputs(N)
    sampler, (options, view) = SAMPLERS[name](network), PREDICTED[predicted]
    predict = sampler.predictive(network, T, seed=7, **options)
    curve = measure(predict, inputs, MAPS, 0.5, target=TARGET, n_steps=5)
    expected = by_hand(sampler, network, removed(inputs, MAPS, measure is insertion), view, seed=7)
    np.testing.assert_allclose(curve.scores, expected, rtol=0, atol=1e-6)
    plain = measure(network, inputs, MAPS, 0.5, target=TARGET, n_steps=5)
    assert not np.allclose(curve.scores, plain.scores, atol=1e-4)


@pytest.mark.parametrize("kind", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_curve_is_the_same_for_any_chunk_and_any_batch(name, kind):
    network, inputs = kind.network(), kind.inputs(N)
    maps = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(4))
    predict = SAMPLERS[name](network).predictive(network, T, seed=1)
    options = {"n_steps": 4, "perturb_func": UniformNoise(), "seed": 2}
    whole = pixel_flipping(predict, inputs, maps, target=TARGET, **options).scores
    for limit in (1, 7):
        part = pixel_flipping(predict, inputs, maps, target=TARGET, max_examples_per_batch=limit, **options)
        np.testing.assert_allclose(part.scores, whole, rtol=0, atol=1e-6)
    alone = pixel_flipping(predict, inputs[2:3], maps[2:3], target=TARGET[2:3], **options)
    np.testing.assert_allclose(alone.scores[0], whole[2], rtol=0, atol=1e-6)


@pytest.mark.parametrize("sampler", [MCDropout(), NoiseGrad(), InputNoise(std=0.2)], ids=repr)
def test_the_seed_of_the_draws_alone_decides_which_networks_score(sampler):
    network, inputs = KIND.network(), KIND.inputs(N)

    def scores(seed):
        return deletion(sampler.predictive(network, T, seed=seed), inputs, MAPS, target=TARGET, n_steps=5).scores

    before = torch.get_rng_state()
    first = scores(0)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)
    assert torch.equal(scores(0), first)
    assert not torch.allclose(scores(1), first, atol=1e-4)


def test_a_network_left_in_train_mode_scores_as_its_draws_do_and_stays_there():
    network, inputs = KIND.network(), KIND.inputs(N)
    expected = deletion(MCDropout().predictive(network, T), inputs, MAPS, target=TARGET, n_steps=5)
    state = copy.deepcopy(network.train().state_dict())
    curve = deletion(MCDropout().predictive(network, T), inputs, MAPS, target=TARGET, n_steps=5)
    assert torch.equal(curve.scores, expected.scores)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("score", ["output", "softmax", "log_softmax", "margin"])
def test_one_draw_of_the_unchanged_network_is_the_network(score):
    network, inputs = KIND.network(), KIND.inputs(N)
    predict = Unchanged().predictive(network, 1)
    curve = deletion(predict, inputs, MAPS, target=TARGET, n_steps=5, score=score)
    expected = deletion(network, inputs, MAPS, target=TARGET, n_steps=5, score=score)
    assert torch.equal(curve.scores, expected.scores)


class Holder:
    """Draws of an attribution, and nothing else."""

    draws = torch.randn(6, N, 5, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("mode", ["deletion", "insertion"])
def test_summaries_are_scored_by_the_same_networks_and_compared(mode):
    network, inputs = KIND.network(), KIND.inputs(N)
    predict = MCDropout().predictive(network, T, seed=3, transform=lambda outputs: outputs.softmax(-1))
    options = {"target": TARGET, "n_steps": 5, "mode": mode}
    curves = summary_curves(predict, inputs, Holder(), ("mean", "percentile:50"), per_draw=True, **options)
    flipped = {"mean": Holder.draws.mean(0), "percentile:50": Holder.draws.quantile(0.5, dim=0)}
    for name, maps in flipped.items():
        assert torch.equal(curves[name].scores, pixel_flipping(predict, inputs, maps, **options).scores)
    for t in range(6):
        expected = pixel_flipping(predict, inputs, Holder.draws[t], **options)
        assert torch.equal(curves["draws"].scores[t], expected.scores)
    assert {row.n for row in compare(curves, "mean", n_resamples=99)} == {N}


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 6), nn.Linear(3, 6)
        self.dropout, self.head = nn.Dropout(), nn.Linear(6, 3)

    def forward(self, first, second, scale, sign):
        hidden = self.dropout(torch.relu(self.first(first) + self.second(second)))
        return self.head(hidden) * scale.unsqueeze(1) * sign


@pytest.mark.parametrize("limit", [1, 7, 256])
@pytest.mark.parametrize("sampler", [MCDropout(), NoiseGrad()], ids=repr)
def test_tuples_of_inputs_and_further_arguments_reach_every_draw(sampler, limit):
    network, inputs = Two().eval(), (torch.randn(N, 4), torch.randn(N, 3))
    extra = torch.arange(1.0, N + 1), -1.0
    predict = sampler.predictive(network, T, seed=1)
    options = {"target": TARGET, "n_steps": 7, "max_examples_per_batch": limit}
    curve = deletion(predict, inputs, (torch.randn(N, 4), torch.randn(N, 3)), None, extra, **options)
    shown = {"model": network, "seed": 1, "additional_forward_args": extra}
    for column, rows in ((0, inputs), (-1, tuple(torch.zeros_like(x) for x in inputs))):
        draws = [sampler.network(t, inputs, **shown)(*rows, *extra) for t in range(T)]
        expected = torch.stack(draws).mean(0).gather(1, TARGET.unsqueeze(1)).flatten().detach()
        np.testing.assert_allclose(curve.scores[:, column], expected, rtol=0, atol=1e-6)
