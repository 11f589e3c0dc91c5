"""MC dropout: draws by record and replay of whatever a network draws in train mode."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from captum_uq.samplers._numbers import is_number
from captum_uq.samplers._replay import ReplayedNetwork
from captum_uq.samplers._select import Selector, as_selectors, selected_modules
from captum_uq.samplers._sites import module_names
from captum_uq.samplers.base import BoundSampler, Sampler


class MCDropout(Sampler):
    """Draws of a network by Monte Carlo dropout, each one fixed network.

    Whatever the network draws at random in train mode is found by running it once on one row, and then held for
    each draw: dropout modules of every kind, dropout called as a function, inside attention, LSTM and GRU,
    stochastic depth. Modules that keep running statistics (BatchNorm) never leave eval mode. All rows of a batch
    meet the same masks; each row's marginal distribution is that of ordinary MC dropout.

    Args:
        model: The network; None to find it in the attribution method.
        p: Rate of every dropout, in place of the network's own, also where that is 0; None to keep them.
        modules: Which modules may draw: names, glob patterns of names, or types. A module counts with everything
            inside it. None for all. What draws in eval mode too cannot be left out.

    Raises:
        ValueError: ``p`` is not a rate in [0, 1].

    References:
        Gal and Ghahramani, Dropout as a Bayesian Approximation, 2016; Fischer and Schneider (MCRP), 2020, eq. 5
        and 6: the forward and the relevance pass use the same drawn parameters.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
        >>> x = torch.ones(1, 3)
        >>> network = MCDropout(model).network(0, x, seed=1)
        >>> bool((network(x) == network(x)).all())
        True
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        *,
        p: float | None = None,
        modules: Selector | Sequence[Selector] | None = None,
    ) -> None:
        super().__init__(model)
        if p is not None and (not is_number(p) or not 0 <= p <= 1):
            raise ValueError(f"A dropout rate is a number in [0, 1], got p={p!r}. p=None keeps the model's own.")
        self.p = None if p is None else float(p)
        self.modules = as_selectors(modules)

    def bind(self, model: nn.Module) -> BoundSampler:
        """The draws of ``model``."""
        return ReplayedNetwork(model, self._active(module_names(model)), self.p)

    def _active(self, names: dict[str, nn.Module]) -> set[str]:
        """Names of the modules that may draw: those selected, without norms."""
        chosen = selected_modules(names, self.modules)
        return {name for name in chosen if not _keeps_statistics(names[name])}

    def __repr__(self) -> str:
        modules = None if self.modules is None else [getattr(m, "__name__", m) for m in self.modules]
        given = {name: value for name, value in (("p", self.p), ("modules", modules)) if value is not None}
        return f"MCDropout({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _keeps_statistics(module: nn.Module) -> bool:
    return hasattr(module, "running_mean") or hasattr(module, "running_var")
