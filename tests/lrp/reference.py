"""The papers' formulas, neuron by neuron, in float64: independent of the code under test."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn


def matrix(layer: nn.Module, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Weights ``(inputs, outputs)`` and the bias of each output, from the layer's answers to unit vectors."""
    size = int(torch.tensor(shape).prod())
    with torch.no_grad():
        bias = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
        rows = [layer(torch.eye(size, dtype=torch.float64)[i].reshape(1, *shape)).flatten() - bias for i in range(size)]
    return torch.stack(rows), bias


def plus(value: float) -> float:
    return max(value, 0.0)


def minus(value: float) -> float:
    return min(value, 0.0)


def sign(value: float) -> float:
    return 1.0 if value >= 0 else -1.0


def epsilon(x, w, b, r, *, eps, relative=False):
    n_in, n_out = len(x), len(b)
    z = [sum(x[i] * w[i][j] for i in range(n_in)) + b[j] for j in range(n_out)]
    if relative:
        eps *= (sum(value**2 for value in z) / n_out) ** 0.5
    out = [0.0] * n_in
    for i, j in itertools.product(range(n_in), range(n_out)):
        denominator = z[j] + eps * sign(z[j])
        out[i] += x[i] * w[i][j] / denominator * r[j] if denominator else 0.0
    return out


def z_plus(x, w, b, r):
    """Eq. 1 of MCRP; a negative output that nothing raises shares among all that lowers it."""
    n_in, n_out = len(x), len(b)
    raised = [[plus(x[i]) * plus(w[i][j]) + minus(x[i]) * minus(w[i][j]) for j in range(n_out)] for i in range(n_in)]
    out = [0.0] * n_in
    for j in range(n_out):
        given = [raised[i][j] for i in range(n_in)]
        if not sum(given):
            given = [x[i] * w[i][j] * (sum(x[k] * w[k][j] for k in range(n_in)) + b[j] < 0) for i in range(n_in)]
        for i in range(n_in):
            out[i] += given[i] / sum(given) * r[j] if sum(given) else 0.0
    return out


def gamma(x, w, b, r, *, factor, bias):
    n_in, n_out = len(x), len(b)
    favoured = [[w[i][j] + factor * plus(w[i][j]) for j in range(n_out)] for i in range(n_in)]
    offset = {"scaled": [v + factor * plus(v) for v in b], "kept": list(b), "zero": [0.0] * n_out}[bias]
    total = [sum(x[i] * favoured[i][j] for i in range(n_in)) + offset[j] for j in range(n_out)]
    return [sum(x[i] * favoured[i][j] / total[j] * r[j] for j in range(n_out) if total[j]) for i in range(n_in)]


def signed_gamma(x, w, b, r, *, factor):
    """Contributions of the output's own sign count ``1 + factor`` times, the bias among them."""
    n_in, n_out = len(x), len(b)
    out = [0.0] * n_in
    for j in range(n_out):
        s = sign(sum(x[i] * w[i][j] for i in range(n_in)) + b[j])
        parts = [x[i] * w[i][j] for i in range(n_in)]
        total = sum(p * (1 + factor * (p * s > 0)) for p in parts) + b[j] * (1 + factor * (b[j] * s > 0))
        for i in range(n_in):
            out[i] += parts[i] * (1 + factor * (parts[i] * s > 0)) / total * r[j] if total else 0.0
    return out


def box(x, w, b, r, *, low, high):
    n_in, n_out = len(x), len(b)
    parts = [
        [x[i] * w[i][j] - low[i] * plus(w[i][j]) - high[i] * minus(w[i][j]) for j in range(n_out)] for i in range(n_in)
    ]
    total = [sum(parts[i][j] for i in range(n_in)) for j in range(n_out)]
    return [sum(parts[i][j] / total[j] * r[j] for j in range(n_out) if total[j]) for i in range(n_in)]
