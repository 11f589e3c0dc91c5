"""What the draws predict, beside what explains it: predictive mean, variance, entropies, flips."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_uq import stats
from captum_uq.samplers._agreement import Agreement, agreement, classes_of


class Predictions(torch.Tensor):
    """The outputs of each draw, ``(T, N, C)``: a tensor, with the summaries of the prediction side.

    Any torch operation on it returns a plain tensor. Entropies are in nats, of probabilities: outputs that are no
    probabilities (none negative, sum 1 over the last axis) are taken as logits and pass a softmax. One output
    ``C = 1`` is the score of class 1 against class 0.

    Example:
        >>> predictions = Predictions.of(torch.tensor([[[0.9, 0.1]], [[0.1, 0.9]]]))
        >>> predictions.expectation(), predictions.flip_rate()
        (tensor([[0.5000, 0.5000]]), tensor([0.5000]))
        >>> predictions.entropy(), predictions.mutual_information()
        (tensor([0.6931]), tensor([0.3681]))
    """

    deterministic: Tensor | None
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # as nn.Parameter's

    @classmethod
    def of(cls, outputs: Tensor, deterministic: Tensor | None = None) -> Predictions:
        """The outputs with their summaries, on the same memory.

        Args:
            outputs: Outputs of each draw, ``(T, N, C)``, or ``(T, C)`` of one example.
            deterministic: Outputs of the network as it stands, ``(N, C)`` or ``(C,)``.

        Returns:
            The predictions.
        """
        predictions = outputs.detach().as_subclass(cls)
        predictions.deterministic = deterministic
        return predictions

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
        """
        outputs = self.outputs
        if outputs.dim() < 2 or not outputs.is_floating_point():
            raise ValueError(
                f"Entropies need the outputs of a classifier, (T, N, C), got shape {tuple(outputs.shape)}. For a "
                "regression, look at variance()."
            )
        if outputs.shape[-1] == 1:
            in_unit = bool(((outputs >= 0) & (outputs <= 1)).all())
            positive = outputs if in_unit else outputs.sigmoid()
            return torch.cat([1 - positive, positive], dim=-1)
        sums = outputs.sum(-1)
        normalized = bool((outputs >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
        return outputs if normalized else outputs.softmax(-1)

    def predictive(self) -> Tensor:
        """Posterior predictive probabilities, ``1/T sum_t p_t``, ``(N, C)``."""
        return self.probabilities().mean(0)

    def entropy(self) -> Tensor:
        """Entropy of the predictive mean, ``H[1/T sum_t p_t]``: the total uncertainty, ``(N,)``."""
        return _entropy(self.predictive())

    def mutual_information(self) -> Tensor:
        """``H[1/T sum_t p_t] - 1/T sum_t H[p_t]``: what the draws do not agree on (BALD), ``(N,)``.

        References:
            Houlsby et al., Bayesian Active Learning for Classification and Preference Learning, 2011, eq. 1.
        """
        return (self.entropy() - _entropy(self.probabilities()).mean(0)).clamp_min(0)

    def classes(self) -> Tensor:
        """Predicted class of each draw, ``(T, N)``."""
        return classes_of(self.outputs)

    def flip_rate(self) -> Tensor:
        """Share of draws that predict another class than the network itself, ``(N,)``.

        Where the network's own outputs are not known: another class than the most frequent one.
        """
        classes = self.classes()
        reference = classes.mode(0).values if self.deterministic is None else classes_of(self.deterministic)
        return (classes != reference).to(self.outputs.dtype).mean(0)

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
        return agreement(self.outputs, self.deterministic, labels)


def _entropy(probabilities: Tensor) -> Tensor:
    """``-sum_c p_c log p_c``, with ``0 log 0 = 0``."""
    entropy: Tensor = torch.special.entr(probabilities).sum(-1)
    return entropy
