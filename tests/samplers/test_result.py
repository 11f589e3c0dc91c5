"""The prediction side as a result carries it."""

import pytest
import torch
from captum import attr

from captum_uq import DistributionAttribution, StochasticAttribution
from captum_uq.samplers import NoiseGrad
from samplers.table import NETWORKS

KIND = NETWORKS["perceptron"]


def result(std=0.5, target=0, n_draws=30):
    network, x = KIND.network(), KIND.inputs(6)
    uq = StochasticAttribution(attr.Saliency(network), NoiseGrad(std=std))
    return network, x, uq.attribute(x, target=target, n_draws=n_draws, seed=0)


def test_a_result_carries_the_agreement_and_the_summaries_of_its_predictions():
    network, x, dist = result()
    own = network(x).argmax(1)
    expected = (dist.predictions.classes() != own).float().mean(0)
    torch.testing.assert_close(dist.predictions.flip_rate(), expected)
    assert dist.predictions.agreement().share == pytest.approx(1 - expected.mean().item())
    assert dist.predictions.entropy().shape == dist.predictions.mutual_information().shape == (6,)
    torch.testing.assert_close(dist[2:4].predictions.flip_rate(), expected[2:4])
    torch.testing.assert_close(dist[2].predictions.flip_rate(), expected[2])


def test_a_file_keeps_the_agreement(tmp_path):
    _, _, dist = result()
    dist.save(tmp_path / "dist.pt")
    loaded = DistributionAttribution.load(tmp_path / "dist.pt")
    assert loaded.predictions.agreement().share == dist.predictions.agreement().share


def test_given_restricts_a_result_to_the_draws_of_one_prediction():
    _, _, dist = result()
    classes = dist.predictions.classes()
    row = next(row for row in range(6) if len(classes[:, row].unique()) > 1)
    for prediction in classes[:, row].unique().tolist():
        given = dist[row].given(prediction=prediction)
        assert torch.equal(given.draws, dist.draws[classes[:, row] == prediction][:, row])
        assert given.predictions.classes().unique().tolist() == [prediction]


@pytest.mark.parametrize("target", ["draw", "predicted"])
def test_targets_that_the_network_names_itself(target):
    network, x, dist = result(target=target, n_draws=10)
    sampler = NoiseGrad(std=0.5)
    for t in range(10):
        oracle = sampler.network(t, model=network, seed=0)
        classes = (oracle if target == "draw" else network)(x).argmax(1)
        assert torch.equal(dist.draws[t], attr.Saliency(oracle).attribute(x, target=classes))
    assert torch.equal(dist.deterministic, attr.Saliency(network).attribute(x, target=network(x).argmax(1)))
    assert dist.target == "draw" if target == "draw" else torch.equal(dist.target, network(x).argmax(1))
