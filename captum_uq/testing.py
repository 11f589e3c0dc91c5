"""The laws of a sampler as one check, for samplers of your own: `check_sampler`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._checked_state import checked_state
from captum_uq._rng import GlobalState, isolated, seed_global
from captum_uq.samplers.base import BoundSampler, Sampler, as_tuple, evaluation_mode

__all__ = ["LawBrokenError", "check_sampler"]

_SEED = 20240501
_ROWS = 4


class LawBrokenError(AssertionError):
    """A sampler breaks a law; ``law`` is its name.

    Args:
        law: The law in a few words.
        what: What was seen, and what to do about it.
    """

    def __init__(self, law: str, what: str) -> None:
        super().__init__(f"Law broken: {law}. {what}")
        self.law = law


def check_sampler(
    make_sampler: Callable[[], Sampler], model: nn.Module, inputs: Tensor | tuple[Tensor, ...] | None = None
) -> None:
    """Run the laws of design on a sampler and a network, and raise with the one that fails.

    Leaves no trace; draws are told apart, repeatable, and depend on the seed and the draw's number alone, not on
    the batch or the order; one draw is one network; the oracle ``network(t)`` is that network, and independent;
    the number of draws is kept; global generators stay as they are.

    Args:
        make_sampler: Makes the sampler anew, as in ``lambda: MySampler(0.1)``; it is used on ``model``.
        model: A network in which the sampler finds something to draw. It is put in eval mode for the check.
        inputs: Some inputs of it, at least two rows ``(N, *F)``; None where its first layer is an `nn.Linear`.

    Raises:
        LawBrokenError: A law does not hold.
        TypeError: A sampler was given, and not what makes one.

    Example:
        >>> from captum_uq.samplers import NoiseGrad
        >>> check_sampler(lambda: NoiseGrad(std=0.1), nn.Linear(3, 2))
    """  # noqa: DOC502 -- raised by the checks
    if isinstance(make_sampler, Sampler):
        raise TypeError(f"check_sampler takes what makes the sampler anew, as in lambda: {make_sampler!r}.")
    flags = {module: module.training for module in model.modules()}
    evaluation_mode(model)
    try:
        with isolated():
            case = _Case(make_sampler, model, _inputs(model, inputs))
            for check in _CHECKS:
                check(case)
    finally:
        for module, training in flags.items():
            module.training = training


class _Case:
    """A sampler maker and a network on which it is checked."""

    def __init__(self, make_sampler: Callable[[], Sampler], model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.make_sampler, self.model, self.inputs = make_sampler, model, inputs
        limit = make_sampler().max_draws
        self.indices = range(3 if limit is None else min(3, limit))
        self._own = set[str]()
        self._own = self._changed_by_a_forward()

    def state(self) -> dict[str, Any]:
        """The network's observable state, without what a plain forward changes: that is the network's own doing."""
        return {key: value for key, value in checked_state(self.model).items() if key not in self._own}

    def _changed_by_a_forward(self) -> set[str]:
        with torch.no_grad():
            self.model(*self.inputs)  # what appears in the first forward only
            before = self.state()
            self.model(*self.inputs)
        after = self.state()
        return {key for key in {**before, **after} if before.get(key) != after.get(key)}

    def bound(self, inputs: tuple[Tensor, ...] | None = None) -> BoundSampler:
        """A new sampler that has seen the network run."""
        sampler = self.make_sampler()
        bound = sampler.bind(self.model)
        with isolated():
            bound.probe(self.model, self.inputs if inputs is None else inputs, {})
        return bound

    def outputs(self, bound: BoundSampler, index: int, inputs: tuple[Tensor, ...] | None = None) -> Tensor:
        """What draw ``index`` predicts, ``(N, *outputs)``."""
        with torch.no_grad(), bound.draw(index, _SEED):
            output: Tensor = self.model(*(self.inputs if inputs is None else inputs))
        return output


def _inputs(model: nn.Module, inputs: Tensor | tuple[Tensor, ...] | None) -> tuple[Tensor, ...]:
    """The inputs of the check.

    Raises:
        ValueError: None were given and none can be made up, or there is a single row.
    """
    if inputs is None:
        first = next(module for module in model.modules() if next(module.parameters(recurse=False), None) is not None)
        if not isinstance(first, nn.Linear):
            raise ValueError("check_sampler makes up inputs for a model that begins with a Linear layer; give inputs=.")
        rng = torch.Generator().manual_seed(_SEED)
        inputs = torch.randn(_ROWS, first.in_features, generator=rng).to(first.weight)
    inputs = as_tuple(inputs)
    if any(len(tensor) < 2 for tensor in inputs):
        raise ValueError("check_sampler compares a batch with its rows: give inputs of at least 2 rows.")
    return inputs


def _no_trace(case: _Case) -> None:
    law = "a draw leaves no trace, by return or by exception"
    before = case.state()
    bound = case.bound()
    _same_state(law, before, case.state(), "when the sampler was bound to the model")
    case.outputs(bound, 0)
    _same_state(law, before, case.state(), "after a draw")
    try:
        with bound.draw(0, _SEED):
            raise _InsideError
    except _InsideError:
        pass
    _same_state(law, before, case.state(), "after an exception inside a draw (use try/finally)")


class _InsideError(Exception):
    """Raised inside a draw by the check."""


def _same_state(law: str, before: dict[str, Any], after: dict[str, Any], when: str) -> None:
    changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if changed:
        raise LawBrokenError(law, f"{', '.join(changed[:3])} changed {when}. Undo in the context's exit all it did.")


def _no_global_randomness(case: _Case) -> None:
    seed_global(_SEED, "elsewhere")  # where no sampler would set them
    before = _generators()
    case.outputs(case.bound(), 0)
    if _generators() != before:
        raise LawBrokenError(
            "a draw with a seed touches no global generator",
            "The state of torch's, NumPy's or Python's generator moved. Draw from captum_uq.samplers.standard_normal, "
            "or from a generator of your own.",
        )


def _generators() -> tuple[Any, ...]:
    state = GlobalState.now()
    return bytes(state.torch_cpu.numpy()), str(state.numpy), state.python


def _repeatable(case: _Case) -> None:
    bound = case.bound()
    expected = [case.outputs(bound, index) for index in case.indices]
    torch.rand(3)  # the global generators stand elsewhere now
    again = case.bound()
    for index in reversed(case.indices):
        for other in (bound, again):
            if not _close(case.outputs(other, index), expected[index]):
                raise LawBrokenError(
                    "a draw is repeatable, in any order",
                    f"Draw {index} was another network the second time. It may depend on (seed, index) alone.",
                )


def _draws_differ(case: _Case) -> None:
    bound = case.bound()
    outputs = [case.outputs(bound, index) for index in case.indices]
    if len(outputs) > 1 and all(torch.equal(outputs[0], other) for other in outputs[1:]):
        raise LawBrokenError(
            "draws differ: nothing random, no answer",
            f"Draws {list(case.indices)} gave the same outputs. Draw with the index, or raise NothingToDrawError.",
        )


def _one_network(case: _Case) -> None:
    bound = case.bound()
    with torch.no_grad(), bound.draw(0, _SEED):
        first, second = case.model(*case.inputs), case.model(*case.inputs)
    if not torch.equal(first, second):
        raise LawBrokenError("one draw is one network", "Two forward passes in one draw gave different outputs.")


def _independent_of_the_batch(case: _Case) -> None:
    whole = case.outputs(case.bound(), 0)
    for row in range(len(whole)):
        alone = tuple(tensor[row : row + 1] for tensor in case.inputs)
        if not _close(case.outputs(case.bound(alone), 0, alone)[0], whole[row]):
            raise LawBrokenError(
                "a draw does not depend on the batch",
                f"Row {row} alone met another network than in a batch of {len(whole)}. Draw one row's numbers and use "
                "them for all rows.",
            )


def _oracle(case: _Case) -> None:
    law = "network(t) is draw t, as a network of its own"
    sampler, before = case.make_sampler(), case.state()
    for index in case.indices:
        network = sampler.network(index, case.inputs, seed=_SEED, model=case.model)
        _same_state(law, before, case.state(), f"when network({index}) was made")
        with torch.no_grad():
            output = network(*case.inputs)
        if not _close(output, case.outputs(case.bound(), index)):
            raise LawBrokenError(law, f"network({index}) predicts something else than draw {index}.")


def _counts(case: _Case) -> None:
    sampler = case.make_sampler()
    limit = sampler.max_draws
    if limit is not None and sampler.default_draws > limit:
        raise LawBrokenError(
            "there are as many draws as max_draws", f"default_draws={sampler.default_draws} is more than {limit}."
        )
    if sampler.kind not in ("posterior", "perturbation"):
        raise LawBrokenError('a sampler is a "posterior" or a "perturbation"', f"kind is {sampler.kind!r}.")


def _close(one: Tensor, other: Tensor) -> bool:
    """Equal up to the order of sums, which changes with the size of a batch."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5)


_CHECKS = (
    _no_trace,
    _no_global_randomness,
    _draws_differ,
    _one_network,
    _repeatable,
    _independent_of_the_batch,
    _oracle,
    _counts,
)
