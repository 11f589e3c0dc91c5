"""The prediction side: agreement, predictive summaries, draws of one class, each draw's own target."""

import contextlib
import copy
import warnings

import numpy as np
import pytest
import torch
from captum import attr
from scipy import stats as scipy_stats

from captum_uq import DistributionAttribution, StochasticAttribution
from captum_uq._rng import seed_global
from captum_uq.distribution.given import given_record
from captum_uq.distribution.predictions import Predictions
from captum_uq.execution.method import Call
from captum_uq.execution.targets import resolve
from captum_uq.samplers import DisagreementWarning, Ensemble, InputNoise, MCDropout, NoiseGrad
from samplers.table import NETWORKS, members

KIND = NETWORKS["perceptron"]


def outputs(draws=7, examples=4, classes=3):
    return torch.randn(draws, examples, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_agreement_is_the_share_of_predictions_that_are_the_networks_own():
    network, x = KIND.network(), KIND.inputs(40)
    labels = torch.arange(40) % 3
    sampler = NoiseGrad(std=0.3)
    found = sampler.agreement(x, 12, labels=labels, model=network, seed=1)
    nets = [sampler.network(t, model=network, seed=1) for t in range(12)]
    own, drawn = network(x).argmax(1), torch.stack([net(x).argmax(1) for net in nets])
    assert found.share == pytest.approx((drawn == own).double().mean().item())
    assert float(found) == found.share
    assert found.per_draw.tolist() == pytest.approx((drawn == own).double().mean(1).tolist())
    assert found.accuracy == pytest.approx((drawn == labels).double().mean().item())
    assert found.deterministic_accuracy == pytest.approx((own == labels).double().mean().item())
    assert f"{found.share:.3f} over 12 draws" in repr(found)


def test_a_sampler_whose_draws_mostly_disagree_warns_with_the_figure_and_the_remedy():
    network, x = KIND.network(), 3 * KIND.inputs(60)
    with pytest.warns(DisagreementWarning, match=r"Only \d+% of the predictions of NoiseGrad\(std=30.0\).*smaller std"):
        assert NoiseGrad(std=30.0).agreement(x, 40, model=network).share < 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert NoiseGrad(std=0.01).agreement(x, 40, model=network).share > 0.9


def test_agreement_is_about_classes():
    network, x = torch.nn.Sequential(torch.nn.Linear(5, 2), torch.nn.Flatten(0)), KIND.inputs(3)
    with pytest.raises(ValueError, match="For a regression"):
        NoiseGrad().agreement(x, 3, model=network)
    with pytest.raises(ValueError, match="one class for each of 3 inputs"):
        NoiseGrad().agreement(x, 3, model=KIND.network(), labels=torch.zeros(2))


def test_the_predictive_is_the_mean_over_the_same_draws_at_every_call():
    network, x = KIND.network(), KIND.inputs(5)
    sampler = MCDropout(network)
    predict = sampler.predictive(n_draws=6, seed=2, transform=lambda out: out.softmax(-1))
    expected = torch.stack([sampler.network(t, x, seed=2)(x).softmax(-1) for t in range(6)]).mean(0)
    torch.testing.assert_close(predict(x), expected.detach())
    torch.testing.assert_close(predict(x[2:3]), expected[2:3].detach())
    raw = Ensemble(members(network)).predictive(network)
    torch.testing.assert_close(raw(x), torch.stack([net(x) for net in members(network)]).mean(0).detach())


def test_summaries_of_predictions_follow_their_formulas():
    logits = outputs()
    p = torch.softmax(logits, -1).numpy()
    for given in (logits, torch.as_tensor(p)):
        found = Predictions.of(given)
        np.testing.assert_allclose(found.predictive(), p.mean(0))
        total = scipy_stats.entropy(p.mean(0), axis=-1)
        np.testing.assert_allclose(found.entropy(), total)
        np.testing.assert_allclose(found.mutual_information(), total - scipy_stats.entropy(p, axis=-1).mean(0))
        np.testing.assert_allclose(found.expectation(), given.numpy().mean(0))
        np.testing.assert_allclose(found.variance(), given.numpy().var(0, ddof=1))
        assert torch.equal(found.classes(), given.argmax(-1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("classes", [1, 3])
def test_summaries_of_predictions_lose_no_more_than_their_dtype_rounds(dtype, classes):
    """A mutual information is the small difference of two large entropies."""
    own = outputs(1, 6, classes)
    given = (own + 0.1 * outputs(300, 6, classes)).to(dtype)
    found, expected = Predictions.of(given, own[0]), Predictions.of(given.double(), own[0])
    names = ("mutual_information", "entropy", "predictive", "probabilities", "flip_rate", "expectation", "variance")
    for name in names:
        result, exact = getattr(found, name)(), getattr(expected, name)()
        assert result.dtype == dtype
        np.testing.assert_allclose(result.double(), exact, rtol=2 * torch.finfo(dtype).eps, atol=2e-7, err_msg=name)


def test_the_flip_rate_counts_against_the_network_or_the_most_frequent_class():
    logits = torch.eye(3)[torch.tensor([[0, 1], [0, 1], [2, 0]])]
    assert Predictions.of(logits).flip_rate().tolist() == pytest.approx([1 / 3, 1 / 3])
    own = Predictions.of(logits, deterministic=torch.eye(3)[[2, 0]])
    assert own.flip_rate().tolist() == pytest.approx([2 / 3, 2 / 3])
    assert own.agreement().share == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match=r"sampler\.agreement"):
        Predictions.of(logits).agreement()


def test_one_output_is_the_score_of_class_one():
    logits = torch.tensor([[[-1.0], [2.0]], [[1.0], [3.0]]])
    found = Predictions.of(logits)
    assert found.classes().tolist() == [[0, 1], [1, 1]]
    torch.testing.assert_close(found.probabilities()[..., 1], logits[..., 0].sigmoid())
    assert Predictions.of(logits.sigmoid()).classes().tolist() == [[0, 1], [1, 1]]
    with pytest.raises(ValueError, match="variance"):
        Predictions.of(torch.ones(4)).entropy()


def test_one_output_is_read_alike_in_every_draw_and_example_and_by_the_network_itself():
    """Logits of one example may all lie in [0, 1], and are logits still."""
    logits, own = torch.tensor([[[0.3], [-2.0]], [[0.4], [1.0]], [[0.2], [-1.0]]]), torch.tensor([[0.3], [-1.5]])
    dist = DistributionAttribution(torch.rand(3, 2, 4), predictions=logits, own_predictions=own)
    merged = dist[:1].merge(dist[:1])
    for one in (dist[0], dist[:1], dist[[0]][0], merged, dist[0].map(torch.abs), copy.deepcopy(dist[0])):
        assert set(one.predictions.classes().flatten().tolist()) == {1}
        assert one.predictions.flip_rate().item() == 0
        torch.testing.assert_close(one.predictions[-1:].sigmoid(), one.predictions.probabilities()[-1:, ..., 1:])
    assert dist[0].given(prediction=1).given(prediction=1).n_draws == 3
    whole = DistributionAttribution(torch.rand(3, 1, 4), predictions=torch.tensor([[[0.3]], [[-2.0]], [[0.4]]]))
    assert whole.given(prediction=1).predictions.classes().tolist() == [[1], [1]]
    assert dist[:1].predictions.agreement(torch.tensor([1])).accuracy == 1
    assert dist.predictions.agreement().per_draw.tolist() == [1, 0.5, 1]
    alone = Predictions.of(logits[:, :1], deterministic=torch.tensor([[-0.1]]))
    assert (alone.flip_rate().item(), alone.agreement().share) == (1, 0)


SHAPES_WITHOUT_CLASSES = {
    "a regression": ((6, 4), (4,)),
    "positions": ((6, 4, 7, 3), (4, 7, 3)),
    "pictures": ((6, 4, 3, 5, 5), (4, 3, 5, 5)),
}


@pytest.mark.parametrize("shapes", SHAPES_WITHOUT_CLASSES.values(), ids=SHAPES_WITHOUT_CLASSES.keys())
def test_outputs_that_are_not_those_of_a_classifier_have_no_classes(shapes):
    outputs, own = map(torch.randn, shapes)
    dist = DistributionAttribution(torch.rand(6, 4, 2), predictions=outputs, own_predictions=own)
    for one in (dist, dist[1], dist[1:2]):
        summaries = one.predictions
        assert summaries.variance().shape == one.predictions.shape[1:]
        for ask in (summaries.classes, summaries.entropy, summaries.flip_rate, summaries.mutual_information):
            with pytest.raises(ValueError, match=r"a classifier, \(T, N, C\), got shape .*For a regression, look at"):
                ask()
    for one in (dist[1], dist[1:2]):
        with pytest.raises(ValueError, match="a draw predicts no one class"):
            one.given(prediction=1)
    asked = Predictions.of(torch.randn(6, 4, 3, 7).movedim(2, -1))
    assert asked.entropy().shape == (4, 7)


def test_predictions_are_copied_with_what_is_known_of_them():
    dist = DistributionAttribution(
        torch.rand(3, 2, 4), predictions=torch.rand(3, 2, 1), own_predictions=torch.rand(2, 1)
    )
    for predictions in (dist.predictions, dist[0].predictions):
        twin = copy.deepcopy(predictions)
        assert torch.equal(twin, predictions)
        assert torch.equal(twin.deterministic, predictions.deterministic)
        assert (twin.of_classes, twin.of_probabilities) == (True, True)
        assert twin.data_ptr() != predictions.data_ptr()
    with pytest.raises(TypeError, match="predictions are a tensor"):
        DistributionAttribution(torch.rand(3, 2, 4), predictions=[1, 2, 3])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_probabilities_are_told_from_logits_in_every_precision(dtype, classes):
    logits = 4 * outputs(5, 40, classes).to(dtype)
    assert Predictions.of(logits.softmax(-1)).of_probabilities
    assert not Predictions.of(logits.abs()).of_probabilities
    assert not Predictions.of(logits.softmax(-1), deterministic=logits[0]).of_probabilities


def test_predictions_are_a_tensor_whose_operations_are_plain():
    found = Predictions.of(outputs())
    assert isinstance(found, torch.Tensor)
    assert torch.equal(found, outputs())
    assert type(found + 1) is type(found[0]) is type(found.mean(0)) is torch.Tensor


def test_draws_of_one_class_are_those_that_predicted_it():
    network, x = KIND.network(), KIND.inputs(4)
    uq = StochasticAttribution(attr.Saliency(network), NoiseGrad(std=0.8))
    dist = uq.attribute(x, target=0, n_draws=40, seed=0)
    classes = dist.predictions.argmax(-1)
    row = next(row for row in range(4) if len(classes[:, row].unique()) > 1)
    for prediction in classes[:, row].unique().tolist():
        expected = dist.draws[classes[:, row] == prediction]
        for one, picked in ((dist[row], expected[:, row]), (dist[row : row + 1], expected[:, row : row + 1])):
            restricted = DistributionAttribution._of(given_record(one._record, prediction))
            assert torch.equal(restricted.draws, picked)
            assert set(restricted.predictions.argmax(-1).flatten().tolist()) == {prediction}


def test_draws_of_one_class_need_predictions_of_one_example():
    dist = DistributionAttribution(torch.rand(3, 2, 4), predictions=torch.eye(3)[:, None].repeat(1, 2, 1))
    with pytest.raises(ValueError, match="Index one first"):
        given_record(dist._record, 0)
    with pytest.raises(ValueError, match=r"No draw predicted class 5; .* \{0: 1, 1: 1, 2: 1\}"):
        given_record(dist[0]._record, 5)
    with pytest.raises(ValueError, match="return_predictions=True"):
        given_record(DistributionAttribution(torch.rand(3, 1, 4))._record, 0)


@pytest.mark.parametrize("by_position", [False, True])
@pytest.mark.parametrize("method", [attr.Saliency, attr.IntegratedGradients, attr.GradientShap])
def test_the_target_draw_is_each_draws_own_prediction(method, by_position):
    network, x = KIND.network(), KIND.inputs(6)
    made, baselines = method(network), torch.zeros(2, 5)
    named = {"baselines": baselines} if method is attr.GradientShap else {}
    by_position &= method is attr.Saliency
    call = Call(made, (x, "draw") if by_position else (x,), named | ({} if by_position else {"target": "draw"}))
    _, run = resolve(call, contextlib.nullcontext)
    sampler, flips = NoiseGrad(std=0.8), 0
    for t in range(6):
        oracle = sampler.network(t, model=network, seed=3)
        own = oracle(x).argmax(1)
        flips += int((own != network(x).argmax(1)).sum())
        seed_global(7)
        expected = method(oracle).attribute(x, target=own, **named)
        seed_global(7)
        with sampler.draw(t, x, model=network, seed=3):
            assert torch.equal(run(call), expected)
    assert flips > 0


def test_the_target_predicted_is_what_the_network_as_it_stands_predicts():
    network, x = KIND.network(), KIND.inputs(6)
    call, run = resolve(Call(attr.Saliency(network), (x,), {"target": "predicted"}), contextlib.nullcontext)
    assert torch.equal(call.argument("target"), network(x).argmax(1))
    assert torch.equal(run(call), attr.Saliency(network).attribute(x, target=network(x).argmax(1)))


def test_other_targets_are_captums():
    network, x = KIND.network(), KIND.inputs(2)
    for target in ([0, 1], 1, None):
        call = Call(attr.Saliency(network), (x,), {"target": target})
        assert resolve(call, contextlib.nullcontext)[0] is call
    for text in ("draw", "a text, of a language model"):
        prompt = Call(attr.Saliency(network), ("not a tensor",), {"target": text})
        assert resolve(prompt, contextlib.nullcontext)[0] is prompt
    with pytest.raises(ValueError, match="'predicted' or 'draw', got 'other'"):
        resolve(Call(attr.Saliency(network), (x,), {"target": "other"}), contextlib.nullcontext)
    score = Call(attr.Saliency(lambda y: network(y)[:, 0]), (x,), {"target": "draw"})
    with pytest.raises(ValueError, match=r"outputs \(N, C\)"):
        resolve(score, contextlib.nullcontext)[1](score)
    assert call.with_argument("target", 2).kwargs == {"target": 2}


def test_a_compose_and_a_noise_say_whether_they_are_a_posterior():
    assert (MCDropout().kind, InputNoise().kind, NoiseGrad().kind) == ("posterior", "perturbation", "perturbation")
