"""A sampler at work on the network of one call, and everything put back afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from captum_uq._model_state import preserved, preserved_gradients
from captum_uq._rng import isolated
from captum_uq._trees import leaves
from captum_uq.execution.compiled import eager
from captum_uq.execution.method import Call, forward_in_scope, propagates_relevance
from captum_uq.samplers.base import BoundSampler, DrawError, Sampler, exclusive


@contextlib.contextmanager
def at_work(sampler: Sampler, model: nn.Module | None, call: Call, *, restore_rng: bool) -> Iterator[BoundSampler]:
    """Bind the sampler for one call; model, inputs and generators are what they were on leaving, by any way.

    Args:
        sampler: Where the draws come from.
        model: The network; None where a sampler that draws nothing needs none.
        call: The call.
        restore_rng: Whether the global generators are put back too.

    Yields:
        The sampler at work on the model.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(exclusive())
        if model is not None:
            stack.enter_context(preserved(model, buffers=True))
            stack.enter_context(eager(model, call.method))
        stack.enter_context(preserved_gradients(list(leaves((call.args, call.kwargs)))))
        if restore_rng:
            stack.enter_context(isolated())
        bound = sampler.bind(model if model is not None else nn.Module())
        stack.enter_context(forward_in_scope(call.method, bound.scope))
        with contextlib.nullcontext() if restore_rng else isolated():
            _probe(bound, call)
        yield bound


def _probe(bound: BoundSampler, call: Call) -> None:
    """Show the sampler how the network is called, before any method has its hooks in it.

    Raises:
        DrawError: The network draws something that cannot be held, or not under this method.
    """
    arguments, is_lrp = call.forward_arguments, propagates_relevance(call.method)
    if arguments is not None:
        try:
            bound.probe(call.method.forward_func, arguments, {})
        except DrawError:
            raise
        except Exception:  # a wrong argument: the method itself says it as Captum does
            if is_lrp:  # ... but LRP looks at the modules first, which are made ready by the probe
                raise
    if bound.hidden_sites and is_lrp:
        raise DrawError(
            f"LRP passes relevance through modules, and {bound.hidden_sites[0]} drops out inside its own code: "
            "relevance would not be conserved. Write the dropout as a module (nn.Dropout), or leave it out (modules=)."
        )
