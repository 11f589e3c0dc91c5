"""`StochasticAttribution`: any method of Captum, over the draws of any sampler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from captum.attr import Attribution
from torch import Tensor, nn

from captum_uq._captum import log_usage
from captum_uq._rng import check_seed, take_seed
from captum_uq.distribution import DistributionAttribution
from captum_uq.distribution.keep import DRAWS
from captum_uq.distribution.stores import Store
from captum_uq.execution.job import INDEPENDENT, SHARED, EstimatorNoise, Job, run_deterministic, run_prediction
from captum_uq.execution.kept import Kept, check_summary
from captum_uq.execution.method import Call, find_model
from captum_uq.execution.plan import AUTO, check_execution, plan
from captum_uq.execution.run import run_draws
from captum_uq.execution.session import at_work
from captum_uq.execution.targets import resolve
from captum_uq.samplers._agreement import warn_if_disagreeing
from captum_uq.samplers.base import BoundSampler, Sampler, original
from captum_uq.stats.summary import check_named

_DETERMINISTIC = "deterministic"
_OWN = ("attribution_method", "sampler", "summary", "get_name")
"""Attributes of the wrapper; every other one is the method's."""


class StochasticAttribution(Attribution):  # type: ignore[misc]  # Captum is not typed for us
    """An attribution method whose results are distributions over the draws of a sampler.

    It wraps a method as `captum.attr.NoiseTunnel` does. Within one draw every forward pass, every row of the batch
    and every internal step of the method meets the same network.

    Args:
        attribution_method: Any attribution method of Captum.
        sampler: Where the draws come from.
        summary: What the result's own values are: ``"mean"``, ``"median"``, ``"percentile:5"``, ..., or
            ``"deterministic"`` (see `captum_uq.stats.summarize`).

    Raises:
        TypeError: The method is not one of Captum's, is stochastic already, or the sampler is not a sampler.
        ValueError: No statistic has the summary's name.

    References:
        Bykov et al. (B-LRP), 2020, eq. 4; Fischer and Schneider (MCRP), 2020, eq. 5 to 8.

    Example:
        >>> from captum.attr import Saliency
        >>> from captum_uq import MCDropout
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
        >>> uq = StochasticAttribution(Saliency(model), MCDropout())
        >>> dist = uq.attribute(torch.ones(4, 3, requires_grad=True), target=1, n_draws=20, seed=0)
        >>> dist.shape, dist.draws.shape
        (torch.Size([4, 3]), torch.Size([20, 4, 3]))
    """

    def __init__(
        self, attribution_method: Attribution, sampler: Sampler, *, summary: str | Callable[[Tensor], Tensor] = "mean"
    ) -> None:
        if not isinstance(attribution_method, Attribution) or isinstance(attribution_method, StochasticAttribution):
            got = type(attribution_method).__name__
            got = f"the class {attribution_method.__name__}" if isinstance(attribution_method, type) else got
            raise TypeError(
                "StochasticAttribution wraps an attribution method of Captum, such as IntegratedGradients(model), got "
                f"{got}. A method of captum_uq is stochastic already: give it sampler=."
            )
        if not isinstance(sampler, Sampler):
            raise TypeError(
                f"The sampler is an object such as MCDropout(), got {sampler!r}. "
                "See captum_uq.samplers for those there are."
            )
        if isinstance(summary, str) and summary != _DETERMINISTIC:
            check_named(summary)  # now, not after all the draws
        self.attribution_method = attribution_method
        self.sampler = sampler
        self.summary = summary
        self.get_name = attribution_method.get_name

    def __getattr__(self, name: str) -> Any:
        """Whatever else the method has: its ``forward_func``, ``layer``, ``model``, ``interpolate``, ...

        Raises:
            AttributeError: The method does not have it either.
        """
        if name.startswith("__") or "attribution_method" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.attribution_method, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """What is the method's is set on the method, so that setting an option works as with Captum."""
        method = vars(self).get("attribution_method")
        owner = self if method is None or name in _OWN or not hasattr(method, name) else method
        object.__setattr__(owner, name, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._method_name}, {self.sampler!r})"

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the method multiplies by the inputs (global attribution)."""
        return bool(self.attribution_method.multiplies_by_inputs)

    def has_convergence_delta(self) -> bool:
        """Whether the method can return a convergence delta."""
        return bool(self.attribution_method.has_convergence_delta())

    @log_usage()  # type: ignore[untyped-decorator]  # sets __wrapped__, which NoiseTunnel reads
    def attribute(
        self,
        *args: Any,
        n_draws: int | None = None,
        seed: int | None = None,
        estimator_seed: str = SHARED,
        keep: str = DRAWS,
        return_predictions: bool = True,
        return_deterministic: bool = True,
        nan_policy: str = "raise",
        execution: str = AUTO,
        draws_per_eval: int | str = AUTO,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Attribute, once for each draw.

        Args:
            args: The method's own arguments: ``inputs``, a tensor ``(N, *F)`` or a tuple of them, and what follows.
            n_draws: How many draws, `T`; None for the sampler's own number (100 for MC dropout).
            seed: Seed of the draws, a non-negative integer: the same seed gives the same networks, whatever the
                method, inputs or target, and leaves global random states alone. None takes a seed from torch's
                global generator; the result records it.
            estimator_seed: ``"shared"``: the method's own random numbers (LIME, KernelShap, GradientShap,
                NoiseTunnel) are the same in all draws, so the spread is the model's. ``"independent"``: each draw
                has others, so the spread holds both.
            keep: ``"draws"``; ``"moments"``, in memory that does not grow with `T`; ``"percentiles"`` (5 and 95) or
                ``"percentiles:5,50"``, exact, in the memory of the draws beyond them, and the moments with them.
                `captum_uq.distribution.keep.Keep` says what each of them gives and takes.
            return_predictions: Whether to keep the outputs of each draw on the inputs: `T` outputs of memory whatever
                is kept of the attributions, and one forward a draw where the method asks for no such outputs itself.
            return_deterministic: Whether to attribute the network as it stands as well: the price of one draw.
            nan_policy: ``"raise"`` on NaN or infinity in a draw, or ``"propagate"``.
            execution: How the draws are run; the values are the same. ``"loop"``: one after another. ``"fold"``: many
                draws in one batch, where method and sampler allow. ``"prefix"``: folded, and what comes before the
                first random module or drawn weight runs once for all. ``"auto"``: the fastest of them, checked against
                the loop once. ``dist.execution`` tells what was done and why.
            draws_per_eval: How many draws run at once; ``"auto"`` for what fits. It is halved when memory runs out.
            show_progress: Whether to show a progress bar over the draws.
            kwargs: The method's own keyword arguments: ``target``, ``baselines``, ``additional_forward_args``, ...
                Beside Captum's targets, ``target="predicted"`` is the class that the network as it stands predicts,
                and ``target="draw"`` the one that each draw predicts (see ``dist.predictions.flip_rate()``).

        Returns:
            What the method returns, every tensor a `DistributionAttribution`: a tensor, a tuple of tensors,
            ``(attributions, delta)``, a result object.

        Raises:
            ValueError: A bad ``n_draws``, ``seed``, ``estimator_seed``, ``execution`` or ``keep``; a summary that needs
                more of the draws than is kept; no network found, or nothing random in it; draws that are not finite or
                of different shapes.
            DrawError: The network draws something that cannot be held for a draw.

        Warns:
            DisagreementWarning: Most of 10 or more draws predict another class than the network as it stands.
        """  # noqa: DOC502 -- some are raised further down
        n_draws = self.sampler.default_draws if n_draws is None else n_draws
        self.sampler.check_draws(n_draws)
        n_draws = int(n_draws)  # of NumPy's integers, too
        check_execution(execution, draws_per_eval)
        if estimator_seed not in (SHARED, INDEPENDENT):
            raise ValueError(f"estimator_seed is {SHARED!r} or {INDEPENDENT!r}, got {estimator_seed!r}.")
        check_summary(self.summary, keep, n_draws)
        nan_policy = "propagate" if self.sampler.deterministic else nan_policy
        draws = Kept(n_draws, keep, nan_policy)
        follows_global = seed is None
        model = self._model()
        if seed is not None:
            seed = check_seed(seed)
        elif not self.sampler.deterministic:
            seed = take_seed()
        call = Call(self.attribution_method, args, kwargs)
        if show_progress and n_draws == 1 and call.accepts("show_progress"):
            kwargs["show_progress"] = True
        call = call.with_plain_baselines()
        noise = EstimatorNoise(estimator_seed, seed, follows_global)
        with at_work(self.sampler, model, call, restore_rng=not follows_global) as bound:
            job = self._job(call, model, bound, seed, noise)
            job.predicts &= return_predictions
            road = plan(job, n_draws, execution, draws_per_eval)
            bar = f"{self._method_name} draws" if show_progress else None
            predictions, road = run_draws(job, draws, road, bar)
            job.predicts &= predictions is not None
            return_deterministic |= self.summary == _DETERMINISTIC
            deterministic, own = self._as_it_stands(job, draws, return_deterministic)
        warn_if_disagreeing(predictions, own, self.sampler)
        return self._distributions(
            draws,
            deterministic,
            predictions=predictions,
            own_predictions=own,
            seed=seed,
            target=job.call.argument("target"),
            nan_policy=nan_policy,
            execution=road,
        )

    def attribute_future(self, *args: Any, **kwargs: Any) -> None:
        """Not implemented, as for most methods of Captum.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"attribute_future is not implemented for {type(self).__name__}")

    @property
    def _method_name(self) -> str:
        return type(self.attribution_method).__name__

    def _model(self) -> nn.Module | None:
        """The network to draw from.

        Raises:
            ValueError: None was found.
        """
        model = self.sampler.model if self.sampler.model is not None else find_model(self.attribution_method)
        if model is None and not self.sampler.deterministic:
            raise ValueError(
                f"No network was found in {self.attribution_method.get_name()}: its forward function is no "
                f"torch.nn.Module and refers to none. Give it to the sampler: {type(self.sampler).__name__}(model)."
            )
        return None if model is None else original(model)

    def _job(
        self, call: Call, model: nn.Module | None, bound: BoundSampler, seed: int | None, noise: EstimatorNoise
    ) -> Job:
        """The call, its target resolved, as every road takes it."""
        job = Job(
            call=call,
            run=Call.run,
            predicts=call.forward_arguments is not None,
            model=model,
            bound=bound,
            sampler=repr(self.sampler),
            deterministic=self.sampler.deterministic,
            seed=seed,
            noise=noise,
        )
        job.call, job.run = resolve(call, job.as_it_stands)
        return job

    def _as_it_stands(self, job: Job, draws: Kept, attributed: bool) -> tuple[Any, Tensor | None]:
        """Attribution, the baseline of all three papers, and prediction of the network as it stands."""
        if not attributed or self.sampler.deterministic:
            return draws.first() if attributed else None, run_prediction(job)
        return run_deterministic(job)

    def _distributions(self, draws: Kept, deterministic: Any, **facts: Any) -> Any:
        """Every tensor of the draws as a distribution."""
        facts |= {"summary": self.summary, "sampler": repr(self.sampler), "method": self._method_name}

        def distribution(store: Store, deterministic: Tensor | None = None) -> DistributionAttribution:
            known = store.draws if store.keep == DRAWS else store
            return DistributionAttribution(known, deterministic=deterministic, **facts)

        return draws.finish(distribution, *([] if deterministic is None else [deterministic]))
