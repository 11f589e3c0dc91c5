"""What a sampler tells of the predictions of its draws."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from captum_uq._model_state import ModelState, preserved
from captum_uq._rng import check_seed, isolated
from captum_uq._trees import tree_map
from captum_uq.samplers._agreement import Agreement, agreement, warn_if_low
from captum_uq.samplers._networks import as_tuple, exclusive


class Predicting:
    """The outputs of the draws, whether they agree with the network itself, and their mean."""

    default_draws: int

    @abstractmethod
    def check_draws(self, n_draws: int) -> None:
        """Refuse a number of draws that the sampler cannot give."""

    @abstractmethod
    def _model(self, model: nn.Module | None) -> nn.Module:
        """The network to draw from."""

    @abstractmethod
    def _bound(self, model: nn.Module, inputs: Any, additional_forward_args: Any) -> Any:
        """The sampler at work on a network, which it has seen run."""

    def outputs(
        self,
        inputs: Any,
        n_draws: int | None = None,
        *,
        seed: int = 0,
        model: nn.Module | None = None,
        additional_forward_args: Any = None,
    ) -> Tensor:
        """What each draw predicts, without any attribution.

        Args:
            inputs: Tensor or tuple of tensors, ``(N, *F)`` each.
            n_draws: How many draws, `T`; None for the sampler's own number.
            seed: Seed of the draws.
            model: The network, where the sampler was made without one.
            additional_forward_args: Further arguments of the model's forward, as in Captum.

        Returns:
            The outputs, shape ``(T, N, *outputs)``.

        Raises:
            TypeError: The network does not return one tensor.
        """  # noqa: DOC502 -- raised by the helper
        n_draws = self.default_draws if n_draws is None else n_draws
        self.check_draws(n_draws)
        network, seed = self._model(model), check_seed(seed)
        args = (*as_tuple(inputs), *as_tuple(additional_forward_args))
        with exclusive(), preserved(network, buffers=True), isolated(), torch.no_grad():
            bound = self._bound(network, inputs, additional_forward_args)
            state = ModelState(network, buffers=True)
            return torch.stack([_output(network, args, bound.draw(index, seed), state) for index in range(n_draws)])

    def agreement(
        self,
        inputs: Any,
        n_draws: int | None = None,
        *,
        labels: Tensor | None = None,
        seed: int = 0,
        model: nn.Module | None = None,
        additional_forward_args: Any = None,
    ) -> Agreement:
        """How often the draws predict the class that the network itself predicts; warns below a half.

        Args:
            inputs: Tensor or tuple of tensors, ``(N, *F)`` each.
            n_draws: How many draws; None for the sampler's own number.
            labels: True classes, ``(N,)``, for the accuracy of the draws.
            seed: Seed of the draws.
            model: The network, where the sampler was made without one.
            additional_forward_args: Further arguments of the model's forward, as in Captum.

        Returns:
            The share that agrees, and the accuracies.

        Raises:
            TypeError: The network does not return one tensor.
            ValueError: The outputs are not those of a classifier, or the labels not one for each input.
        """  # noqa: DOC502 -- raised by the helpers
        options = {"model": model, "additional_forward_args": additional_forward_args}
        outputs = self.outputs(inputs, n_draws, seed=seed, **options)
        network = self._model(model)
        args = (*as_tuple(inputs), *as_tuple(additional_forward_args))
        with exclusive(), preserved(network, buffers=True), isolated(), torch.no_grad():
            bound = self._bound(network, inputs, additional_forward_args)
            deterministic = _output(network, args, bound.undrawn(), ModelState(network))
        result = agreement(outputs, deterministic, labels)
        warn_if_low(result, self)
        return result

    def predictive(
        self,
        model: nn.Module | None = None,
        n_draws: int | None = None,
        *,
        seed: int = 0,
        transform: Callable[[Tensor], Tensor] | None = None,
    ) -> Callable[..., Tensor]:
        """The posterior predictive mean as a function of the inputs.

        Args:
            model: The network, where the sampler was made without one.
            n_draws: How many draws to average; None for the sampler's own number.
            seed: Seed of the draws: the same at every call.
            transform: Applied to the outputs of each draw, ``(T, N, C)``, before the mean: a softmax over the last
                dimension, to average probabilities and not logits.

        Returns:
            ``(*inputs) -> (N, *outputs)``.

        Raises:
            TypeError: The model is no module.
            ValueError: ``n_draws`` is no number of draws that there are.
        """  # noqa: DOC502 -- the second is raised by the check
        if model is not None and not isinstance(model, nn.Module):
            raise TypeError(f"predictive takes a torch.nn.Module first, got {model!r}. A number is n_draws={model!r}.")
        if n_draws is not None:
            self.check_draws(n_draws)

        def predict(*inputs: Tensor) -> Tensor:
            outputs = self.outputs(inputs, n_draws, seed=seed, model=model)
            return (outputs if transform is None else transform(outputs)).mean(0)

        return predict


def _output(
    network: nn.Module, args: tuple[Any, ...], draw: AbstractContextManager[object], state: ModelState
) -> Tensor:
    """What a network predicts in a draw, which begins and ends with the network in one state.

    Raises:
        TypeError: It is not one tensor.
    """
    try:
        with draw:
            output = network(*tree_map(torch.clone, args))
    finally:
        state.restore()
    if not isinstance(output, Tensor):
        raise TypeError(
            f"Outputs of draws are stacked, so {type(network).__name__} must return one tensor, got a "
            f"{type(output).__name__}. Wrap it in a module that returns the one of interest."
        )
    return output.clone()  # it may lie on memory that the next draw is written to
