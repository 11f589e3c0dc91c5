"""The prediction side as a result carries it."""

import warnings

import pytest
import torch
from captum import attr

from captum_uq import DistributionAttribution, StochasticAttribution
from captum_uq.samplers import DisagreementWarning, Ensemble, NoiseGrad
from samplers.table import NETWORKS

KIND = NETWORKS["perceptron"]


def result(std=0.5, target=0, n_draws=30, **options):
    network, x = KIND.network(), KIND.inputs(6)
    uq = StochasticAttribution(attr.Saliency(network), NoiseGrad(std=std))
    return network, x, uq.attribute(x, target=target, n_draws=n_draws, seed=0, **options)


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
    network, x, dist = result(target=target, n_draws=10, execution="loop")
    sampler = NoiseGrad(std=0.5)
    for t in range(10):
        oracle = sampler.network(t, model=network, seed=0)
        classes = (oracle if target == "draw" else network)(x).argmax(1)
        assert torch.equal(dist.draws[t], attr.Saliency(oracle).attribute(x, target=classes))
    assert torch.equal(dist.deterministic, attr.Saliency(network).attribute(x, target=network(x).argmax(1)))
    assert dist.target == "draw" if target == "draw" else torch.equal(dist.target, network(x).argmax(1))


def attributed(network, x, sampler, **options):
    """A result, and the warnings that came with it."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        dist = StochasticAttribution(attr.Saliency(network), sampler).attribute(x, seed=0, **options)
    return dist, [warning for warning in found if warning.category is DisagreementWarning]


@pytest.mark.parametrize("std", [0.01, 0.3, 1.0, 3.0, 30.0])
def test_a_result_warns_once_where_most_of_its_draws_disagree(std):
    network, x = KIND.network(), 3 * KIND.inputs(40)
    dist, found = attributed(network, x, NoiseGrad(std=std), target=0, n_draws=20)
    drawn = [NoiseGrad(std=std).network(t, model=network, seed=0)(x).argmax(1) for t in range(20)]
    share = (torch.stack(drawn) == network(x).argmax(1)).double().mean().item()
    assert dist.predictions.agreement().share == pytest.approx(share)
    assert len(found) == (share < 0.5)
    for warning in found:
        assert f"Only {share:.0%} of the predictions of NoiseGrad(std={std})" in str(warning.message)
        assert "smaller std" in str(warning.message)
        assert warning.filename == __file__


def test_the_warning_needs_classes_enough_draws_and_predictions():
    network, x, target = KIND.network(), 3 * KIND.inputs(40), {"target": 0}
    wild = NoiseGrad(std=30.0)
    assert len(attributed(network, x, wild, n_draws=10, **target)[1]) == 1
    assert not attributed(network, x, wild, n_draws=9, **target)[1]
    assert not attributed(network, x, wild, n_draws=20, return_predictions=False, **target)[1]
    flat = torch.nn.Sequential(torch.nn.Linear(5, 1), torch.nn.Flatten(0))
    maps = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Unflatten(1, (3, 2)))
    for other, options in ((flat, {}), (maps, {"target": (0, 0)})):
        assert not attributed(other, x, wild, n_draws=20, **options)[1]
    score, opposite = torch.nn.Linear(5, 1, bias=False), torch.nn.Linear(5, 1, bias=False)  # a sign may mean nothing
    opposite.weight.data = -score.weight.data
    assert not attributed(score, x, Ensemble([score] + [opposite] * 11), **target)[1]


def test_half_of_the_draws_is_not_most():
    """An ensemble of networks that say the class of the model, and of networks that say another."""
    agrees, disagrees = torch.nn.Linear(1, 2, bias=False), torch.nn.Linear(1, 2, bias=False)
    agrees.weight.data, disagrees.weight.data = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]])
    for count in (5, 6):
        stored = Ensemble([agrees] * (10 - count) + [disagrees] * count)
        dist, found = attributed(agrees, torch.ones(3, 1), stored, target=0)
        assert (dist.predictions.agreement().share, len(found)) == (pytest.approx(1 - count / 10), int(count > 5))
