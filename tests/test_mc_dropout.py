"""What MCDropout draws: rates, selections, where it finds the model, batches, copies, threads, compiled models."""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from captum.attr import FeatureAblation, InputXGradient, IntegratedGradients, LayerIntegratedGradients, Saliency
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from captum_uq import MCDropout, StochasticAttribution
from captum_uq.samplers import NothingToDrawError
from networks import KINDS, Convolutional, Dense, DropPath, Functional, Recurrent, Tokens, build


class WithAttention(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, dropout=rate, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x)[0].mean(1)


class WithDotProduct(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, dropout_p=self.rate if self.training else 0.0).flatten(1)


def functional(rate: float) -> nn.Module:
    return Functional(lambda x, p, training: F.dropout(x, rate, training))


def recurrent(kind: type[nn.RNNBase], rate: float) -> nn.Module:
    network = Recurrent(kind)
    network.recurrent.dropout = rate
    return network


RATES: dict[str, tuple[Callable[[float], nn.Module], tuple[int, ...]]] = {
    "nn.Dropout": (lambda p: Dense(nn.Dropout(p)), (5,)),
    "nn.AlphaDropout": (lambda p: Dense(nn.AlphaDropout(p)), (5,)),
    "nn.Dropout2d": (lambda p: nn.Sequential(nn.Conv2d(2, 4, 3), nn.Dropout2d(p), nn.Flatten()), (2, 6, 6)),
    "F.dropout": (functional, (5,)),
    "attention": (WithAttention, (4, 8)),
    "LSTM": (functools.partial(recurrent, nn.LSTM), (4, 4)),
    "GRU": (functools.partial(recurrent, nn.GRU), (4, 4)),
    "stochastic depth": (lambda p: Dense(DropPath(p)), (5,)),
    "scaled_dot_product_attention": (WithDotProduct, (2, 4, 8)),
}


@pytest.mark.parametrize("own", [0.0, 0.7])
@pytest.mark.parametrize("name", RATES)
def test_p_overrides_every_rate_also_one_of_0(name: str, own: float) -> None:
    """A network of rate ``own`` drawn with ``p=0.3`` is the network of rate 0.3, and keeps its own afterwards."""
    make, shape = RATES[name]
    inputs = torch.randn(2, *shape)
    torch.manual_seed(1)
    network = make(own)
    torch.manual_seed(1)
    expected = MCDropout(make(0.3)).network(2, inputs, seed=4)(inputs)
    assert torch.equal(MCDropout(network, p=0.3).network(2, inputs, seed=4)(inputs), expected)
    with MCDropout(network, p=0.3).draw(2, inputs, seed=4):
        assert torch.equal(network(inputs), expected)
    torch.manual_seed(1)
    again = make(own)
    if own:
        one, other = (MCDropout(net).network(0, inputs, seed=1)(inputs) for net in (network, again))
        assert torch.equal(one, other)
    else:
        with pytest.raises(ValueError, match="nothing to draw"):
            MCDropout(network).network(0, inputs)


def test_p_of_0_leaves_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        MCDropout(build("Dropout"), p=0.0).network(0, torch.ones(1, 5))


@pytest.mark.parametrize(
    ("modules", "drawn"),
    [
        ("dropout", ["dropout"]),
        ("chan*", ["channels"]),
        (["dropout", "channels"], ["channels", "dropout"]),
        (nn.Dropout2d, ["channels"]),
        ([nn.Dropout, "channels"], ["channels", "dropout"]),
        (None, ["channels", "dropout"]),
    ],
    ids=str,
)
def test_a_selection_draws_those_modules_and_no_others(modules: Any, drawn: list[str]) -> None:
    network, inputs = Convolutional(), torch.randn(2, 2, 6, 6)
    outputs: dict[str, list[Tensor]] = {"channels": [], "dropout": []}
    for name, seen in outputs.items():
        network.get_submodule(name).register_forward_hook(lambda m, args, out, seen=seen: seen.append((args[0], out)))
    with MCDropout(network, modules=modules).draw(0, inputs, seed=0):
        network(inputs)
    changed = sorted(name for name, seen in outputs.items() if not torch.equal(*seen[-1]))
    assert changed == drawn


def test_a_selected_container_draws_with_everything_inside() -> None:
    network = nn.Sequential(nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5)), nn.Sequential(nn.Dropout(0.5)))
    inputs = torch.randn(1, 5)
    all_of_it = MCDropout(network).network(0, inputs, seed=0)(inputs)
    assert torch.equal(MCDropout(network, modules=["0", "1"]).network(0, inputs, seed=0)(inputs), all_of_it)
    first = MCDropout(network, modules="0").network(0, inputs, seed=0)
    assert torch.equal(first(inputs), first[0](inputs))


def test_batchnorm_never_leaves_eval() -> None:
    network, inputs = Convolutional().train(), torch.randn(4, 2, 6, 6)
    network.norm.running_mean.normal_()
    network.norm.running_var.uniform_(0.5, 2)
    seen: list[bool] = []
    network.norm.register_forward_pre_hook(lambda module, args: seen.append(module.training))
    draw = MCDropout(network).network(0, inputs, seed=0)
    StochasticAttribution(Saliency(network), MCDropout()).attribute(inputs, target=0, n_draws=2, seed=0)
    assert not any(seen)
    frozen = copy.deepcopy(network).eval().norm
    activation = torch.randn(2, 4, 3, 3)
    assert torch.equal(draw.norm(activation), frozen(activation))


class Holder:
    """Something of the user's that keeps a network."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def predict(self, x: Tensor) -> Tensor:
        return self.network(x)

    def __call__(self, x: Tensor) -> Tensor:
        return self.network(x)


GLOBAL = build("Dropout")


def predict_global(x: Tensor) -> Tensor:
    return GLOBAL(x)


def through_helper(network: nn.Module) -> Callable[[Tensor], Tensor]:
    def helper(x: Tensor) -> Tensor:
        return network(x)

    return lambda x: helper(x)


FORWARDS: dict[str, Callable[[nn.Module], Any]] = {
    "the module": lambda network: network,
    "its bound forward": lambda network: network.forward,
    "a closure": lambda network: lambda x: network(x),
    "a closure over a softmax": lambda network: lambda x: network(x).log_softmax(-1),
    "a closure that calls it twice": lambda network: lambda x: network(x) - 0.5 * network(0.5 * x),
    "a function through a helper": through_helper,
    "a partial": lambda network: functools.partial(torch.nn.Module.__call__, network),
    "a default argument": lambda network: lambda x, network=network: network(x),
    "a method of an object": lambda network: Holder(network).predict,
    "a callable object": Holder,
    "its submodules": lambda network: lambda x: network.head(network.dropout(network.relu(network.hidden(x)))),
    "a data parallel wrapper": nn.DataParallel,
}


@pytest.mark.parametrize("kind", ["Dropout", "F.dropout"])
@pytest.mark.parametrize("name", FORWARDS)
def test_the_model_is_found_in_the_method_and_its_draws_are_held(name: str, kind: str) -> None:
    if (name, kind) == ("its submodules", "F.dropout"):
        pytest.skip("a forward of submodules leaves out the function that drops out")
    network, inputs = build(kind), torch.randn(3, 5)
    forward = FORWARDS[name](network)
    dist = StochasticAttribution(IntegratedGradients(forward), MCDropout()).attribute(
        inputs, target=1, n_draws=3, n_steps=4, seed=2
    )
    assert dist.stdev().max() > 0
    for index in range(3):
        draw = MCDropout(network).network(index, inputs, seed=2)
        reference = forward if name == "a data parallel wrapper" else None
        plain = IntegratedGradients(FORWARDS[name](draw) if reference is None else draw)
        expected = plain.attribute(inputs, target=1, n_steps=4)
        if name != "a data parallel wrapper":  # its names begin with "module.", so it has other draws
            assert torch.equal(dist.draws[index], expected)


def test_a_global_that_a_function_refers_to_is_found() -> None:
    inputs = torch.randn(2, 5)
    dist = StochasticAttribution(Saliency(predict_global), MCDropout()).attribute(inputs, target=0, n_draws=4, seed=0)
    draw = MCDropout(GLOBAL).network(1, inputs, seed=0)
    assert torch.equal(dist.draws[1], Saliency(draw).attribute(inputs, target=0))


def test_where_no_model_is_found_the_error_says_to_pass_it() -> None:
    uq = StochasticAttribution(Saliency(lambda x: x.sum(1)), MCDropout())
    with pytest.raises(ValueError, match=r"Give it to the sampler: MCDropout\(model\)"):
        uq.attribute(torch.ones(1, 5))


def test_where_several_models_are_found_the_error_says_to_choose() -> None:
    one, other = build("Dropout"), build("F.dropout")
    uq = StochasticAttribution(Saliency(lambda x: one(x) + other(x)), MCDropout())
    with pytest.raises(ValueError, match="several networks, Dense, Functional"):
        uq.attribute(torch.ones(1, 5), target=0)
    chosen = StochasticAttribution(Saliency(lambda x: one(x) + other.eval()(x)), MCDropout(one))
    assert chosen.attribute(torch.ones(1, 5), target=0, n_draws=4, seed=0).stdev().max() > 0


def test_a_sampler_without_a_model_cannot_make_a_network() -> None:
    with pytest.raises(ValueError, match=r"MCDropout\(model\), or pass model="):
        MCDropout().network(0, torch.ones(1, 5))
    network = build("Dropout")
    one = MCDropout().network(0, torch.ones(1, 5), model=network, seed=1)
    assert torch.equal(one(torch.ones(1, 5)), MCDropout(network).network(0, torch.ones(1, 5), seed=1)(torch.ones(1, 5)))


def test_a_network_made_without_inputs_learns_its_shapes_from_its_first_forward() -> None:
    network, inputs = build("Dropout"), torch.randn(3, 5)
    lazy, shown = MCDropout(network).network(2, seed=1), MCDropout(network).network(2, inputs, seed=1)
    assert torch.equal(lazy(inputs), shown(inputs))
    assert torch.equal(lazy(inputs[:1]), shown(inputs[:1]))
    assert type(lazy.relu) is nn.ReLU
    assert isinstance(lazy.dropout, nn.Dropout)


def test_integer_tokens_a_second_input_and_an_argument() -> None:
    network = Tokens()
    tokens, scale = torch.randint(11, (3, 7)), torch.randn(3, 1)
    uq = StochasticAttribution(LayerIntegratedGradients(network, network.embedding), MCDropout())
    dist = uq.attribute(
        tokens, baselines=0 * tokens, target=1, additional_forward_args=(scale, 0.5), n_draws=3, n_steps=4, seed=0
    )
    for index in range(3):
        draw = MCDropout(network).network(index, tokens, additional_forward_args=(scale, 0.5), seed=0)
        expected = LayerIntegratedGradients(draw, draw.embedding).attribute(
            tokens, baselines=0 * tokens, target=1, additional_forward_args=(scale, 0.5), n_steps=4
        )
        assert torch.equal(dist.draws[index], expected)


def test_a_longer_sequence_begins_with_the_masks_of_a_shorter() -> None:
    """So that a language model is one network for prompts of every length."""
    network = nn.Sequential(nn.Dropout(0.5))
    one = MCDropout(network).network(0, torch.ones(1, 4, 6), seed=0)
    short, long = one(torch.ones(1, 4, 6)), one(torch.ones(1, 9, 6))
    assert torch.equal(long[:, :4], short)


def test_attention_keeps_the_heads_of_a_row_together() -> None:
    """Heads and rows share a dimension: one row's masks repeat in blocks, which is checked by running two rows."""

    class HeadsBeforeRows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            heads = torch.cat([x[..., :2], x[..., 2:]])  # (heads * N, 2): rows of one head together
            dropped = F.dropout(heads, 0.5, self.training)
            return torch.cat(dropped.chunk(2), -1)

    uq = StochasticAttribution(Saliency(HeadsBeforeRows()), MCDropout())
    with pytest.raises(RuntimeError, match="does not keep the rows of a batch together"):
        uq.attribute(torch.ones(4, 4), target=0, n_draws=2, seed=0)


def test_two_threads_on_one_model_take_turns() -> None:
    network, inputs = build("Dropout2d and BatchNorm"), KINDS["Dropout2d and BatchNorm"].inputs(3)
    expected = {}
    for seed in range(4):
        uq = StochasticAttribution(InputXGradient(network), MCDropout())
        expected[seed] = uq.attribute(inputs, target=0, n_draws=6, seed=seed).draws
    found: dict[int, Tensor] = {}

    def work(seed: int) -> None:
        uq = StochasticAttribution(InputXGradient(network), MCDropout())
        found[seed] = uq.attribute(inputs.clone(), target=0, n_draws=6, seed=seed).draws

    threads = [threading.Thread(target=work, args=(seed,)) for seed in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[seed], expected[seed]) for seed in expected)


@pytest.mark.parametrize("whole", [True, False])
def test_a_compiled_model_works_through_its_original_and_says_so(whole: bool) -> None:
    network, inputs = build("Dropout"), torch.randn(2, 5)
    expected = StochasticAttribution(Saliency(network), MCDropout()).attribute(inputs, target=0, n_draws=3, seed=0)
    if whole:
        compiled = torch.compile(build("Dropout"), backend="aot_eager")
    else:
        compiled = build("Dropout")
        compiled.dropout = torch.compile(compiled.dropout, backend="aot_eager")
    with torch.no_grad():
        compiled(inputs)  # compiled code, with its dropout inside, is there before the draws
    uq = StochasticAttribution(Saliency(compiled), MCDropout())
    with pytest.warns(UserWarning, match="is compiled; its draws run in eager mode"):
        dist = uq.attribute(inputs, target=0, n_draws=3, seed=0)
    assert torch.equal(dist.draws, expected.draws)


def test_no_draw_runs_compiled_code() -> None:
    class Spy(nn.Module):
        """Doubles its input where it is compiled."""

        def forward(self, x: Tensor) -> Tensor:
            return 2 * x if torch.compiler.is_compiling() else x

    network, inputs = nn.Sequential(nn.Dropout(0.5), Spy()), torch.ones(2, 5)
    expected = StochasticAttribution(Saliency(network), MCDropout()).attribute(inputs, target=0, n_draws=3, seed=0)
    with pytest.warns(UserWarning, match="is compiled"):
        dist = StochasticAttribution(Saliency(torch.compile(network, backend="eager")), MCDropout()).attribute(
            inputs, target=0, n_draws=3, seed=0
        )
    assert torch.equal(dist.draws, expected.draws)


def test_inference_mode_is_no_obstacle() -> None:
    network, inputs = build("Dropout"), torch.randn(2, 5)
    expected = StochasticAttribution(FeatureAblation(network), MCDropout()).attribute(
        inputs, target=0, n_draws=3, seed=0
    )
    with torch.inference_mode():
        dist = StochasticAttribution(FeatureAblation(network), MCDropout()).attribute(
            inputs, target=0, n_draws=3, seed=0
        )
    assert torch.equal(dist.draws, expected.draws)


@pytest.mark.parametrize("in_place", [False, True])
def test_the_probe_computes_every_product_once(in_place: bool) -> None:
    network = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.ReLU(in_place), nn.Conv2d(4, 4, 3), nn.ReLU(in_place), nn.Dropout(0.5)),
        *(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(in_place), nn.Dropout(0.5), nn.Linear(8, 2)),
    ).eval()
    x = torch.rand(3, 1, 8, 8)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        network(x[:1])
    with FlopCounterMode(display=False) as probe:
        MCDropout().bind(network).probe(network, (x,), {})
    assert probe.get_total_flops() == forward.get_total_flops() > 0


class ByMode(nn.Module):
    """Draws if its product is 1, as in train mode only: in eval mode the product's input is doubled.

    What is written to the input afterwards makes the two inputs look alike.
    """

    def __init__(self, write: bool) -> None:
        super().__init__()
        self.write, self.switch, self.drop = write, nn.Identity(), nn.Dropout(0.5)
        self.product = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.product.weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x * (1 if self.switch.training else 2)
        product = self.product(hidden)
        if self.write and self.switch.training:
            hidden.mul_(2)
        return self.drop(product) if product.item() == 1 else product


@pytest.mark.parametrize("write", [False, True])
def test_the_probe_takes_no_product_of_another_input_for_its_own(write: bool) -> None:
    with pytest.raises(NothingToDrawError):
        MCDropout(ByMode(write).eval()).network(0, torch.ones(1, 1))


def test_the_probe_of_plain_dropout_costs_two_rows() -> None:
    """Counted in forward passes, which do not wobble; other randomness costs a batch of two rows besides."""
    network, inputs = build("Dropout"), torch.randn(6, 5)
    rows: list[int] = []
    network.hidden.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    StochasticAttribution(Saliency(network), MCDropout()).attribute(
        inputs, target=0, n_draws=10, seed=0, return_predictions=False, return_deterministic=False, execution="loop"
    )
    assert sorted(rows) == [1, 1] + [6] * 10


@pytest.mark.parametrize("parts", ["uses", "modules"])
def test_every_use_of_every_module_has_a_mask_of_its_own(parts: str) -> None:
    """Two masks that agree would square one mask: half of the units would stay in place of a quarter."""
    dropout = nn.Dropout(0.5)
    network = nn.Sequential(dropout, dropout if parts == "uses" else nn.Dropout(0.5))
    kept = torch.stack([MCDropout(network).network(t, torch.ones(1, 50), seed=0)(torch.ones(1, 50)) for t in range(40)])
    assert 0.2 < (kept > 0).float().mean() < 0.3


def test_the_marginals_of_a_mask_are_those_of_dropout() -> None:
    network = nn.Sequential(nn.Dropout(0.3))
    masks = torch.stack(
        [MCDropout(network).network(t, torch.ones(1, 40), seed=0)(torch.ones(1, 40)) for t in range(200)]
    )
    assert masks.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    kept = (masks > 0).double()
    assert kept.mean() == pytest.approx(0.7, abs=0.02)
    correlation = torch.corrcoef(kept.flatten(1).T)
    off_diagonal = correlation[~torch.eye(40, dtype=torch.bool)]
    assert off_diagonal.abs().mean() < 2 / 200**0.5, "units are dropped independently"
