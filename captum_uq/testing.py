"""The laws of a sampler as one check, for samplers of your own: `check_sampler`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._checked_case import SEED, Case, inputs_of
from captum_uq._model_state import preserved
from captum_uq._rng import GlobalState, isolated, seed_global
from captum_uq.samplers.base import Sampler, evaluation_mode

__all__ = ["LawBrokenError", "check_sampler"]

_MANY = 16
"""Draws in which to look for repetitions; few enough to be quick, and too many to be the same by chance."""


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
        TypeError: A sampler was given, and not what makes one; or the network's output is no tensor.

    Example:
        >>> from captum_uq.samplers import NoiseGrad
        >>> check_sampler(lambda: NoiseGrad(std=0.1), nn.Linear(3, 2))
    """  # noqa: DOC502 -- raised by the checks
    if isinstance(make_sampler, Sampler):
        raise TypeError(f"check_sampler takes what makes the sampler anew, as in lambda: {make_sampler!r}.")
    with preserved(model, buffers=True), isolated():
        evaluation_mode(model)
        case = Case(make_sampler, model, inputs_of(model, inputs))
        for check in _CHECKS:
            check(case)


def _no_trace(case: Case) -> None:
    law = "a draw leaves no trace, by return or by exception"
    before = case.state()
    bound = case.bound()
    _same_state(law, before, case.state(), "when the sampler was bound to the model")
    case.outputs(bound, 0)
    _same_state(law, before, case.state(), "after a draw")
    try:
        with bound.draw(0, SEED):
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


def _no_global_randomness(case: Case) -> None:
    seed_global(SEED, "elsewhere")  # where no sampler would set them
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


def _repeatable(case: Case) -> None:
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


def _draws_differ(case: Case) -> None:
    bound = case.bound()
    outputs = [case.outputs(bound, index) for index in case.indices]
    if len(outputs) > 1 and all(torch.equal(outputs[0], other) for other in outputs[1:]):
        raise LawBrokenError(
            "draws differ: nothing random, no answer",
            f"Draws {list(case.indices)} gave the same outputs. Draw with the index, or raise NothingToDrawError.",
        )
    if case.endless and (repetition := _repetition([case.outputs(bound, index) for index in range(_MANY)])):
        raise LawBrokenError(
            "draws differ where there is no end to them",
            f"Of draws 0 to {_MANY - 1}, {repetition}. Draw with all of the index, or give their number, max_draws.",
        )


def _repetition(outputs: list[Tensor]) -> str | None:
    """How draws repeat, where they do: several in a row are one network, or they start again."""
    for size in range(2, len(outputs) // 2 + 1):
        if all(torch.equal(output, outputs[t - t % size]) for t, output in enumerate(outputs)):
            return f"{size} in a row were the same network each time"
        if all(torch.equal(*pair) for pair in zip(outputs[size:], outputs, strict=False)):
            return f"draw {size} was draw 0 again, and so on"
    return None


def _one_network(case: Case) -> None:
    bound = case.bound()
    with torch.no_grad(), bound.draw(0, SEED):
        first, second = case.model(*case.inputs), case.model(*case.inputs)
    if not torch.equal(first, second):
        raise LawBrokenError("one draw is one network", "Two forward passes in one draw gave different outputs.")


def _independent_of_the_batch(case: Case) -> None:
    whole = case.outputs(case.bound(), 0)
    for row in range(len(whole)):
        alone = tuple(tensor[row : row + 1] for tensor in case.inputs)
        if not _close(case.outputs(case.bound(alone), 0, alone)[0], whole[row]):
            raise LawBrokenError(
                "a draw does not depend on the batch",
                f"Row {row} alone met another network than in a batch of {len(whole)}. Draw one row's numbers and use "
                "them for all rows.",
            )


_OWN = "network(t) is draw t, as a network of its own"


def _oracle(case: Case) -> None:
    sampler, before = case.make_sampler(), case.state()
    for index in case.indices:
        network = sampler.network(index, case.inputs, seed=SEED, model=case.model)
        _same_state(_OWN, before, case.state(), f"when network({index}) was made")
        with torch.no_grad():
            output = network(*case.inputs)
        if not _close(output, case.outputs(case.bound(), index)):
            raise LawBrokenError(_OWN, f"network({index}) predicts something else than draw {index}.")
        with _written(network), torch.no_grad():
            again = sampler.network(index, case.inputs, seed=SEED, model=case.model)(*case.inputs)
        if not _close(output, again):
            raise LawBrokenError(
                _OWN,
                f"Writing to the weights of network({index}) changed the next network({index}): it shares memory with "
                "what the sampler keeps. Clone it in network(), as Sampler.network does.",
            )


@contextlib.contextmanager
def _written(network: nn.Module) -> Iterator[None]:
    """Other values meanwhile in the memory of a network's dense tensors."""
    every = (tensor.data for tensor in (*network.parameters(), *network.buffers()))
    tensors = [tensor for tensor in every if tensor.is_floating_point() and tensor.layout is torch.strided]
    before = [tensor.clone() for tensor in tensors]
    try:
        for tensor in tensors:
            tensor.add_(1)
        yield
    finally:
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)


def _counts(case: Case) -> None:
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
