"""Captum's contract: a stochastic method is an attribution method, and fits wherever Captum takes one."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import captum.attr
import pytest
import torch
from captum.attr import GradientShap, IntegratedGradients, LayerActivation, NoiseTunnel, Saliency
from captum.metrics import infidelity, sensitivity_max
from torch import nn

import captum_uq.attr
from captum_uq import DistributionAttribution, MCDropout, StochasticAttribution, Unchanged
from language_model import Tokenizer, Transformer
from methods import METHODS
from networks import KINDS, build


@pytest.mark.parametrize("name", METHODS)
def test_what_captum_asks_of_a_method_is_the_methods_own_answer(name: str) -> None:
    network = build("Dropout")
    method = METHODS[name].make(network, network.hidden)
    uq = StochasticAttribution(method, MCDropout())
    assert isinstance(uq, captum.attr.Attribution)
    assert uq.multiplies_by_inputs == method.multiplies_by_inputs
    assert uq.has_convergence_delta() == method.has_convergence_delta()
    assert uq.get_name() == method.get_name()
    for attribute in vars(method).keys() - {"attribution_method"}:
        value = getattr(method, attribute)
        assert getattr(uq, attribute) is value or getattr(uq, attribute) == value
    with pytest.raises(NotImplementedError, match="attribute_future"):
        uq.attribute_future(torch.ones(1, 5), target=0)
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = uq.no_such_thing


def test_an_option_set_on_the_wrapper_is_set_on_the_method() -> None:
    uq = StochasticAttribution(IntegratedGradients(build("Dropout")), MCDropout())
    other = build("Dropout")
    uq.forward_func = other
    assert uq.attribution_method.forward_func is other


def test_a_wrapper_can_be_copied_and_pickled() -> None:
    uq = StochasticAttribution(IntegratedGradients(build("Dropout")), MCDropout())
    expected = uq.attribute(torch.ones(1, 5), target=0, n_draws=2, seed=0).draws
    for again in (copy.copy(uq), copy.deepcopy(uq), pickle.loads(pickle.dumps(uq))):
        assert torch.equal(again.attribute(torch.ones(1, 5), target=0, n_draws=2, seed=0).draws, expected)


def test_arguments_by_position_are_the_methods_own() -> None:
    uq = StochasticAttribution(IntegratedGradients(build("Dropout")), MCDropout())
    inputs, baselines = torch.ones(2, 5), torch.full((2, 5), 0.5)
    by_position = uq.attribute(inputs, baselines, 1, None, 7, n_draws=3, seed=0)
    by_name = uq.attribute(inputs=inputs, baselines=baselines, target=1, n_steps=7, n_draws=3, seed=0)
    assert torch.equal(by_position.draws, by_name.draws)
    assert by_position.target == by_name.target == 1
    assert torch.equal(by_position.predictions, by_name.predictions)


def test_the_result_tells_where_it_comes_from() -> None:
    network, inputs = build("Dropout"), torch.randn(3, 5)
    uq = StochasticAttribution(IntegratedGradients(network), MCDropout(p=0.3))
    dist = uq.attribute(inputs, target=torch.tensor([0, 1, 2]), n_draws=4, seed=9)
    assert (dist.seed, dist.sampler, dist.method) == (9, "MCDropout(p=0.3)", "IntegratedGradients")
    assert dist.predictions.shape == (4, 3, 3)
    for index in range(4):
        draw = MCDropout(network, p=0.3).network(index, inputs, seed=9)
        assert torch.equal(dist.predictions[index], draw(inputs))
    plain = IntegratedGradients(copy.deepcopy(network).eval()).attribute(inputs, target=torch.tensor([0, 1, 2]))
    assert torch.equal(dist.deterministic, plain)
    torch.testing.assert_close(dist.point, dist.draws.mean(0))
    bare = uq.attribute(inputs, target=0, n_draws=2, seed=9, return_predictions=False, return_deterministic=False)
    assert bare.predictions is None
    assert bare.deterministic is None


@pytest.mark.parametrize("summary", ["median", "percentile:5", "deterministic", lambda draws: draws.amax(0)])
def test_the_results_own_values_are_the_summary_asked_for(summary: Any) -> None:
    uq = StochasticAttribution(Saliency(build("Dropout")), MCDropout(), summary=summary)
    dist = uq.attribute(torch.ones(2, 5), target=0, n_draws=40, seed=0)
    expected = {
        "median": dist.percentile(50),
        "percentile:5": dist.percentile(5),
        "deterministic": dist.deterministic,
    }.get(summary if isinstance(summary, str) else "", dist.draws.amax(0))
    torch.testing.assert_close(dist.point, expected)


def test_a_sampler_says_how_many_draws_it_takes_by_itself() -> None:
    inputs = torch.ones(1, 5)
    assert StochasticAttribution(Saliency(build("Dropout")), MCDropout()).attribute(inputs, target=0).n_draws == 100
    assert StochasticAttribution(Saliency(build("Dropout")), Unchanged()).attribute(inputs, target=0).n_draws == 1


@pytest.mark.parametrize("make", [lambda net: Saliency(net), lambda net: GradientShap(net)])
def test_it_works_inside_a_noise_tunnel(make: Any) -> None:
    network, inputs = build("Dropout"), torch.randn(2, 5)
    more = {"baselines": torch.zeros(2, 5)} if isinstance(make(network), GradientShap) else {}
    uq = StochasticAttribution(make(network), MCDropout())
    tunnel = NoiseTunnel(uq).attribute(inputs, nt_samples=3, target=0, n_draws=3, seed=0, **more)
    assert tunnel.shape == inputs.shape
    assert type(tunnel) is torch.Tensor


def test_captums_metrics_take_it() -> None:
    network, inputs = build("Dropout").eval(), torch.randn(2, 5)
    uq = StochasticAttribution(Saliency(network), MCDropout())
    dist = uq.attribute(inputs, target=0, n_draws=4, seed=0)
    assert sensitivity_max(uq.attribute, inputs, target=0, n_draws=4, seed=0).shape == (2,)

    def perturb(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        noise = 0.01 * torch.randn_like(x)
        return noise, x - noise

    of_mean = infidelity(network, perturb, inputs, dist, target=0)
    torch.manual_seed(0)
    one = infidelity(network, perturb, inputs, dist, target=0)
    torch.manual_seed(0)
    assert torch.equal(one, infidelity(network, perturb, inputs, dist.point, target=0))
    assert of_mean.shape == (2,)


def test_tuples_and_deltas_come_back_as_captum_gives_them() -> None:
    kind = KINDS["two inputs and an argument"]
    network, inputs = build("two inputs and an argument"), kind.inputs(3)
    uq = StochasticAttribution(IntegratedGradients(network), MCDropout())
    (one, other), delta = uq.attribute(
        inputs, target=0, additional_forward_args=2.0, return_convergence_delta=True, n_draws=4, seed=0
    )
    assert (one.draws.shape, other.draws.shape, delta.draws.shape) == ((4, 3, 4), (4, 3, 3), (4, 3))
    assert all(isinstance(part, DistributionAttribution) for part in (one, other, delta))


def test_a_list_of_layers_comes_back_as_one() -> None:
    network = build("Dropout")
    layers = [network.hidden, network.head]
    result = StochasticAttribution(LayerActivation(network, layers), MCDropout()).attribute(
        torch.randn(2, 5), n_draws=3, seed=0
    )
    plain = LayerActivation(network.eval(), layers).attribute(torch.randn(2, 5))
    assert type(result) is type(plain)
    assert [part.draws.shape for part in result] == [(3, *part.shape) for part in plain]


def test_a_language_model_result_is_one_of_distributions() -> None:
    model, tokenizer = Transformer(), Tokenizer()
    llm = captum_uq.attr.LLMAttribution(captum_uq.attr.FeatureAblation(model), tokenizer)
    assert isinstance(llm.sampler, MCDropout)
    result = llm.attribute(captum.attr.TextTokenInput("a b c d", tokenizer), target="e f", n_draws=6, seed=0)
    assert isinstance(result, captum.attr.LLMAttributionResult)
    assert result.seq_attr.draws.shape == (6, 4)
    assert result.token_attr.draws.shape == (6, 2, 4)
    assert result.seq_attr.stdev().max() > 0
    assert result.input_tokens == ["a", "b", "c", "d"]


def test_a_data_loader_is_attributed_over_draws() -> None:
    network = build("Dropout")
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(6, 5)), batch_size=4)
    inner = captum_uq.attr.FeatureAblation(lambda x: network(x)[:, 0])
    dist = captum_uq.attr.DataLoaderAttribution(inner).attribute(data, n_draws=5, seed=0)
    plain = captum.attr.DataLoaderAttribution(captum.attr.FeatureAblation(lambda x: network.eval()(x)[:, 0]))
    expected = plain.attribute(data)
    assert [part.draws.shape for part in dist] == [(5, *part.shape) for part in expected]
    assert dist[0].stdev().max() > 0
    torch.testing.assert_close(dist[0].deterministic, expected[0])


def test_a_mirrored_class_shows_captums_signature_and_text() -> None:
    ours, theirs = captum_uq.attr.LayerConductance, captum.attr.LayerConductance
    names = list(inspect.signature(ours).parameters)
    assert names == [*inspect.signature(theirs).parameters, "sampler", "summary"]
    assert inspect.getdoc(theirs) in inspect.getdoc(ours)


def test_a_stochastic_method_inside_a_mirrored_noise_tunnel_is_drawn_once() -> None:
    network, inputs = build("Dropout"), torch.randn(2, 5)
    tunnel = captum_uq.attr.NoiseTunnel(captum_uq.attr.Saliency(network, sampler=MCDropout(p=0.2)))
    assert isinstance(tunnel.attribution_method.attribution_method, captum.attr.Saliency)
    assert repr(tunnel.sampler) == "MCDropout(p=0.2)"
    assert tunnel.attribute(inputs, target=0, n_draws=3, nt_samples=2, seed=0).draws.shape == (3, 2, 5)


def test_what_is_given_a_stochastic_method_has_its_sampler_and_summary_unless_told_otherwise() -> None:
    network, inputs = build("Dropout"), torch.randn(2, 5)
    inner = captum_uq.attr.Saliency(network, sampler=MCDropout(p=0.2), summary="median")
    tunnel, other = captum_uq.attr.NoiseTunnel(inner), captum_uq.attr.NoiseTunnel(inner, summary="mean")
    assert (repr(tunnel.sampler), tunnel.summary, other.summary) == ("MCDropout(p=0.2)", "median", "mean")
    assert repr(captum_uq.attr.NoiseTunnel(inner, sampler=MCDropout(p=0.7)).sampler) == "MCDropout(p=0.7)"
    dist = tunnel.attribute(inputs, target=0, n_draws=5, nt_samples=2, seed=0)
    assert torch.equal(dist.point, dist.draws.median(dim=0).values)
    assert captum_uq.attr.NoiseTunnel(captum.attr.Saliency(network)).summary == "mean"


def test_a_progress_bar_shows_the_draws(capsys: pytest.CaptureFixture[str]) -> None:
    uq = StochasticAttribution(Saliency(build("Dropout")), MCDropout())
    uq.attribute(torch.ones(1, 5), target=0, n_draws=3, seed=0)
    assert capsys.readouterr().err == ""
    uq.attribute(torch.ones(1, 5), target=0, n_draws=3, seed=0, show_progress=True)
    shown = capsys.readouterr().err
    assert "Saliency draws" in shown
    assert "3/3" in shown


def test_dtype_and_shape_follow_the_input() -> None:
    for dtype in (torch.float32, torch.float64):
        network = build("Dropout").to(dtype)
        dist = StochasticAttribution(Saliency(network), MCDropout()).attribute(
            torch.ones(1, 5, dtype=dtype), target=0, n_draws=3, seed=0
        )
        assert dist.dtype == dist.draws.dtype == dtype


def test_a_draw_is_the_same_network_in_every_dtype() -> None:
    inputs = torch.randn(2, 5)
    single = MCDropout(build("Dropout")).network(3, inputs, seed=1)
    double = MCDropout(build("Dropout").double()).network(3, inputs.double(), seed=1)
    torch.testing.assert_close(single(inputs), double(inputs.double()).float(), rtol=1e-5, atol=1e-6)


def test_mixed_precision_is_respected() -> None:
    network = build("Dropout")
    uq = StochasticAttribution(Saliency(network), MCDropout())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        dist = uq.attribute(torch.ones(2, 5), target=0, n_draws=3, seed=0)
        draw = MCDropout(network).network(0, torch.ones(2, 5), seed=0)
        assert torch.equal(dist.draws[0], Saliency(draw).attribute(torch.ones(2, 5), target=0))
    assert dist.predictions.dtype == torch.bfloat16


def test_the_result_of_a_thousand_draws_is_small() -> None:
    """1000 draws of 1x32x32 float32 are 4 MB; the bar is 100 MB above the model."""
    network = nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(1568, 2))
    uq = StochasticAttribution(captum.attr.InputXGradient(network), MCDropout())
    dist = uq.attribute(torch.randn(1, 1, 32, 32), target=0, n_draws=1000, seed=0)
    held = [dist.draws, dist.point, dist.deterministic, dist.predictions]
    assert sum(tensor.untyped_storage().nbytes() for tensor in held) < 5e6
    assert all(tensor.grad_fn is None for tensor in held)


def test_its_text_names_the_method_and_the_sampler() -> None:
    uq = StochasticAttribution(Saliency(build("Dropout")), MCDropout(p=0.2))
    assert repr(uq) == "StochasticAttribution(Saliency, MCDropout(p=0.2))"


def test_the_deterministic_map_is_there_where_it_is_the_summary() -> None:
    uq = StochasticAttribution(Saliency(build("Dropout")), MCDropout(), summary="deterministic")
    dist = uq.attribute(torch.ones(1, 5), target=0, n_draws=2, seed=0, return_deterministic=False)
    assert torch.equal(dist.point, dist.deterministic)


@pytest.mark.parametrize("method", [captum.attr.DeepLift, IntegratedGradients, captum.attr.FeatureAblation])
@pytest.mark.parametrize("execution", ["loop", "fold"])
def test_baselines_may_be_made_of_the_inputs(execution: str, method: type) -> None:
    """As in Captum's tutorials: ``baselines=inputs * 0``, whose graph a second draw would pass backwards again."""
    network, inputs = build("Dropout"), torch.randn(2, 5, requires_grad=True)
    uq = StochasticAttribution(method(network), MCDropout())
    given = {"target": 0, "n_draws": 3, "seed": 0, "execution": execution}
    expected = uq.attribute(inputs, baselines=torch.zeros(2, 5), **given)
    torch.testing.assert_close(uq.attribute(inputs, baselines=inputs * 0, **given).draws, expected.draws)
    torch.testing.assert_close(uq.attribute(inputs, inputs * 0, **given).draws, expected.draws)
