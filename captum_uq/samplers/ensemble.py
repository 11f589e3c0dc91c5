"""Ensembles: each member is one draw."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from captum_uq.samplers._members import Matcher, Member, member_at, require_difference
from captum_uq.samplers._weights import BoundWeights
from captum_uq.samplers.base import BoundSampler, NothingToDrawError, Sampler


class Ensemble(Sampler):
    """Draws of a network from an ensemble: draw ``t`` is member ``t``.

    Members are networks of one architecture - the same modules with the same options, rates of dropout aside - or
    state dicts. The attribution method keeps its own model, any member or another network of that architecture; within
    draw ``t`` it has the parameters of member ``t``, by reference, and copies of its buffers, which a forward may write
    into. There are as many draws as members, whatever the seed.

    Args:
        members: At least two modules or state dicts.
        model: The network that stands for all; None to find it in the attribution method.

    Raises:
        TypeError: ``members`` is no sequence of modules or state dicts.
        NothingToDrawError: There are fewer than two.

    References:
        Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles, 2017.

    Example:
        >>> members = [nn.Linear(2, 1) for _ in range(5)]
        >>> sampler = Ensemble(members)
        >>> sampler.max_draws, bool((sampler.network(3).weight == members[3].weight).all())
        (5, True)
    """

    def __init__(self, members: Sequence[Member], model: nn.Module | None = None) -> None:
        super().__init__(model)
        if isinstance(members, nn.ModuleList):
            members = list(members)
        if not isinstance(members, Sequence) or isinstance(members, str):
            raise TypeError(f"Ensemble takes a list of modules or of state dicts, got one {type(members).__name__}.")
        if len(members) < 2:
            raise NothingToDrawError(
                f"Ensemble has nothing to draw: it looks for at least two members, got {len(members)}. "
                "Train more, or use MCDropout on the one there is."
            )
        self.members = list(members)
        self.max_draws = self.default_draws = len(self.members)

    def bind(self, model: nn.Module) -> BoundSampler:
        """The members' weights, for ``model``.

        Raises:
            TypeError: A state dict holds something else than a tensor for a weight.
            ValueError: A member has another architecture, or is a module with other options, than ``model``.
            NothingToDrawError: All members are equal.
        """  # noqa: DOC502 -- raised by the helpers
        match = Matcher(model)
        members = [match.matched(member, f"Member {k} of the ensemble") for k, member in enumerate(self.members)]
        require_difference(members, self)
        return BoundWeights(model, lambda index, seed: member_at(members, index, self))

    def _model(self, model: nn.Module | None) -> nn.Module:
        """Where no model is given, member 0 stands for all."""
        if model is None and self.model is None:
            model = next((member for member in self.members if isinstance(member, nn.Module)), None)
        return super()._model(model)

    def __repr__(self) -> str:
        return f"Ensemble({len(self.members)} members)"
