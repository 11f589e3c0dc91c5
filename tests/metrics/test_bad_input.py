"""Every bad input has an error of its own that names the rule, what came and the way out."""

import re

import pytest
import torch
from torch import nn

from captum_uq import MCDropout
from captum_uq.metrics import (
    ChannelMean,
    GaussianBlur,
    NoisyLinearImputation,
    UniformNoise,
    deletion,
    insertion,
    pixel_flipping,
)

NAN, INF = float("nan"), float("inf")
TABLE, IMAGE = torch.ones(2, 4), torch.ones(2, 3, 4, 4)
RANKS = torch.arange(8.0).view(2, 4)
PIXELS = torch.arange(32.0).view(2, 1, 4, 4)


def model(inputs):
    return inputs.flatten(1)[:, :4].float() * torch.arange(4.0)


def case(error, match, **arguments):
    return pytest.param(error, match, arguments, id=match)


BAD = [
    case(
        ValueError,
        r"attributions must have the shape of their inputs.*got \(2, 5\)",
        attributions=torch.ones(2, 5),
    ),
    case(
        ValueError,
        r"attributions must have.*got \(3, 4\) for inputs of \(2, 4\)",
        attributions=torch.ones(3, 4),
    ),
    case(
        ValueError,
        r"got \(2, 4, 4\) for inputs of.*unsqueeze",
        inputs=IMAGE,
        attributions=torch.ones(2, 4, 4),
    ),
    case(ValueError, "one tensor for each input, got 2 for 1 inputs", attributions=(RANKS, RANKS)),
    case(TypeError, "attributions must be a tensor.*got list", attributions=[[1.0]]),
    case(TypeError, "inputs must be a tensor.*got ndarray", inputs=TABLE.numpy()),
    case(
        ValueError,
        "free of NaN to be ranked; 1 of 2",
        attributions=torch.tensor([[1, NAN, 2, 3], [1, 2, 3, 4.0]]),
    ),
    case(
        ValueError,
        "free of NaN to be ranked.*inf - inf",
        attributions=torch.tensor([[INF, -INF, 2, 3], [1, 2, 3, 4]]),
        feature_mask=torch.tensor([[0, 0, 1, 2]]),
        n_steps=3,
    ),
    case(
        ValueError,
        "scores must be free of NaN.*example 1 after 0 steps",
        inputs=torch.tensor([[1.0] * 4, [NAN] * 4]),
    ),
    case(ValueError, "n_steps must not exceed.*n_steps=5 for 4 of 4 features of an example. Pass n_steps=4", n_steps=5),
    case(ValueError, "n_steps must not exceed.*n_steps=4 for 2 of 4 features", max_fraction=0.5),
    case(ValueError, "max_fraction=0.01 of 4 features is none. Pass 0.25", max_fraction=0.01, n_steps=1),
    case(ValueError, "n_steps must not exceed", feature_mask=torch.tensor([[0, 0, 1, 1]])),
    case(ValueError, "n_steps must be an integer of at least 1, got 0", n_steps=0),
    case(ValueError, "n_steps must be an integer of at least 1, got 2.5", n_steps=2.5),
    case(ValueError, "max_fraction must be above 0 and at most 1, got 1.5", max_fraction=1.5),
    case(ValueError, "max_fraction must be above 0 and at most 1, got 0", max_fraction=0),
    case(ValueError, "max_fraction must be above 0 and at most 1, got '0.5'", max_fraction="0.5"),
    case(ValueError, r"got tensor\(0.5000\). Pass a plain number", max_fraction=torch.tensor(0.5)),
    case(TypeError, r"forward_func must be a model.*got MCDropout\(\).*sampler.predictive", forward_func=MCDropout()),
    case(TypeError, "attributions are ranked, got torch.complex64", attributions=RANKS.to(torch.complex64)),
    case(ValueError, "max_examples_per_batch must be.*got -1", max_examples_per_batch=-1),
    case(ValueError, "seed must be an integer of at least 0, got -3", seed=-3),
    case(ValueError, "order must be one of .*'lerf', 'morf', 'random'.*got 'best'", order="best"),
    case(ValueError, "mode must be one of", mode="both"),
    case(ValueError, "score must be one of.*got 'logit'", score="logit"),
    case(ValueError, r"score must be one of.*got \['output'\]", score=["output"]),
    case(
        TypeError,
        "score must return real numbers, got torch.complex64",
        score=lambda outputs, target: outputs[:, 0] + 1j,
    ),
    case(TypeError, "forward_func must return real numbers, got.*64", forward_func=lambda x: model(x) + 1j),
    case(ValueError, "tie_break must be one of", tie_break="first"),
    case(ValueError, "nan_policy must be one of", nan_policy="omit"),
    case(ValueError, "group_relevance must be one of", group_relevance="max"),
    case(ValueError, "target must lie between 0 and 3.*got 4", target=4),
    case(ValueError, "target must lie between 0 and 3.*got -1", target=torch.tensor([0, -1])),
    case(ValueError, "target must be an integer, a tuple.*got 1.5", target=1.5),
    case(ValueError, "one of either for each of the 2 examples", target=torch.tensor([0, 1, 2])),
    case(ValueError, "target must be an integer.*got 'cat'", target="cat"),
    case(ValueError, "target must be an integer.*got True", target=True),
    case(ValueError, "target must have one index for each dimension.*got 2", target=(1, 0)),
    case(ValueError, r"target is needed.*got None for outputs of \(10, 4\)", target=None),
    case(
        ValueError,
        "score='softmax' reads one class.*no target. Pass target=",
        forward_func=lambda x: x.sum(1),
        score="softmax",
        target=None,
    ),
    case(
        ValueError,
        "compares the target with the other classes",
        forward_func=lambda x: x[:, :1],
        score="margin",
        target=0,
    ),
    case(
        ValueError,
        "a target of several indices. Pass one index",
        forward_func=lambda x: x.view(-1, 2, 2),
        score="softmax",
        target=(0, 1),
    ),
    case(ValueError, "score must give one number for each row", score=lambda outputs, target: outputs),
    case(
        ValueError,
        "one output for each row it is given, 10 here, got \\(3, 4\\)",
        forward_func=lambda x: model(x)[:3],
    ),
    case(ValueError, r"one output for each row.*got \(\)", forward_func=lambda x: x.sum()),
    case(ValueError, "one output for each row.*got list", forward_func=lambda x: [1.0] * len(x)),
    case(ValueError, r"got dict\. Wrap a model.*\.logits", forward_func=lambda x: {"logits": x}),
    case(ValueError, "empty batch", inputs=torch.ones(0, 4), attributions=torch.ones(0, 4)),
    case(
        ValueError,
        "inputs must all have the examples.*unsqueeze",
        inputs=(TABLE, torch.ones(3, 4)),
        attributions=(RANKS, RANKS),
    ),
    case(
        ValueError,
        "inputs must all have the examples",
        inputs=torch.tensor(1.0),
        attributions=torch.tensor(1.0),
    ),
    case(TypeError, "feature_mask must hold integer ids.*float32", feature_mask=torch.zeros(1, 4)),
    case(
        ValueError,
        r"feature_mask must broadcast.*got \(1, 5\)",
        feature_mask=torch.zeros(1, 5, dtype=torch.int64),
    ),
    case(
        ValueError,
        r"feature_mask must broadcast.*got \(3, 4\)",
        feature_mask=torch.zeros(3, 4, dtype=torch.int64),
    ),
    case(
        ValueError,
        "one tensor for each input, got 2 for 1",
        feature_mask=(torch.zeros(1, 4, dtype=torch.int64),) * 2,
    ),
    case(ValueError, "a baseline.* must broadcast", baselines=torch.ones(3)),
    case(ValueError, "a baseline.* must broadcast", baselines=torch.ones(1, 2, 4)),
    case(TypeError, "baselines must be numbers or tensors, got str", baselines="zero"),
    case(TypeError, "numbers or tensors, got ndarray.*as_tensor", baselines=TABLE.numpy()),
    case(ValueError, r"one value for each input, got 2 for 1.*view\(1, C, 1, 1\)", baselines=(0.0, 1.0)),
    case(
        ValueError,
        "one value for each input, got 1 for 2",
        inputs=(TABLE, TABLE),
        attributions=(RANKS, RANKS),
        baselines=TABLE,
    ),
    case(TypeError, "mean and std of UniformNoise must be numbers.*got str", perturb_func=UniformNoise("a")),
    case(TypeError, "mean and std of UniformNoise must be numbers.*got list", perturb_func=UniformNoise(0.0, [1.0])),
    case(TypeError, "must be token ids, got 0.5", inputs=TABLE.long(), baselines=0.5),
    case(ValueError, "got both", baselines=0.0, perturb_func=UniformNoise()),
    case(TypeError, "perturb_func must be a fill.*got 'blur' for 1 input", perturb_func="blur"),
    case(TypeError, r"perturb_func must be a fill.*GaussianBlur'>.*GaussianBlur\(\)", perturb_func=GaussianBlur),
    case(TypeError, "a tuple with one for each input", perturb_func=(UniformNoise(), UniformNoise())),
    case(ValueError, "perturb_func must return rows", perturb_func=lambda rows, flipped: rows[:, :2]),
    case(ValueError, "perturb_func must return rows.*NoneType", perturb_func=lambda rows, flipped: None),
    case(ValueError, "ChannelMean fills floating point", perturb_func=ChannelMean()),
    case(ValueError, "UniformNoise fills floating point", inputs=TABLE.long(), perturb_func=UniformNoise()),
    case(
        ValueError,
        "UniformNoise needs std above 0, got 0",
        perturb_func=UniformNoise(0.5, torch.tensor([1.0, 0, 1, 1])),
    ),
    case(ValueError, r"GaussianBlur fills.*\(N, C, H, W\)", perturb_func=GaussianBlur()),
    case(
        ValueError,
        r"GaussianBlur fills.*perturb_func=\(Constant\(0\), GaussianBlur\(\)\)",
        inputs=(TABLE.long(), IMAGE),
        attributions=(RANKS, PIXELS),
        perturb_func=GaussianBlur(),
    ),
    case(ValueError, "odd kernel_size", inputs=IMAGE, attributions=PIXELS, perturb_func=GaussianBlur(4)),
    case(ValueError, "sigma above 0", inputs=IMAGE, attributions=PIXELS, perturb_func=GaussianBlur(5, 0.0)),
    case(ValueError, "sigma above 0.*'5'", inputs=IMAGE, attributions=PIXELS, perturb_func=GaussianBlur(5, "5")),
    case(ValueError, "NoisyLinearImputation fills", perturb_func=NoisyLinearImputation()),
    case(
        ValueError,
        "noise of at least 0, got -1",
        inputs=IMAGE,
        attributions=PIXELS,
        perturb_func=NoisyLinearImputation(noise=-1),
    ),
]


@pytest.mark.parametrize(("error", "match", "arguments"), BAD)
def test_bad_input_has_its_own_error(error, match, arguments):
    given = {
        "forward_func": model,
        "inputs": TABLE,
        "attributions": RANKS,
        "target": 1,
        "n_steps": 4,
    } | arguments
    if isinstance(given["inputs"], tuple) and given["forward_func"] is model:
        given["forward_func"] = lambda first, second: model(first)
    with pytest.raises(error, match=match) as caught:
        pixel_flipping(**given)
    assert re.search(r"\. [A-Z].*\.$", str(caught.value), re.DOTALL), "no way out in the message"


@pytest.mark.parametrize("measure", [deletion, insertion])
def test_an_unknown_option_is_refused(measure):
    with pytest.raises(TypeError, match="unexpected keyword argument 'steps'"):
        measure(model, TABLE, RANKS, target=1, steps=4)


def test_nan_can_be_propagated_to_the_curve_of_its_example_alone():
    maps = torch.tensor([[1.0, NAN, 2.0, 3.0], [4.0, 3.0, 2.0, 1.0]])
    curve = pixel_flipping(model, TABLE, maps, target=1, n_steps=4, nan_policy="propagate")
    assert curve.scores[0].isnan().all()
    alone = pixel_flipping(model, TABLE[1:], maps[1:], target=1, n_steps=4)
    assert torch.equal(curve.scores[1:], alone.scores)
    inputs = torch.tensor([[1.0, NAN, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    curve = pixel_flipping(model, inputs, RANKS, target=1, n_steps=4, nan_policy="propagate")
    assert curve.scores.isnan().any(1).tolist() == [True, False]


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(4)], ids=lambda m: type(m).__name__)
def test_a_model_left_in_train_mode_warns(layer):
    network = nn.Sequential(layer, nn.Linear(4, 2))
    with pytest.warns(UserWarning, match=r"in train mode.*Call \.eval\(\) first"):
        pixel_flipping(network, TABLE, RANKS, target=1, n_steps=4)
    assert network.training
    pixel_flipping(network.eval(), TABLE, RANKS, target=1, n_steps=4)


@pytest.mark.parametrize("place", [0, 2, 3])
@pytest.mark.parametrize("tie_break", ["stable", "random"])
@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_nan_is_found_wherever_it_stands_and_in_every_order(order, tie_break, place):
    maps = RANKS.clone()
    maps[1, place] = NAN
    options = {"target": 1, "n_steps": 4, "order": order, "tie_break": tie_break}
    with pytest.raises(ValueError, match="free of NaN to be ranked; 1 of 2"):
        pixel_flipping(model, TABLE, maps, **options)
    curve = pixel_flipping(model, TABLE, maps, nan_policy="propagate", **options)
    assert curve.scores.isnan().all(1).tolist() == [False, True]
