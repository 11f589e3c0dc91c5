"""What a curve must not depend on: the batch, the chunk, the step, the map under test, the process."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from captum_uq.metrics import (
    ChannelMean,
    GaussianBlur,
    NoisyLinearImputation,
    UniformNoise,
    deletion,
    insertion,
    pixel_flipping,
)

FILLS = {
    "constant": {"baselines": 0.3},
    "mean": {"perturb_func": ChannelMean()},
    "noise": {"perturb_func": UniformNoise(0.2, 0.5)},
    "blur": {"perturb_func": GaussianBlur(5, 2.0)},
    "imputation": {"perturb_func": NoisyLinearImputation(0.1)},
    "function": {"perturb_func": lambda rows, flipped: torch.where(flipped, rows.flip(-1), rows)},
}
ORDERS = {"map": {}, "random order": {"order": "random"}, "random ties": {"tie_break": "random"}}
SHAPE = (3, 6, 5)


class Recorder:
    """A small network that keeps every row it is shown; no module, which would be tried in another layout first."""

    def __init__(self):
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)).eval()
        self.seen = []

    def __call__(self, inputs):
        self.seen.append(inputs.clone())
        return self.net(inputs)

    def rows(self):
        rows, self.seen = torch.cat(self.seen), []
        return rows


def batch(n=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(4, (n, 1, *SHAPE[1:]), generator=generator).float()  # with many ties
    return torch.randn(n, *SHAPE, generator=generator), maps, torch.arange(n) % 3


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
def test_chunking_changes_no_perturbed_input_and_no_score(fill, order):
    inputs, maps, target = batch()
    model = Recorder()
    whole = pixel_flipping(model, inputs, maps, target=target, n_steps=7, **fill, **order)
    rows = model.rows()
    for limit in (1, 7, 13):
        part = pixel_flipping(
            model, inputs, maps, target=target, n_steps=7, max_examples_per_batch=limit, **fill, **order
        )
        assert max(len(seen) for seen in model.seen) == limit
        assert torch.equal(model.rows(), rows)
        np.testing.assert_allclose(part.scores, whole.scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("groups", [None, "as many", "of each example"])
@pytest.mark.parametrize("block_bytes", [1, 4000, 2**22])
def test_rows_built_in_any_blocks_are_the_same(monkeypatch, block_bytes, groups):
    inputs, maps, target = batch()
    mask = torch.arange(30).view(1, 1, 6, 5).repeat(5, 1, 1, 1) // 2
    if groups == "of each example":
        mask[1:3] //= 2
    model, options = Recorder(), {"target": target, "n_steps": 7, "feature_mask": None if groups is None else mask}
    whole = pixel_flipping(model, inputs, maps, **options)
    rows = model.rows()
    monkeypatch.setattr("captum_uq.metrics._rows._BLOCK_BYTES", block_bytes)
    for limit in (1, 3, 7, 13):
        part = pixel_flipping(model, inputs, maps, max_examples_per_batch=limit, **options)
        assert {len(seen) for seen in model.seen[:-1]} == {limit}
        assert torch.equal(model.rows(), rows)
        np.testing.assert_allclose(part.scores, whole.scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("limit", [1, 7, 256])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
def test_the_curve_of_an_example_is_the_same_alone_and_in_any_batch(fill, order, limit):
    inputs, maps, target = batch()
    model = Recorder().net
    options = dict(n_steps=6, max_examples_per_batch=limit, **fill, **order)
    together = pixel_flipping(model, inputs, maps, target=target, **options).scores
    shuffle = torch.tensor([3, 0, 4, 1, 2])
    moved = pixel_flipping(model, inputs[shuffle], maps[shuffle], target=target[shuffle], **options).scores
    np.testing.assert_allclose(moved, together[shuffle], rtol=0, atol=1e-6)
    for i in range(len(inputs)):
        alone = pixel_flipping(model, inputs[i : i + 1], maps[i : i + 1], target=target[i : i + 1], **options)
        np.testing.assert_allclose(alone.scores[0], together[i], rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_the_curve_of_an_example_with_groups_of_its_own_is_the_same_alone(order):
    """As superpixels are: other ids, and another number of them, in each picture."""
    inputs, maps, _ = batch(4)
    cut = [(3, 0), (7, 1), (4, 9), (5, 0)]
    masks = torch.stack([torch.arange(30).view(1, 6, 5) // size + first for size, first in cut])
    given = {"n_steps": 3, "target": 1, **order}
    together = pixel_flipping(Recorder().net, inputs, maps, feature_mask=masks, **given)
    for i in range(len(inputs)):
        one = slice(i, i + 1)
        alone = pixel_flipping(Recorder().net, inputs[one], maps[one], feature_mask=masks[one], **given)
        np.testing.assert_allclose(alone.scores[0], together.scores[i], rtol=0, atol=1e-6)
        np.testing.assert_allclose(alone.fractions.expand(1, -1)[0], together.fractions[i])


@pytest.mark.parametrize(("shape", "n_steps"), [((3, 6, 5), 30), ((3, 6, 5), 10), ((12,), 4)])
@pytest.mark.parametrize("fill", [{"baselines": 0.3}, {"perturb_func": UniformNoise()}], ids=["constant", "noise"])
def test_insertion_of_a_map_is_deletion_of_its_negative_reversed(shape, n_steps, fill):
    inputs, maps = torch.randn(4, *shape), torch.randn(4, *((1, *shape[1:]) if len(shape) > 1 else shape))
    weights = torch.randn(inputs[0].numel())
    forward = lambda x: torch.tanh(x.flatten(1) @ weights)  # noqa: E731
    inserted = insertion(forward, inputs, maps, n_steps=n_steps, **fill)
    deleted = deletion(forward, inputs, -maps, n_steps=n_steps, **fill)
    np.testing.assert_allclose(inserted.scores, deleted.scores.flip(1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(inserted.auc, deleted.auc, rtol=0, atol=1e-6)


@pytest.mark.parametrize("transform", [lambda a: 3 * a + 1, torch.exp, torch.atan], ids=["affine", "exp", "atan"])
def test_a_rising_function_of_the_map_changes_nothing(transform):
    inputs, maps, target = batch()
    model = Recorder().net
    first = deletion(model, inputs, maps, target=target, n_steps=9)
    second = deletion(model, inputs, transform(maps), target=target, n_steps=9)
    assert torch.equal(first.scores, second.scores)


def test_random_fills_are_the_same_at_every_step_and_for_every_map():
    inputs, maps, target = batch()
    model, fill = Recorder(), UniformNoise(torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), 0.5)
    filled = []
    for ranking in (maps, -maps, torch.randn_like(maps)):
        pixel_flipping(model, inputs, ranking, target=target, n_steps=10, perturb_func=fill, seed=3)
        rows = model.rows().view(5, 11, *SHAPE)
        filled.append(rows[:, -1])
        changed = rows != inputs.unsqueeze(1)
        assert torch.equal(rows[changed], filled[0].unsqueeze(1).expand_as(rows)[changed])
    assert torch.equal(filled[0], filled[1])
    assert torch.equal(filled[0], filled[2])
    assert not torch.equal(filled[0][0], filled[0][1])
    pixel_flipping(model, inputs, maps, target=target, n_steps=10, perturb_func=fill, seed=4)
    assert not torch.equal(model.rows().view(5, 11, *SHAPE)[:, -1], filled[0])


def snapshot(model):
    flags = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    hooks = [len(module._forward_hooks) for module in model.modules()]
    return flags, state, hooks, [(p.requires_grad, p.grad is None) for p in model.parameters()]


def same(first, second):
    return (
        first[0] == second[0]
        and first[2:] == second[2:]
        and all(torch.equal(a, b) for a, b in zip(first[1].values(), second[1].values(), strict=True))
    )


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
def test_a_call_leaves_no_trace(fails):
    inputs, maps, target = batch()
    inputs.requires_grad_()
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(90, 3)).eval()
    before, copies = snapshot(model), (inputs.detach().clone(), maps.clone(), target.clone())
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    options = {"perturb_func": UniformNoise(), "tie_break": "random", "order": "random", "n_steps": 5}
    if fails:
        with pytest.raises(ValueError, match="target must lie"):
            pixel_flipping(model, inputs, maps, target=9, **options)
    else:
        scores = pixel_flipping(model, inputs, maps, target=target, **options).scores
        assert not scores.requires_grad
    after = torch.rand(1), np.random.rand(), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    assert after == (torch.rand(1), np.random.rand(), random.random())
    assert same(before, snapshot(model))
    assert all(torch.equal(a, b) for a, b in zip(copies, (inputs, maps, target), strict=True))
    assert torch.is_grad_enabled()


def test_forwards_are_as_few_as_the_limit_allows_and_run_without_gradients():
    seen = []

    def forward(inputs):
        seen.append((len(inputs), torch.is_grad_enabled()))
        return inputs.sum((1, 2, 3))

    inputs, maps, _ = batch(n=64)
    pixel_flipping(forward, inputs, maps, n_steps=30)
    assert [n for n, _ in seen] == [256] * 7 + [64 * 31 - 7 * 256]
    assert not any(grad for _, grad in seen)


def test_a_model_may_write_into_its_input():
    inputs, maps, _ = batch(n=1)
    curve = deletion(lambda x: x.mul_(2.0).sum((1, 2, 3)), inputs, maps, n_steps=30)
    expected = deletion(lambda x: (x * 2.0).sum((1, 2, 3)), inputs, maps, n_steps=30)
    assert torch.equal(curve.scores, expected.scores)


@pytest.mark.parametrize("shown", [True, False])
def test_a_progress_bar_counts_rows_when_asked_for(shown, capsys):
    inputs, maps, _ = batch()
    deletion(lambda x: x.sum((1, 2, 3)), inputs, maps, n_steps=9, show_progress=shown)
    assert ("50/50" in capsys.readouterr().err) == shown


def test_the_result_stays_in_the_dtype_of_the_model_and_on_the_device_of_the_inputs():
    inputs, maps, target = batch()
    for dtype in (torch.float32, torch.float64):
        model = Recorder().net.to(dtype)
        curve = deletion(model, inputs.to(dtype), maps, target=target, n_steps=5)
        assert curve.scores.dtype == curve.fractions.dtype == dtype
        assert curve.scores.device == inputs.device
    half = deletion(lambda x: x.to(torch.bfloat16).sum((1, 2, 3)), inputs, maps, n_steps=5)
    assert half.scores.dtype == torch.float32


@pytest.mark.parametrize(
    ("features", "max_fraction", "steps"), [(8, 1.0, 8), (8, 0.5, 4), (40, 1.0, 32), (40, 0.5, 20)]
)
def test_as_many_steps_as_features_where_none_are_asked_for(features, max_fraction, steps):
    x = torch.rand(3, features)
    curve = deletion(lambda rows: rows.sum(1), x, x, max_fraction=max_fraction)
    asked = deletion(lambda rows: rows.sum(1), x, x, max_fraction=max_fraction, n_steps=steps)
    assert torch.equal(curve.scores, asked.scores)
    assert torch.equal(curve.fractions, asked.fractions)


def test_steps_where_examples_have_other_numbers_of_features():
    masks = torch.tensor([[0, 1, 2, 3], [0, 0, 1, 1]])
    x = torch.rand(2, 4)
    assert deletion(lambda rows: rows.sum(1), x, x, feature_mask=masks).scores.shape == (2, 3)
