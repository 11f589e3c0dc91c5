"""Fills that need a picture: blur, and imputation from the neighbours."""

from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor
from torch.nn import functional as F

from captum_uq.metrics._imputation import interpolate
from captum_uq.metrics._inputs import check_count
from captum_uq.metrics._noise import ExampleNoise
from captum_uq.metrics.fills import Fill, check_floats

__all__ = ["GaussianBlur", "NoisyLinearImputation"]


@dataclass(frozen=True)
class GaussianBlur(Fill):
    """The example blurred: RISE starts insertion from it. Edges are continued by their outermost pixel.

    Args:
        kernel_size: Odd width of the kernel, in pixels.
        sigma: Standard deviation of the Gaussian, in pixels.

    References:
        Petsiuk et al., "RISE: Randomized input sampling for explanation of black-box models", 2018, section 4.1.
    """

    kernel_size: int = 11
    sigma: float = 5.0

    def values(self, inputs: Tensor, noise: ExampleNoise, stream: int) -> Tensor:
        """Blur every channel; see ``Fill.values``.

        Args:
            inputs: Shape ``(N, C, H, W)``.
            noise: Not used.
            stream: Not used.

        Returns:
            Shape ``(N, C, H, W)``.

        Raises:
            ValueError: Inputs that are not images of floats, an even kernel, or a sigma that is not positive.
        """
        check_floats("GaussianBlur", inputs, least_dims=4, most_dims=4)
        check_count("kernel_size", self.kernel_size)
        if self.kernel_size % 2 == 0 or not isinstance(self.sigma, Real) or not self.sigma > 0:
            raise ValueError(
                "GaussianBlur needs an odd kernel_size and a sigma above 0, got "
                f"kernel_size={self.kernel_size}, sigma={self.sigma!r}. RISE uses 11 and 5."
            )
        half = self.kernel_size // 2
        taps = torch.exp(-0.5 * (torch.arange(-half, half + 1, dtype=torch.float64) / float(self.sigma)) ** 2)
        weights = [float(weight) for weight in taps / taps.sum()]
        blurred = F.pad(inputs, (half, half, half, half), mode="replicate")
        for dim, size in ((2, inputs.shape[2]), (3, inputs.shape[3])):  # sums of shifts: each row on its own
            blurred = sum((w * blurred.narrow(dim, k, size) for k, w in enumerate(weights)), torch.zeros(()).to(inputs))
        return blurred


@dataclass(frozen=True)
class NoisyLinearImputation(Fill):
    """ROAD's fill: flipped pixels become the weighted mean of their eight neighbours, flipped ones included.

    Neighbours weigh 1/6 beside and 1/12 across, as far as they lie in the picture; the linear systems of all rows
    are solved together by conjugate gradients. With every pixel flipped nothing determines them: they take the
    mean of their channel.

    Args:
        noise: Standard deviation of the Gaussian noise added to imputed values, in the inputs' units; it hides
            which pixels were imputed.
        tolerance: Residual, relative to the right-hand side, at which a row counts as solved.
        max_iterations: Conjugate gradient steps after which an unsolved row is an error.

    References:
        Rong et al., "A consistent and efficient evaluation strategy for attribution methods", 2022, equation 3.
    """

    noise: float = 0.01
    tolerance: float = 1e-7
    max_iterations: int = 10_000

    def values(self, inputs: Tensor, noise: ExampleNoise, stream: int) -> Tensor:
        """Draw the noise of each pixel; see ``Fill.values``.

        Args:
            inputs: Shape ``(N, C, H, W)``.
            noise: The random numbers of the examples.
            stream: The stream of ``noise`` kept for this input.

        Returns:
            Shape ``(N, C, H, W)``.

        Raises:
            ValueError: Inputs that are not images of floats, or noise below 0.
        """
        check_floats("NoisyLinearImputation", inputs, least_dims=4, most_dims=4)
        if not isinstance(self.noise, Real) or self.noise < 0:
            raise ValueError(f"NoisyLinearImputation needs noise of at least 0, got {self.noise!r}. ROAD uses 0.01.")
        return (float(self.noise) * noise.normal(tuple(inputs.shape[1:]), stream)).to(inputs)

    def apply(self, rows: Tensor, flipped: Tensor, values: Tensor) -> Tensor:
        """Impute the flipped pixels of each row and add their noise; see ``Fill.apply``.

        Args:
            rows: Shape ``(R, C, H, W)``.
            flipped: Bool, broadcastable to ``rows``.
            values: The noise of these rows.

        Returns:
            Shape ``(R, C, H, W)``.
        """
        imputed = interpolate(rows, flipped.expand_as(rows), self.tolerance, self.max_iterations)
        return super().apply(rows, flipped, imputed + values)
