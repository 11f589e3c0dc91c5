"""The mean against the spread: ``(T, *shape) -> (*shape)``."""

from __future__ import annotations

from torch import Tensor

from captum_uq.stats._centre import centre, spread
from captum_uq.stats._draws import checked, needs_more_than, ratio, result_dtype


def snr(draws: Tensor, correction: int = 1) -> Tensor:
    """Signal-to-noise ratio over draws.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        correction: That of the standard deviation; see :func:`variance`.

    Returns:
        ``mean / stdev`` (section 3.1 of [1]), shape ``shape``; 0/0 is 0, x/0 infinity with the sign of x.

    Raises:
        ValueError: If ``T <= correction``.

    References:
        [1] Fischer and Schneider, On feature relevance uncertainty: a Monte Carlo dropout sampling approach
        (MCRP), 2020.

    Example:
        >>> import torch
        >>> snr(torch.tensor([[1.0, 5.0, 0.0], [3.0, 5.0, 0.0], [2.0, 5.0, 0.0]]))
        tensor([2., inf, 0.])
    """  # noqa: DOC502 (raised in needs_more_than)
    needs_more_than(len(checked(draws)), correction, "snr")
    mean, deviations, _ = centre(draws)
    return ratio(mean, spread(deviations, correction)).to(result_dtype(draws))


def confusion(draws: Tensor, correction: int = 1) -> Tensor:
    """Confusion over draws: large where a feature matters and the model is unsure of it.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        correction: That of the standard deviation; see :func:`variance`.

    Returns:
        ``mean * stdev`` (section 3.1 of [1]), shape ``shape``, with the sign of the mean.

    Raises:
        ValueError: If ``T <= correction``.

    References:
        [1] Fischer and Schneider, On feature relevance uncertainty: a Monte Carlo dropout sampling approach
        (MCRP), 2020.

    Example:
        >>> import torch
        >>> confusion(torch.tensor([1.0, 2.0, 3.0]))
        tensor(2.)
    """  # noqa: DOC502 (raised in needs_more_than)
    needs_more_than(len(checked(draws)), correction, "confusion")
    mean, deviations, scale = centre(draws)
    return (mean * spread(deviations, correction) * scale * scale).to(result_dtype(draws))


def cv(draws: Tensor, correction: int = 1) -> Tensor:
    """Coefficient of variation over draws.

    Args:
        draws: Attributions, shape ``(T, *shape)``.
        correction: That of the standard deviation; see :func:`variance`.

    Returns:
        ``stdev / |mean|`` [1], shape ``shape``; 0/0 is 0, x/0 infinity.

    Raises:
        ValueError: If ``T <= correction``.

    References:
        [1] Mulye and Valdenegro-Toro, Uncertainty quantification for gradient-based explanations in neural
        networks, 2024 (there over the mean; the magnitude keeps it a measure of spread).

    Example:
        >>> import torch
        >>> cv(torch.tensor([[-1.0, 0.0], [-2.0, 0.0], [-3.0, 0.0]]))
        tensor([0.5000, 0.0000])
    """  # noqa: DOC502 (raised in needs_more_than)
    needs_more_than(len(checked(draws)), correction, "cv")
    mean, deviations, _ = centre(draws)
    return ratio(spread(deviations, correction), mean.abs()).to(result_dtype(draws))
