"""What is read from the outputs: every score against scipy, every form of target, the additional arguments."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from captum_uq.metrics import deletion, pixel_flipping

N, F = 5, 6
INPUTS = torch.randn(N, F, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
MAPS = torch.randn(N, F, generator=torch.Generator().manual_seed(1))
WEIGHTS = torch.randn(F, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
TARGET = torch.tensor([3, 0, 1, 2, 2])


def model(inputs):
    return inputs @ WEIGHTS


def perturbed():
    """Every row, by hand, shape (N, F + 1, F)."""
    places = np.argsort(np.argsort(-MAPS.numpy(), axis=1), axis=1)
    return np.where(places[:, None] < np.arange(F + 1)[:, None], 0.0, INPUTS.numpy()[:, None])


def outputs():
    """Outputs of every row, by hand, shape (N, F + 1, 4)."""
    return perturbed() @ WEIGHTS.numpy()


def picked(values):
    return np.take_along_axis(values, TARGET.numpy()[:, None, None], axis=2)[..., 0]


def margin(values):
    others = np.where(np.arange(4) == TARGET.numpy()[:, None, None], -np.inf, values)
    return picked(values) - others.max(2)


BY_HAND = {
    "output": picked,
    "softmax": lambda values: picked(softmax(values, axis=2)),
    "log_softmax": lambda values: picked(log_softmax(values, axis=2)),
    "margin": margin,
}


@pytest.mark.parametrize("score", BY_HAND)
def test_scores_are_their_formulas(score):
    curve = deletion(model, INPUTS, MAPS, target=TARGET, n_steps=F, score=score)
    np.testing.assert_allclose(curve.scores, BY_HAND[score](outputs()), rtol=0, atol=1e-12)
    assert curve.score == score


def test_a_function_scores_rows_with_their_targets():
    def entropy_of_the_rest(values, target):
        assert target.shape == (len(values),)
        return values.scatter(1, target.unsqueeze(1), 0.0).sum(1)

    curve = deletion(model, INPUTS, MAPS, target=TARGET, n_steps=F, score=entropy_of_the_rest)
    np.testing.assert_allclose(curve.scores, outputs().sum(2) - picked(outputs()), rtol=0, atol=1e-12)
    assert curve.score == "entropy_of_the_rest"
    total = deletion(model, INPUTS, MAPS, n_steps=F, score=lambda values, target: values.sum(1))
    np.testing.assert_allclose(total.scores, outputs().sum(2), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "target",
    [2, (2,), torch.tensor(2), torch.tensor([2]), torch.full((N,), 2), [2] * N, [(2,)] * N, np.int64(2)],
    ids=repr,
)
def test_every_form_of_target_that_captum_takes_selects_the_same(target):
    expected = deletion(lambda x: model(x)[:, 2], INPUTS, MAPS, n_steps=F)
    assert torch.equal(deletion(model, INPUTS, MAPS, target=target, n_steps=F).scores, expected.scores)


@pytest.mark.parametrize("target", [(1, 0), [(1, 0)] * N], ids=["tuple", "list of tuples"])
def test_a_tuple_selects_from_outputs_with_more_dimensions(target):
    expected = deletion(lambda x: model(x)[:, 2], INPUTS, MAPS, n_steps=F)
    curve = deletion(lambda x: model(x).view(-1, 2, 2), INPUTS, MAPS, target=target, n_steps=F)
    assert torch.equal(curve.scores, expected.scores)


@pytest.mark.parametrize("limit", [1, 7, 256])
def test_additional_arguments_follow_their_example(limit):
    seen = []

    def forward(inputs, own, shared, flag, empty):
        seen.append((own.shape[0] == len(inputs), shared.shape, flag, empty))
        return inputs.sum(1) * own + shared.sum()

    own, shared = torch.arange(5.0).double(), torch.ones(3)
    curve = pixel_flipping(
        forward, INPUTS, MAPS, None, (own, shared, "flag", None), n_steps=F, max_examples_per_batch=limit
    )
    np.testing.assert_allclose(curve.scores[:, 0], INPUTS.sum(1) * own + 3, rtol=1e-12)
    assert set(seen) == {(True, torch.Size([3]), "flag", None)}
    single = pixel_flipping(lambda x, own: x.sum(1) * own, INPUTS, MAPS, None, own, n_steps=F)
    np.testing.assert_allclose(single.scores[:, -1], 0.0)


def test_outputs_of_integers_are_scored_as_floats():
    curve = deletion(lambda x: (x > 0).sum(1), INPUTS, MAPS, n_steps=F)
    assert curve.scores.dtype == torch.float32
    assert curve.scores[:, 0].tolist() == (INPUTS > 0).sum(1).tolist()


@pytest.mark.parametrize("limit", [1, 4, 256])
def test_a_function_that_differentiates_inside_does_so_under_enable_grad(limit):
    def squared_slope(rows):
        with torch.enable_grad():
            rows = rows.detach().requires_grad_()
            (slope,) = torch.autograd.grad((rows @ WEIGHTS).sin().sum(), rows)
            return slope.square().sum(1) + 0 * rows.sum(1)

    found = deletion(squared_slope, INPUTS, MAPS, n_steps=F, max_examples_per_batch=limit).scores
    slopes = np.cos(outputs()) @ WEIGHTS.numpy().T
    np.testing.assert_allclose(found, (slopes**2).sum(-1))
    assert not found.requires_grad


INTEGERS = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


@pytest.mark.parametrize("dtype", [*INTEGERS, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_a_score_of_any_dtype_gives_the_curve_of_the_same_floats(dtype):
    def correct(outputs, target):
        return outputs.argmax(1) == target

    found, expected = (
        deletion(model, INPUTS, MAPS, target=TARGET, n_steps=F, score=lambda o, t, d=d: correct(o, t).to(d))
        for d in (dtype, torch.float32)
    )
    assert torch.equal(found.scores, expected.scores.to(found.scores))
    np.testing.assert_allclose(found.fractions, np.arange(F + 1) / F, rtol=1e-6)
    np.testing.assert_allclose(found.auc, expected.auc, rtol=1e-6)
    np.testing.assert_allclose(found.mean(), expected.mean(), rtol=1e-6)


@pytest.mark.parametrize("score", BY_HAND)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_outputs_of_half_precision_are_scored_in_float32(dtype, score):
    def half(rows):
        return model(rows).to(dtype)

    found, expected = (
        deletion(forward, INPUTS, MAPS, target=TARGET, n_steps=F, score=score).scores
        for forward in (half, lambda rows: half(rows).double())
    )
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
