"""What the draws predict, beside what explains it: predictive mean, variance, entropies, flips."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from captum_uq import stats
from captum_uq.samplers._agreement import Agreement, agreement, are_probabilities, classes_of
from captum_uq.stats._draws import widest, working


class Predictions(torch.Tensor):
    """The outputs of each draw, ``(T, N, C)``: a tensor, with the summaries of the prediction side.

    Any torch operation on it returns a plain tensor. Entropies are in nats, of probabilities: outputs that are no
    probabilities (none negative, sum 1 over the last axis) are taken as logits and pass a softmax. One output
    ``C = 1`` is the score of class 1 against class 0: its probability where the outputs of all draws, all examples of
    the call and the network as it stands lie in [0, 1], else its logit.

    Example:
        >>> predictions = Predictions.of(torch.tensor([[[0.9, 0.1]], [[0.1, 0.9]]]))
        >>> predictions.expectation(), predictions.flip_rate()
        (tensor([[0.5000, 0.5000]]), tensor([0.5000]))
        >>> predictions.entropy(), predictions.mutual_information()
        (tensor([0.6931]), tensor([0.3681]))
    """

    deterministic: Tensor | None
    of_classes: bool
    of_probabilities: bool
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # as nn.Parameter's

    @classmethod
    def of(
        cls,
        outputs: Tensor,
        deterministic: Tensor | None = None,
        *,
        of_classes: bool = True,
        of_probabilities: bool | None = None,
    ) -> Predictions:
        """The outputs with their summaries, on the same memory.

        Args:
            outputs: Outputs of each draw, ``(T, N, C)``, or ``(T, C)`` of one example.
            deterministic: Outputs of the network as it stands, ``(N, C)`` or ``(C,)``.
            of_classes: Whether the last axis is that of classes.
            of_probabilities: Whether they are probabilities; None to tell by all of them.

        Returns:
            The predictions.
        """
        predictions = outputs.detach().as_subclass(cls)
        predictions.deterministic = deterministic
        predictions.of_classes = of_classes and outputs.dim() > 1
        predictions.of_probabilities = (
            probabilities_in(outputs, deterministic) if of_probabilities is None else of_probabilities
        )
        return predictions

    def __deepcopy__(self, memo: dict[int, Any]) -> Predictions:
        own = copy.deepcopy(self.deterministic, memo)
        facts = {"of_classes": self.of_classes, "of_probabilities": self.of_probabilities}
        return self.of(self.outputs.clone(), own, **facts)

    @property
    def outputs(self) -> Tensor:
        """The outputs as a plain tensor."""
        return self.as_subclass(torch.Tensor)

    def expectation(self) -> Tensor:
        """Mean of the outputs over draws, ``(N, C)``."""
        return stats.expectation(self.outputs)

    def variance(self, correction: int = 1) -> Tensor:
        """Variance of the outputs over draws, ``(N, C)``."""
        return stats.variance(self.outputs, correction)

    def probabilities(self) -> Tensor:
        """Class probabilities of each draw, ``(T, N, C)``; of two classes where there is one output.

        Raises:
            ValueError: The outputs have no axis of classes.
        """  # noqa: DOC502 -- raised by the check
        return self._probabilities().to(self.dtype)

    def _probabilities(self) -> Tensor:
        """`probabilities` in float32 or better: in half precision differences of entropies are mere rounding."""
        outputs = working(self._of_a_classifier())
        if outputs.shape[-1] == 1:
            positive = outputs if self.of_probabilities else outputs.sigmoid()
            return torch.cat([1 - positive, positive], dim=-1)
        return outputs if self.of_probabilities else outputs.softmax(-1)

    def predictive(self) -> Tensor:
        """Posterior predictive probabilities, ``1/T sum_t p_t``, ``(N, C)``."""
        return self._probabilities().mean(0).to(self.dtype)

    def entropy(self) -> Tensor:
        """Entropy of the predictive mean, ``H[1/T sum_t p_t]``: the total uncertainty, ``(N,)``."""
        return _entropy(self._probabilities().mean(0)).to(self.dtype)

    def mutual_information(self) -> Tensor:
        """``H[1/T sum_t p_t] - 1/T sum_t H[p_t]``: what the draws do not agree on (BALD), ``(N,)``.

        References:
            Houlsby et al., Bayesian Active Learning for Classification and Preference Learning, 2011, eq. 1.
        """
        probabilities = self._probabilities()
        information = _entropy(probabilities.mean(0)) - _entropy(probabilities).mean(0)
        return information.clamp_min(0).to(self.dtype)

    def classes(self) -> Tensor:
        """Predicted class of each draw, ``(T, N)``.

        Raises:
            ValueError: The outputs have no axis of classes.
        """  # noqa: DOC502 -- raised by the check
        return classes_of(self._of_a_classifier(), self.of_probabilities)

    def _of_a_classifier(self) -> Tensor:
        """The outputs, where their last axis is that of classes.

        Raises:
            ValueError: It is not.
        """
        if not self.of_classes or not self.outputs.is_floating_point():
            raise ValueError(
                f"Classes and entropies need the outputs of a classifier, (T, N, C), got shape {tuple(self.shape)}. "
                "For a regression, look at variance(). Where there are several positions, put the axis of classes last "
                "and say so: captum_uq.distribution.predictions.Predictions.of(outputs.movedim(2, -1))."
            )
        return self.outputs

    def flip_rate(self) -> Tensor:
        """Share of draws that predict another class than the network itself, ``(N,)``.

        Where the network's own outputs are not known: another class than the most frequent one.
        """
        classes = self.classes()
        own = self.deterministic
        reference = classes.mode(0).values if own is None else classes_of(own, self.of_probabilities)
        return widest(classes != reference).mean(0).to(self.dtype)

    def agreement(self, labels: Tensor | None = None) -> Agreement:
        """How often draws predict what the network itself predicts, over all examples.

        Args:
            labels: True classes, ``(N,)``, for the accuracy of the draws.

        Returns:
            The share, and the accuracies.

        Raises:
            ValueError: The network's own outputs are not known.
        """
        if self.deterministic is None:
            raise ValueError(
                "Agreement compares with the network itself, whose outputs were not kept. "
                "Measure it with sampler.agreement(inputs)."
            )
        return agreement(self.outputs, self.deterministic, labels, self.of_probabilities)


def probabilities_in(outputs: Tensor, deterministic: Tensor | None) -> bool:
    """Whether outputs of draws ``(T, N, C)``, and of the network as it stands, are probabilities of classes."""
    return outputs.dim() > 1 and are_probabilities(outputs, *([] if deterministic is None else [deterministic]))


def _entropy(probabilities: Tensor) -> Tensor:
    """``-sum_c p_c log p_c``, with ``0 log 0 = 0``."""
    entropy: Tensor = torch.special.entr(probabilities).sum(-1)
    return entropy
