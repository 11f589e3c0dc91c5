"""Linear interpolation of missing pixels for many pictures at once, no sparse matrix and no loop over pictures."""

from dataclasses import dataclass

import torch
from torch import Tensor

from captum_uq.metrics._inputs import precise

__all__ = ["interpolate"]


def interpolate(rows: Tensor, missing: Tensor, tolerance: float, max_iterations: int) -> Tensor:
    """Replace missing pixels by the solution of "each is the weighted mean of its neighbours".

    The system of a plane is ``(D - W) x = W_known y``, symmetric and positive definite, solved by conjugate
    gradients with the diagonal as preconditioner, in float64. Everything is elementwise or a fixed tree of
    additions, and a plane that has converged leaves the iteration: no plane's value depends, by a single bit, on
    the planes beside it.

    Args:
        rows: Shape ``(R, C, H, W)``.
        missing: Which pixels are missing, bool, shape ``(R, C, H, W)``.
        tolerance: Residual, relative to the right-hand side, at which a plane is solved.
        max_iterations: Steps allowed.

    Returns:
        ``rows`` with the missing pixels interpolated, same shape and dtype.

    Raises:
        RuntimeError: A plane is not solved within the steps allowed.

    References:
        [1] Rong et al., "A consistent and efficient evaluation strategy for attribution methods", 2022, equation 3.
        [2] Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems", 1952.
    """  # noqa: DOC502 (raised by the solver)
    planes = rows.flatten(0, 1).to(precise(rows.device))
    hole = missing.flatten(0, 1)
    start = torch.where(hole, _known_mean(planes, hole), planes)
    solved = _solve(start, hole.to(planes), tolerance, max_iterations)
    return solved.view(rows.shape).to(rows.dtype)


def _neighbours(planes: Tensor) -> Tensor:
    """Weighted sum over the eight neighbours inside the picture: 1/6 beside, 1/12 across."""
    across = 2 * planes
    across[..., 1:] += planes[..., :-1]
    across[..., :-1] += planes[..., 1:]
    both = 2 * across
    both[..., 1:, :] += across[..., :-1, :]
    both[..., :-1, :] += across[..., 1:, :]
    return (both - 4 * planes) / 12


def _total(planes: Tensor) -> Tensor:
    """Sum over each plane by halving, so that the order of additions is the plane's own, shape ``(P, 1, 1)``."""
    flat = planes.flatten(1)
    while flat.shape[1] > 1:
        half = (flat.shape[1] + 1) // 2
        folded = flat[:, :half].clone()
        folded[:, : flat.shape[1] - half] += flat[:, half:]
        flat = folded
    return flat.unsqueeze(-1)


def _known_mean(planes: Tensor, hole: Tensor) -> Tensor:
    """Mean of the known pixels of each plane; of all of them where none is known."""
    known = torch.where(hole.flatten(1).all(1).view(-1, 1, 1), torch.ones_like(hole), ~hole).to(planes.dtype)
    return _total(planes * known) / _total(known)


@dataclass
class _State:
    """Planes still being solved, shape ``(P, H, W)`` each, and the numbers of conjugate gradients."""

    solution: Tensor
    hole: Tensor
    residual: Tensor
    direction: Tensor
    energy: Tensor
    goal: Tensor

    def keep(self, which: Tensor) -> "_State":
        return _State(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def _solve(start: Tensor, hole: Tensor, tolerance: float, max_iterations: int) -> Tensor:
    degree = _neighbours(torch.ones_like(start[:1]))
    solution, open_planes = start, torch.arange(len(start), device=start.device)
    state = _begin(start, hole, degree, tolerance)
    for step in range(max_iterations + 1):
        if step % 8 == 0:
            unsolved = (_total(state.residual**2) > state.goal).flatten()
            done = open_planes[~unsolved]
            solution = solution.index_copy(0, done, state.solution[~unsolved])
            open_planes, state = open_planes[unsolved], state.keep(unsolved)
            if not len(open_planes):
                return solution
        _advance(state, degree)
    raise RuntimeError(
        f"NoisyLinearImputation must solve every picture, {len(open_planes)} planes are unsolved after "
        f"{max_iterations} steps. Raise max_iterations or tolerance."
    )


def _begin(start: Tensor, hole: Tensor, degree: Tensor, tolerance: float) -> _State:
    residual = (_neighbours(start) - degree * start) * hole
    scale = _total((_neighbours(start * (1 - hole)) * hole) ** 2) + _total((degree * start * hole) ** 2)
    direction = residual / degree
    return _State(start, hole, residual, direction, _total(residual * direction), tolerance**2 * scale)


def _advance(state: _State, degree: Tensor) -> None:
    image = (degree * state.direction - _neighbours(state.direction)) * state.hole
    step = state.energy / _total(state.direction * image)
    step = step.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)  # a plane solved exactly before the next look
    state.solution = state.solution + step * state.direction
    state.residual = state.residual - step * image
    conditioned = state.residual / degree
    energy = _total(state.residual * conditioned)
    ratio = (energy / state.energy).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    state.direction = conditioned + ratio * state.direction
    state.energy = energy
