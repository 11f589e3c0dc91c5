"""Law 6: one draw of a deterministic sampler is Captum's own result, for every method that Captum has."""

from __future__ import annotations

import copy
import random
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from captum.testing.attr.helpers.gen_test_utils import get_target_layer, parse_test_config
from captum.testing.attr.helpers.test_config import config
from torch import Tensor, nn

import captum_uq.attr
from captum_uq import DistributionAttribution, StochasticAttribution, Unchanged
from language_model import Tokenizer, Transformer

ATTRIBUTIONS = [
    name
    for name in captum.attr.__all__
    if isinstance(getattr(captum.attr, name), type) and issubclass(getattr(captum.attr, name), captum.attr.Attribution)
]
CONFIGURATIONS = [(case, algorithm) for case in config for algorithm in case["algorithms"]]


def outcome(module: Any, make: Any, **options: Any) -> tuple[Any, Tensor] | Exception:
    """What a call returns, and the state it leaves the generators in; or what it raises."""
    torch.manual_seed(3)
    try:
        method, args, kwargs = make(module, options)
        torch.manual_seed(7)
        np.random.seed(7)
        random.seed(7)
        return method.attribute(*args, **kwargs), torch.rand(4)
    except Exception as error:
        return error


def assert_same(ours: Any, theirs: Any) -> None:
    """Equal values, dtypes and structure; every tensor of ours a distribution of one draw."""
    if isinstance(theirs, (tuple, list)):
        assert type(ours) is type(theirs)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(theirs, Tensor):
        assert isinstance(ours, DistributionAttribution)
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours.point, theirs.detach(), rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(ours.draws[0], theirs.detach(), rtol=0, atol=0, equal_nan=True)
    elif isinstance(theirs, captum.attr.LLMAttributionResult):
        assert isinstance(ours, captum.attr.LLMAttributionResult)
        assert (ours.input_tokens, ours.output_tokens) == (theirs.input_tokens, theirs.output_tokens)
        assert_same(ours.seq_attr, theirs.seq_attr)
        assert_same(ours.token_attr, theirs.token_attr)
    else:
        assert ours == theirs


def assert_conforms(make: Any, *, may_raise: bool = True) -> None:
    theirs = outcome(captum.attr, make)
    assert may_raise or not isinstance(theirs, Exception), theirs
    ours = outcome(captum_uq.attr, make, sampler=Unchanged())
    if isinstance(theirs, Exception):
        assert (type(ours), str(ours)) == (type(theirs), str(theirs))
        return
    assert not isinstance(ours, Exception), ours
    assert_same(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1]), "the global generators stand elsewhere"


@pytest.mark.parametrize(
    ("case", "algorithm"), CONFIGURATIONS, ids=[f"{case['name']}-{a.__name__}" for case, a in CONFIGURATIONS]
)
def test_captums_own_configurations_give_captums_own_results(case: dict[str, Any], algorithm: type) -> None:
    def make(module: Any, options: dict[str, Any]) -> tuple[Any, tuple[()], dict[str, Any]]:
        _, model, args, layer, noise_tunnel, _ = parse_test_config(copy.deepcopy(case))
        parts = (model,) if layer is None else (model, get_target_layer(model, layer))
        method = getattr(module, algorithm.__name__)(*parts, **options)
        return module.NoiseTunnel(method) if noise_tunnel else method, (), args

    assert_conforms(make, may_raise=False)


def test_captum_ships_288_configurations() -> None:
    assert len(CONFIGURATIONS) >= 288


def small_network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def _dataloader(module: Any, options: dict[str, Any]) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(6, 4)), batch_size=2)
    inner = module.FeatureAblation(lambda x: small_network()(x).sum(1), **options)
    return module.DataLoaderAttribution(inner), (data,), {}


def _shapley_values(module: Any, options: dict[str, Any]) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    return module.ShapleyValues(small_network(), **options), (torch.randn(2, 4),), {"target": 1}


def _layer_permutation(module: Any, options: dict[str, Any]) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    network = small_network()
    return module.LayerFeaturePermutation(network, network[0], **options), (torch.randn(4, 4),), {}


def _lime_base(module: Any, options: dict[str, Any]) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    from captum._utils.models.linear_model import SkLearnLinearRegression

    method = module.LimeBase(
        small_network(),
        SkLearnLinearRegression(),
        similarity_func=lambda original, perturbed, interpretable, **kwargs: torch.ones(1),
        perturb_func=lambda original, **kwargs: original + 0.1 * torch.randn_like(original),
        perturb_interpretable_space=False,
        from_interp_rep_transform=None,
        to_interp_rep_transform=lambda sample, original, **kwargs: sample,
        **options,
    )
    return method, (torch.randn(1, 4),), {"target": 1, "n_samples": 12}


def _language_model(module: Any, options: dict[str, Any]) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    torch.manual_seed(2)
    inner = module.FeatureAblation(Transformer(), **options)
    prompt = captum.attr.TextTokenInput("a b c", Tokenizer())
    return module.LLMAttribution(inner, Tokenizer()), (prompt,), {"target": "d e"}


def _language_model_gradients(module: Any, options: dict[str, Any]) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    torch.manual_seed(2)
    model = Transformer()
    inner = module.LayerIntegratedGradients(model, model.embedding, **options)
    prompt = captum.attr.TextTokenInput("a b c", Tokenizer())
    return module.LLMGradientAttribution(inner, Tokenizer()), (prompt,), {"target": "d e"}


OUR_CASES = {
    "DataLoaderAttribution": _dataloader,
    "ShapleyValues": _shapley_values,
    "LayerFeaturePermutation": _layer_permutation,
    "LimeBase": _lime_base,
    "LLMAttribution": _language_model,
    "LLMGradientAttribution": _language_model_gradients,
}
WITHOUT_A_CASE = {
    "Attribution": "abstract: has no attribute method",
    "GradientAttribution": "abstract: has no attribute method",
    "PerturbationAttribution": "abstract: has no attribute method",
    "LayerAttribution": "abstract: has no attribute method",
    "NeuronAttribution": "abstract: has no attribute method",
    "RemoteLLMAttribution": "asks a server for log-probabilities: there is no network here to draw from",
}


@pytest.mark.parametrize("name", OUR_CASES)
def test_methods_outside_captums_configurations_give_captums_own_results(name: str) -> None:
    if name == "LimeBase":
        pytest.importorskip("sklearn", reason="Captum's linear models need scikit-learn (the tutorials extra)")
    assert_conforms(OUR_CASES[name], may_raise=False)


@pytest.mark.parametrize("name", ATTRIBUTIONS)
def test_every_class_of_captum_has_a_case_or_a_reason(name: str) -> None:
    configured = {algorithm.__name__ for _, algorithm in CONFIGURATIONS}
    tunnelled = {"NoiseTunnel"} if any(case.get("noise_tunnel") for case in config) else set()
    assert (name in configured | tunnelled | set(OUR_CASES)) != (name in WITHOUT_A_CASE)


@pytest.mark.parametrize("name", captum.attr.__all__)
def test_every_name_of_captum_is_there(name: str) -> None:
    ours, theirs = getattr(captum_uq.attr, name), getattr(captum.attr, name)
    assert name in captum_uq.attr.__all__
    if name not in ATTRIBUTIONS:
        assert ours is theirs
        return
    assert issubclass(ours, StochasticAttribution)
    assert issubclass(ours, theirs)
    assert ours.__name__ == theirs.__name__
    assert ours.get_name() == theirs.get_name()


def test_the_classes_keep_captums_relations_among_themselves() -> None:
    for one in ATTRIBUTIONS:
        for other in ATTRIBUTIONS:
            theirs = issubclass(getattr(captum.attr, one), getattr(captum.attr, other))
            assert issubclass(getattr(captum_uq.attr, one), getattr(captum_uq.attr, other)) == theirs, (one, other)


def test_a_class_that_a_future_captum_adds_appears_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Future(captum.attr.Saliency):  # type: ignore[misc]
        """A method of tomorrow."""

    monkeypatch.setattr(captum.attr, "Future", Future, raising=False)
    ours = captum_uq.attr.Future(small_network(), sampler=Unchanged())
    assert isinstance(ours, captum_uq.attr.Saliency)
    assert ours.attribute(torch.randn(1, 4), target=0).n_draws == 1


def test_a_name_that_captum_lacks_is_missing_here_too() -> None:
    with pytest.raises(AttributeError, match="NoSuchMethod"):
        _ = captum_uq.attr.NoSuchMethod


@pytest.mark.parametrize("n_draws", [1, 4])
def test_draws_of_an_unchanged_network_have_no_spread(n_draws: int) -> None:
    """Also for a method with random numbers of its own, which all draws share."""
    uq = StochasticAttribution(captum.attr.GradientShap(small_network()), Unchanged())
    dist = uq.attribute(torch.randn(2, 4), torch.zeros(3, 4), target=0, n_draws=n_draws, seed=0)
    assert torch.equal(dist.draws, dist.draws[:1].expand_as(dist.draws))
