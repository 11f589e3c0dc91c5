"""Methods that explain by a surrogate: one call for all draws gives the loop's draws, whatever the surrogate is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import captum.attr as attr
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from captum_uq import MCDropout, StochasticAttribution
from captum_uq._captum import SURROGATES_OF_MANY_OUTPUTS
from captum_uq.execution.foldable import FOLDABLE, folding
from captum_uq.execution.method import Call
from captum_uq.execution.surrogates import Surrogates, by_surrogate
from captum_uq.samplers import DropConnect, InputNoise
from captum_uq.samplers.base import CannotFoldError
from networks import build
from roads import hold_equal

REGRESSION, RIDGE, LASSO = SURROGATES_OF_MANY_OUTPUTS


class Difference:
    """A surrogate of the user's own: weighted differences of the means with a feature and without."""

    def __init__(self, shape: tuple[int, ...] = (-1,), dtype: torch.dtype = torch.float32) -> None:
        self.shape, self.dtype, self.fits = shape, dtype, 0

    def fit(self, loader: DataLoader[Any]) -> None:
        self.fits += 1
        (x, y, w), *_ = list(loader)
        x, y, w = (part.double() for part in (x, y, w))
        y = y + 1e-3 * torch.rand(())  # of the method's own random numbers, which all draws share
        self.coefficients = (x * (w * y)[:, None]).mean(0) - ((1 - x) * (w * y)[:, None]).mean(0)

    def representation(self) -> Tensor:
        return self.coefficients.view(self.shape).to(self.dtype)


def of_the_inputs(inputs: Any, **given: Any) -> Tensor:
    return torch.randn(inputs.shape, dtype=inputs.dtype)


Make = Callable[[Any], attr.Attribution]
MAKERS: dict[str, Make] = {
    "KernelShap": attr.KernelShap,
    "Lime": attr.Lime,
    "Lime by a ridge": lambda net: attr.Lime(net, interpretable_model=RIDGE(alpha=0.1)),
    "Lime by a regression": lambda net: attr.Lime(net, interpretable_model=REGRESSION()),
    "Lime by a sparse lasso": lambda net: attr.Lime(net, interpretable_model=LASSO(alpha=1e-3)),
    "Lime by one's own": lambda net: attr.Lime(net, interpretable_model=Difference()),
}
ARGUMENTS: dict[str, Callable[[Tensor], dict[str, Any]]] = {
    "a batch": lambda x: {"inputs": x, "target": 1},
    "a batch of one": lambda x: {"inputs": x[:1], "target": 2},
    "a target each": lambda x: {"inputs": x, "target": [0, 2, 1]},
    "a tensor of targets": lambda x: {"inputs": x, "target": torch.tensor([2, 0, 1])},
    "each draw's own class": lambda x: {"inputs": x, "target": "draw"},
    "the predicted class": lambda x: {"inputs": x, "target": "predicted"},
    "groups of features": lambda x: {"inputs": x, "target": 1, "feature_mask": torch.tensor([[0, 0, 1, 1, 2]])},
    "coefficients": lambda x: {"inputs": x, "target": 1, "return_input_shape": False},
    "the coefficients of one": lambda x: {"inputs": x[:1], "target": 1, "return_input_shape": False},
    "several perturbations": lambda x: {"inputs": x, "target": 1, "perturbations_per_eval": 3},
    "baselines by example": lambda x: {"inputs": x, "target": 1, "baselines": x.flip(0)},
}


def inputs_of(rows: int = 3) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each call that answered for several draws."""
    calls: list[object] = []
    plain = Surrogates.looked_up
    monkeypatch.setattr(Surrogates, "looked_up", lambda self, result: calls.append(self) or plain(self, result))
    return calls


EVERY = [(name, given, "prefix") for name in MAKERS for given in ARGUMENTS]
EVERY += [(name, "a batch", "fold") for name in MAKERS] + [("KernelShap", given, "fold") for given in ARGUMENTS]


@pytest.mark.parametrize(("name", "argument", "execution"), EVERY)
def test_one_call_gives_the_draws_of_the_loop(name: str, argument: str, execution: str, fitted: list[object]) -> None:
    make, given = MAKERS[name], ARGUMENTS[argument]
    uq, options = StochasticAttribution(make(build("Dropout").eval()), MCDropout()), given(inputs_of())
    options = {"n_samples": 8, "n_draws": 5, "seed": 1, **options}
    inputs = options.pop("inputs")
    dist = uq.attribute(inputs, **options, execution=execution, draws_per_eval=2)
    assert len(fitted) == (0 if options["target"] == "draw" else 4), "the check, and 2, 2 and 1 draws"
    loop = uq.attribute(inputs, **options, execution="loop")
    hold_equal(dist, loop)
    assert (dist.draws.dtype, dist.draws.shape) == (loop.draws.dtype, loop.draws.shape)
    assert dist.execution.road == execution, dist.execution
    assert float(loop.draws.std(0).max()) > 0


@pytest.mark.parametrize("sampler", [DropConnect(p=0.3), InputNoise(std=0.1)], ids=repr)
def test_other_samplers(sampler: Any) -> None:
    uq, inputs = StochasticAttribution(attr.KernelShap(build("Dropout").eval()), sampler), inputs_of()
    options = {"target": 1, "n_samples": 12, "n_draws": 9, "seed": 1}
    hold_equal(uq.attribute(inputs, **options), uq.attribute(inputs, **options, execution="loop"))


def test_several_inputs_and_further_arguments() -> None:
    uq = StochasticAttribution(attr.KernelShap(build("two inputs and an argument").eval()), MCDropout())
    inputs, masks = (torch.randn(2, 4), torch.randn(2, 3)), (torch.tensor([[0, 0, 1, 1]]), torch.tensor([[1, 2, 3]]))
    options = {"target": 1, "additional_forward_args": (2.0,), "feature_mask": masks, "n_draws": 4, "seed": 1}
    dist = uq.attribute(inputs, **options, execution="prefix")
    hold_equal(dist, uq.attribute(inputs, **options, execution="loop"))
    assert dist[0].execution.road == "prefix"


@pytest.mark.parametrize("shape", [(5,), (1, 5), (5, 1)], ids=str)
def test_the_base_of_lime_with_a_space_of_the_users_own(shape: tuple[int, ...]) -> None:
    method = attr.LimeBase(
        build("Dropout").double().eval(),
        interpretable_model=Difference(shape, torch.float64),
        similarity_func=lambda original, other, interpretable, **given: torch.exp(-(original - other).norm()),
        perturb_func=of_the_inputs,
        perturb_interpretable_space=False,
        from_interp_rep_transform=None,
        to_interp_rep_transform=lambda sample, original, **given: sample,
    )
    uq, options = StochasticAttribution(method, MCDropout()), {"target": 1, "n_samples": 9, "n_draws": 4, "seed": 1}
    dist = uq.attribute(inputs_of(1).double(), **options, execution="fold")
    loop = uq.attribute(inputs_of(1).double(), **options, execution="loop")
    hold_equal(dist, loop)
    assert dist.execution.road == "fold", dist.execution
    assert (dist.draws.shape, dist.draws.dtype) == ((4, *shape), torch.float64) == (loop.draws.shape, loop.draws.dtype)


@pytest.mark.parametrize("shaped", [True, False])
def test_the_dtype_is_captums(shaped: bool) -> None:
    """Captum returns coefficients as the surrogate has them, and attributions in float32."""
    method = attr.Lime(build("Dropout").double().eval(), interpretable_model=Difference(dtype=torch.float64))
    uq, options = StochasticAttribution(method, MCDropout()), {"target": 1, "n_samples": 9, "n_draws": 4, "seed": 1}
    dist = uq.attribute(inputs_of(2).double(), **options, return_input_shape=shaped, execution="fold")
    assert dist.execution.road == "fold", dist.execution
    loop = uq.attribute(inputs_of(2).double(), **options, return_input_shape=shaped, execution="loop")
    assert dist.draws.dtype == loop.draws.dtype == (torch.float32 if shaped else torch.float64)
    hold_equal(dist, loop)


class Scores(nn.Module):
    """Outputs of more than one dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = build("Dropout")

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).unsqueeze(2) * torch.tensor([1.0, -2.0])


@pytest.mark.parametrize("target", [(1, 0), [(0, 1), (2, 0), (1, 1)]], ids=str)
def test_targets_of_several_dimensions(target: Any) -> None:
    uq, options = StochasticAttribution(attr.KernelShap(Scores().eval()), MCDropout()), {"n_draws": 4, "seed": 1}
    dist = uq.attribute(inputs_of(), target=target, **options, execution="prefix")
    hold_equal(dist, uq.attribute(inputs_of(), target=target, **options, execution="loop"))
    assert dist.execution.road == "prefix"


def test_a_hook_of_the_network_sees_its_outputs() -> None:
    network = build("Dropout").eval()
    network.register_forward_hook(lambda module, args, outputs: outputs.softmax(1))
    uq, options = StochasticAttribution(attr.KernelShap(network), MCDropout()), {"target": 1, "n_draws": 4, "seed": 1}
    dist = uq.attribute(inputs_of(), **options, execution="prefix")
    hold_equal(dist, uq.attribute(inputs_of(), **options, execution="loop"))
    assert dist.execution.road == "prefix"


@pytest.mark.parametrize("make", [attr.KernelShap, MAKERS["Lime by one's own"]], ids=["Captum's", "one's own"])
def test_the_surrogate_is_left_as_a_loop_leaves_it(make: Make) -> None:
    method = make(build("Dropout").eval())
    uq, options = StochasticAttribution(method, MCDropout()), {"target": 1, "n_draws": 5, "seed": 1}
    own = method.interpretable_model
    uq.attribute(inputs_of(1), **options, execution="loop", return_deterministic=False)
    expected = own.representation().clone()
    uq.attribute(inputs_of(1), **options | {"n_draws": 4}, execution="loop")
    uq.attribute(inputs_of(1), **options, execution="fold", return_deterministic=False)
    assert method.interpretable_model is own
    torch.testing.assert_close(own.representation(), expected)


def test_the_generators_stand_where_a_loop_leaves_them() -> None:
    uq = StochasticAttribution(attr.KernelShap(build("Dropout").eval()), MCDropout())

    def after(execution: str) -> Tensor:
        torch.manual_seed(3)
        return torch.stack([uq.attribute(inputs_of(), target=1, n_draws=5, execution=execution).sum(), torch.rand(())])

    torch.testing.assert_close(after("prefix"), after("loop"))


def test_captum_runs_once_and_scikit_learn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for all columns, and once for the last, which the user's surrogate is left with."""
    fits: list[tuple[int, ...]] = []
    plain = REGRESSION.fit

    def counted(self: Any, train_data: DataLoader[Any], **given: Any) -> Any:
        fits.append(tuple(train_data.dataset.tensors[1].shape))
        return plain(self, train_data, **given)

    monkeypatch.setattr(REGRESSION, "fit", counted)
    uq = StochasticAttribution(attr.KernelShap(build("Dropout").eval()), MCDropout())
    options = {"target": 1, "n_samples": 12, "n_draws": 20, "seed": 1, "return_deterministic": False}
    uq.attribute(inputs_of(), **options)  # the check
    fits.clear()
    assert uq.attribute(inputs_of(), **options).execution.draws_per_eval == 20
    assert fits == [(12, 20), (12,)] * 3


def test_an_error_leaves_the_methods_own_surrogate() -> None:
    class Failing(Difference):
        def fit(self, loader: DataLoader[Any]) -> None:
            super().fit(loader)
            if self.fits > 20:
                raise KeyError("of the user's")

    method = attr.Lime(build("Dropout").eval(), interpretable_model=Failing())
    own, forward_func = method.interpretable_model, method.forward_func
    with pytest.raises(KeyError, match="of the user's"):
        StochasticAttribution(method, MCDropout()).attribute(inputs_of(), target=1, n_draws=30, seed=0)
    assert method.interpretable_model is own
    assert method.forward_func is forward_func


@pytest.mark.parametrize("make", SURROGATES_OF_MANY_OUTPUTS)
@pytest.mark.filterwarnings("ignore:Creating a tensor from a list")
def test_the_listed_surrogates_fit_columns_as_if_they_were_alone(make: Any) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(2, (20, 6), generator=rng).float()
    y, w = torch.randn(20, 4, generator=rng), torch.rand(20, generator=rng)

    def fitted(outputs: Tensor) -> Tensor:
        model = make()
        model.fit(DataLoader(TensorDataset(x, outputs, w), batch_size=20))
        return model.representation()

    torch.testing.assert_close(fitted(y), torch.cat([fitted(column) for column in y.T]))


def test_which_calls_have_one_surrogate_call() -> None:
    method, listed = attr.KernelShap(build("Dropout")), {kind for kind, how in FOLDABLE.items() if how.surrogate}
    assert listed == {attr.KernelShap, attr.Lime, attr.LimeBase}
    for target, expected in ((1, True), (None, True), (torch.tensor([1]), True), ("draw", False)):
        assert by_surrogate(Call(method, (inputs_of(),), {"target": target}), folding(method)) == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_numbers_that_cannot_be_told_apart_are_refused(dtype: torch.dtype) -> None:
    class Coarse(Difference):
        def representation(self) -> Tensor:
            return torch.zeros(5000, dtype=dtype)

    surrogates = Surrogates(Coarse(), 2)
    numbers = surrogates.around(lambda x: torch.cat([x, x]))(torch.randn(6, 3))
    loader = DataLoader(TensorDataset(torch.ones(6, 4), numbers[:, 1], torch.ones(6)), batch_size=6)
    with pytest.raises(CannotFoldError, match="tell apart"):
        surrogates.fit(loader)


def test_outputs_that_are_no_tensor_are_refused() -> None:
    with pytest.raises(CannotFoldError, match="one tensor"):
        Surrogates(Difference(), 2).around(lambda x: (x, x))(torch.randn(6, 3))
