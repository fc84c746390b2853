"""Stability of SGD in the mean square at one network (Wu, Ma and E 2018): its sharpness, and how curvatures differ by example.

Takes a `Linearization`; gives numbers. With H_i = J_iᵀ(diag(p_i) − p_i p_iᵀ)J_i the Gauss-Newton matrix of one example's
cross-entropy and H their mean, a is the largest eigenvalue of H and s² that of the mean of H_i² − H². Near a point that fits
all examples SGD of rate ε is stable in the mean square if (1 − εa)² + ε²s²/B ≤ 1. For small εa that is so from

    B = ε s²/(2a)

on, and with momentum ε/(1 − m) takes the place of ε. Both matrices are known by their products with vectors alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bayes_sgd.core.rng import generator
from bayes_sgd.curvature.ggn import Linearization
from bayes_sgd.curvature.lanczos import extreme_eigenvalues

TOLERANCE = 1e-3  # relative, of Lanczos


def output_grams(network: Linearization) -> Tensor:
    """J_i J_iᵀ of each example, (n, C, C)."""
    classes = network.logits.shape[1]
    units = torch.eye(classes).to(network.logits).expand(len(network.logits), -1, -1)
    grams = torch.zeros_like(units)
    for below, back in zip(network.below, network.back(units), strict=True):
        grams = grams + below.square().sum(1)[:, None, None] * torch.einsum("cnf,dnf->ncd", back, back)
    return grams


def curvatures(network: Linearization) -> tuple[float, float]:
    """The sharpness a and s², in nats per squared weight and its square; float64, by Lanczos (ARPACK)."""
    n = len(network.logits)
    p = torch.softmax(network.logits, dim=1)
    softmax = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    squared = softmax @ output_grams(network) @ softmax

    def mean(vector: Tensor) -> Tensor:
        return _flat(network.vjp(_each(softmax, network.jvp(_shaped(network, vector))))) / n

    def scatter(vector: Tensor) -> Tensor:
        along = network.jvp(_shaped(network, vector))
        of_mean = network.jvp(network.vjp(_each(softmax, along)))
        return _flat(network.vjp(_each(squared, along) / n - _each(softmax, of_mean) / n**2))

    return _largest(mean, network), max(0.0, _largest(scatter, network))


def _each(matrices: Tensor, vectors: Tensor) -> Tensor:
    """A matrix (n, C, C) times a vector (n, C) of each example."""
    return torch.einsum("ncd,nd->nc", matrices, vectors)


def _flat(layers: list[Tensor]) -> Tensor:
    return torch.cat([layer.reshape(-1) for layer in layers])


def _shaped(network: Linearization, vector: Tensor) -> list[Tensor]:
    parts = vector.split([layer.numel() for layer in network.layers])
    return [part.view_as(layer) for part, layer in zip(parts, network.layers, strict=True)]


def _largest(product: Callable[[Tensor], Tensor], network: Linearization) -> float:
    """The largest eigenvalue of a symmetric matrix over all weights."""
    size = sum(layer.numel() for layer in network.layers)
    start = generator(0, "stability").standard_normal(size)

    def of_array(vector: np.ndarray) -> np.ndarray:
        return product(torch.from_numpy(vector.reshape(-1)).to(network.logits)).double().cpu().numpy()

    return float(extreme_eigenvalues(of_array, start, 1, TOLERANCE)[0])
