"""Small networks in double precision, and their curvature by automatic differentiation."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bayes_sgd.training.mlp import forward, layer_shapes, with_ones

N, CLASSES = 14, 4
DEPTHS = [(), (6,), (6, 5), (6, 5, 7)]
Network = tuple[list[Tensor], Tensor, Tensor]


def network(hidden: tuple[int, ...], seed: int = 0, n: int = N) -> Network:
    """Layers with biases that are not zero, inputs with their ones, labels."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    layers = [normal(*shape) for shape in layer_shapes(5, hidden, CLASSES)]
    return layers, with_ones(normal(n, 5)), torch.randint(CLASSES, (n,), generator=random)


def jacobian(layers: list[Tensor], inputs: Tensor) -> Tensor:
    """J by autograd, (n, C, P)."""
    parts = torch.autograd.functional.jacobian(lambda *w: forward(w, inputs)[0], tuple(layers))
    return torch.cat([part.flatten(2) for part in parts], dim=2)


def dense_ggn(layers: list[Tensor], inputs: Tensor) -> Tensor:
    """Σ Jᵀ H J, (P, P)."""
    j, p = jacobian(layers, inputs), torch.softmax(forward(layers, inputs)[0], 1)
    return torch.einsum("icp,icd,idq->pq", j, torch.diag_embed(p) - p[:, :, None] * p[:, None, :], j)


def dense_hessian(layers: list[Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
    """∇∇H by autograd, (P, P)."""
    shapes = [layer.shape for layer in layers]

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([shape.numel() for shape in shapes])
        weights = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        activations = inputs
        for layer in weights[:-1]:
            activations = with_ones((activations @ layer).relu())
        return cross_entropy(activations @ weights[-1], labels, reduction="sum")

    dense = torch.autograd.functional.hessian(loss, torch.cat([layer.reshape(-1) for layer in layers]))
    assert isinstance(dense, Tensor)
    return dense


def laplace_torch(model: nn.Module, x: Tensor, y: Tensor, prior_precision: float) -> Any:
    """Its Laplace approximation of a network at the weights it has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from laplace import FullLaplace

        found = FullLaplace(model, "classification", prior_precision=torch.tensor([prior_precision], dtype=torch.float64))
        found.fit(torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=len(x)))
    return found


def from_lower(lower: Tensor) -> Tensor:
    """A symmetric matrix from its lower triangle."""
    return lower.tril() + lower.tril(-1).T
