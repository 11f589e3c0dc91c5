"""How often the 95% intervals of ``captum_uq.metrics.compare`` contain the true mean, beside three others.

Run from the repository: ``OMP_NUM_THREADS=1 python benchmarks/interval_coverage.py``; about two minutes. Needs scipy.
"""

import argparse

import numpy as np
import torch
from scipy import stats

from captum_uq.metrics._resampling import bootstrap

POPULATIONS = {
    "normal": stats.norm(),
    "uniform": stats.uniform(),
    "Laplace": stats.laplace(),
    "Student's t, 3 degrees of freedom": stats.t(3),
    "exponential": stats.expon(),
    "log-normal": stats.lognorm(1.0),
}


def coverage(intervals: tuple[np.ndarray, np.ndarray], mean: float) -> str:
    low, high = intervals
    return f"{((low <= mean) & (mean <= high)).mean():7.3f} ({np.median(high - low):.2f})"


def ours(samples: np.ndarray, n_resamples: int) -> tuple[np.ndarray, np.ndarray]:
    ends = [bootstrap(torch.from_numpy(x), 0.95, n_resamples, seed)[:2] for seed, x in enumerate(samples)]
    low, high = np.array(ends).T
    return low, high


def bca(samples: np.ndarray, n_resamples: int) -> tuple[np.ndarray, np.ndarray]:
    options = {"n_resamples": n_resamples, "method": "BCa", "vectorized": True, "axis": -1}
    rng, parts = np.random.default_rng(0), np.array_split(samples, max(1, len(samples) // 100))
    found = [stats.bootstrap((x,), np.mean, random_state=rng, **options).confidence_interval for x in parts]
    return np.concatenate([f.low for f in found]), np.concatenate([f.high for f in found])


def hall(samples: np.ndarray, n_resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap of a mean whose skewness a cubic takes out (Hall, 1992), at neither end inside Student's interval."""
    n, centred = samples.shape[1], samples - samples.mean(1, keepdims=True)
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=n_resamples)

    def moments(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        first, second, third = (drawn @ (centred**k).T / n for k in (1, 2, 3))
        spread = np.maximum(np.sqrt(second - first**2), centred.std(1) / 4)
        return first, spread, (third - 3 * first * second + 2 * first**3) / spread**3

    shift, spread, skewness = moments(drawn)
    t = shift / spread
    cubic = t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / (6 * n)
    _, spread, skewness = moments(np.ones((1, n)))
    ends = [
        samples.mean(1) - spread[0] * 3 / skewness[0] * (np.cbrt(1 + skewness[0] * (q - skewness[0] / (6 * n))) - 1)
        for q in np.quantile(cubic, [0.975, 0.025], axis=0)
    ]
    low, high = student(samples)
    return np.minimum(ends[0], low), np.maximum(ends[1], high)


def student(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n, mean = samples.shape[1], samples.mean(1)
    half = stats.t.ppf(0.975, n - 1) * samples.std(1, ddof=1) / n**0.5
    return mean - half, mean + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=999)
    arguments = parser.parse_args()
    print(f"Coverage of 95% intervals (median width), {arguments.repeats} samples each\n")
    print(f"{'population':35s} {'n':>4s}  {'ours':>15s} {'Hall':>15s} {'BCa of scipy':>15s} {'Student':>15s}")
    for n in (20, 50, 200):
        for name, population in POPULATIONS.items():
            samples = population.rvs((arguments.repeats, n), random_state=np.random.default_rng(0))
            resampled = [way(samples, arguments.resamples) for way in (ours, hall, bca)]
            found = *resampled, student(samples)
            print(f"{name:35s} {n:4d}  " + " ".join(f"{coverage(f, population.mean()):>15s}" for f in found))


if __name__ == "__main__":
    main()
