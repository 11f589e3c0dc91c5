"""The protocol: what a source of model uncertainty supplies, and what every sampler can then do."""

from __future__ import annotations

import contextlib
import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from captum_uq._inside import tensors_in
from captum_uq._model_state import preserved, without_graphs
from captum_uq._rng import check_index, check_seed, isolated
from captum_uq._tensors import address
from captum_uq.samplers._checked import AmbiguousRowsError, Checked
from captum_uq.samplers._networks import as_tuple, evaluation_mode, exclusive, original
from captum_uq.samplers._numbers import is_whole
from captum_uq.samplers._predicting import Predicting
from captum_uq.samplers._prefix import CannotFoldError
from captum_uq.samplers._rows import Rows

__all__ = [
    "AmbiguousRowsError",
    "BoundSampler",
    "CannotFoldError",
    "Checked",
    "DrawError",
    "NothingToDrawError",
    "Rows",
    "Sampler",
    "as_tuple",
    "evaluation_mode",
    "exclusive",
    "original",
]


class DrawError(RuntimeError):
    """A network draws something that cannot be held for a draw, so that no draw of it is one network."""


class NothingToDrawError(DrawError, ValueError):
    """A sampler finds nothing random in a network: it never returns a zero spread instead (design law 5)."""


class BoundSampler(ABC):
    """A sampler at work on one model.

    A new source supplies `draw`; the others have defaults.
    """

    sites: Collection[str] = ()
    """Names of the modules whose random numbers a draw holds, as far as they are known: no two samplers may."""

    hidden_sites: Sequence[str] = ()
    """Modules that draw in their own code, where Captum's LRP cannot pass relevance on."""

    def probe(self, forward_func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """See how the model is called, before the first draw.

        Args:
            forward_func: The model, or the function around it.
            args: Its arguments, ``(N, *F)`` the batched tensors.
            kwargs: Its keyword arguments.
        """
        return

    @abstractmethod
    def draw(self, index: int, seed: int) -> AbstractContextManager[object]:
        """A context inside which the model is network ``index``; leaving it undoes everything.

        Every module is in eval mode when it is entered. What it draws depends on ``(seed, index)`` alone.
        """

    def weights(self, index: int, seed: int) -> Mapping[str, Tensor] | None:
        """All that draw ``index`` changes, where that is parameters and buffers: their values by name.

        Whoever runs many draws at once stacks them. None where a draw is more than weights.
        """
        return None

    def folded(self, indices: Sequence[int], seed: int, rows: Rows) -> AbstractContextManager[object] | None:
        """A context inside which each row of a forward meets the network of its own draw.

        Args:
            indices: The draws, `D` of them.
            seed: Seed of the draws.
            rows: Tells, during a forward, which of the draws each row belongs to.

        Returns:
            The context; None where a sampler makes one network at a time. Inside, what cannot share a batch raises
            `CannotFoldError`, and the draws run one after another.
        """
        return None

    def undrawn(self) -> AbstractContextManager[object]:
        """A context for the attribution of the network as it stands, with nothing drawn."""
        return contextlib.nullcontext()

    def scope(self, forward_func: Callable[..., Any]) -> Callable[..., Any]:
        """``forward_func`` as it must be called within a draw, where it is a function around the model."""
        return forward_func


class Sampler(Predicting, ABC):
    """Where draws come from: one draw is one fixed network (design law 1).

    Args:
        model: The network to draw from; None to find it in the attribution method.

    Attributes:
        deterministic: Whether every draw is the same network.
        default_draws: Draws taken where the user does not say how many.
        max_draws: How many draws there are; None where there is no end.
        kind: ``"posterior"`` where the draws approximate p(weights | data), else ``"perturbation"``.
    """

    deterministic: ClassVar[bool] = False
    kind: ClassVar[str] = "posterior"
    default_draws: int = 100
    max_draws: int | None = None

    def __init__(self, model: nn.Module | None = None) -> None:
        if model is not None and not isinstance(model, nn.Module):
            raise TypeError(
                f"{type(self).__name__} draws from a torch.nn.Module, got a {type(model).__name__} as its model. "
                "Give the module itself; options such as p= are keywords."
            )
        self.model = model

    @abstractmethod
    def bind(self, model: nn.Module) -> BoundSampler:
        """This sampler at work on ``model``."""

    def check_draws(self, n_draws: int) -> None:
        """Refuse a number of draws that this sampler cannot give.

        Raises:
            ValueError: ``n_draws`` is not a positive integer, or is more than there are.
        """
        if not is_whole(n_draws) or n_draws < 1:
            raise ValueError(f"n_draws is a positive integer, got {n_draws!r}. One draw is the least.")
        if self.max_draws is not None and n_draws > self.max_draws:
            raise ValueError(
                f"{self!r} has {self.max_draws} draws, n_draws={n_draws} asks for more. "
                f"Ask for {self.max_draws} or fewer."
            )

    @contextlib.contextmanager
    def draw(
        self,
        index: int,
        inputs: Any = None,
        *,
        seed: int = 0,
        model: nn.Module | None = None,
        additional_forward_args: Any = None,
    ) -> Iterator[nn.Module]:
        """The model itself as network ``index``, for the length of a ``with`` block.

        Args:
            index: Which draw.
            inputs: Tensor or tuple of tensors that show the shapes, ``(N, *F)`` each, as passed to the model.
            seed: Seed of the draws.
            model: The network, where the sampler was made without one.
            additional_forward_args: Further arguments of the model's forward, as in Captum.

        Yields:
            The model, inside which it is network ``index``.
        """
        network = self._model(model)
        with contextlib.ExitStack() as stack:
            stack.enter_context(exclusive())
            stack.enter_context(preserved(network, buffers=True))
            bound = self._bound(network, inputs, additional_forward_args)
            stack.enter_context(bound.draw(check_index(index), check_seed(seed)))
            yield network

    def network(
        self,
        index: int,
        inputs: Any = None,
        *,
        seed: int = 0,
        model: nn.Module | None = None,
        additional_forward_args: Any = None,
    ) -> nn.Module:
        """Draw ``index`` as an independent, deterministic module: the oracle (design law 2).

        Takes what `draw` takes. Plain Captum on it gives what `StochasticAttribution` gives for this draw.

        Returns:
            A deep copy of the model, in eval mode, with the draw inside, which ``copy.deepcopy`` copies too. To store
            it, store the model and what drew it: sampler, index and seed.
        """
        model = self._model(model)
        with exclusive():
            with without_graphs(model):
                network = copy.deepcopy(model, _sparse_copies(model))
            context = self._bound(network, inputs, additional_forward_args).draw(check_index(index), check_seed(seed))
            _entered(context, tensors_in(network.modules()))
        network.captum_uq_draw = context  # type: ignore[assignment]  # a context that is collected would undo itself
        return network

    def _model(self, model: nn.Module | None) -> nn.Module:
        model = self.model if model is None else model
        if model is None:
            raise ValueError(
                f"{type(self).__name__} does not know which network to draw from. "
                f"Make it with one, {type(self).__name__}(model), or pass model=."
            )
        return original(model)

    def _bound(self, model: nn.Module, inputs: Any, additional_forward_args: Any) -> BoundSampler:
        if not self.deterministic:
            evaluation_mode(model)
        bound = self.bind(model)
        if inputs is not None:
            with isolated():
                bound.probe(model, (*as_tuple(inputs), *as_tuple(additional_forward_args)), {})
        return bound

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _sparse_copies(model: nn.Module) -> dict[int, Tensor]:
    """Copies of a model's sparse tensors, as the memo of `copy.deepcopy`: torch's own knows only dense ones."""
    sparse = (tensor for tensor in tensors_in(model.modules()) if tensor.layout is not torch.strided)
    copies = ((tensor, tensor.detach().clone()) for tensor in sparse)
    return {
        id(tensor): nn.Parameter(twin, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin
        for tensor, twin in copies
    }


def _entered(context: AbstractContextManager[object], tensors: list[Tensor]) -> None:
    """Enter a draw for good: a sampler may give the memory that it stores its weights in."""
    own = [address(tensor) for tensor in tensors]
    context.__enter__()
    for tensor, before in zip(tensors, own, strict=True):
        if address(tensor) != before or tensor.layout is not torch.strided:
            tensor.data = tensor.data.clone()
