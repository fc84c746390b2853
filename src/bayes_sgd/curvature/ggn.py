"""Curvature of the cost of a ReLU network through a kernel over examples and classes; no Jacobian is ever formed.

Takes layers, inputs and a prior; gives products with the Jacobian and with the Hessian, and kernel, trace, top eigenvalues of
the generalized Gauss-Newton matrix GGN = Σ_i J_iᵀ H_i J_i of the summed cross-entropy, H = diag(p) − p pᵀ its Hessian in the
logits (our choice where the paper writes ∇∇C: positive semi-definite at every point, and ∇∇H itself where the model is linear).

With H_i = L_i L_iᵀ and L_i of C − 1 columns, ln det(I + GGN/λ) = ln det(I + K/λ) with the N(C − 1) square kernel

    K = Lᵀ J Jᵀ L = Σ_layers (A Aᵀ) ∘ (G Gᵀ),

where A (N, fan_in + 1) are a layer's inputs with their ones, and G (C − 1, N, fan_out) the columns of L propagated back to the
layer's outputs: the gradient of a dense layer is an outer product, so that products of gradients are products of two Grams.
What follows from K: `determinant`, with K in memory, and `lanczos`, without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bayes_sgd.core.rng import generator
from bayes_sgd.curvature.lanczos import extreme_eigenvalues
from bayes_sgd.data.memory import BLOCK_BYTES, Kernel
from bayes_sgd.training.mlp import forward, with_ones

Precision = Sequence[tuple[Tensor, Tensor]]
"""Precisions of the prior in units of λ, for each layer: of rows (fan_in + 1,) times of columns (fan_out,), all positive."""


def softmax_factor(logits: Tensor) -> Tensor:
    """L of the softmax Hessian, diag(p) − p pᵀ = L Lᵀ, with C − 1 columns; logits (n, C), result (n, C, C − 1).

    diag(√p)(I − q qᵀ)diag(√p) with q = √p, and I − q qᵀ = Q Qᵀ where Q are all but the last column of the reflection that
    takes q to the last axis. Keeps the digits of p(1 − p) where p rounds to 1.
    """
    root = (0.5 * torch.log_softmax(logits, dim=1)).exp()
    head, last = root[:, :-1], root[:, -1:]
    factor = torch.diag_embed(head)
    factor -= (head.square() / (1 + last))[:, :, None] * head[:, None, :]
    return torch.cat([factor, -(last * head)[:, None, :]], dim=1)


@dataclass(frozen=True)
class Linearization:
    """A network at its weights: activations, and products with the Jacobian J of its logits.

    Args:
        layers: (fan_in + 1, fan_out) each, bias last.
        inputs: (n, d + 1) with their ones.
    """

    layers: Sequence[Tensor]
    inputs: Tensor

    @cached_property
    def _forward(self) -> tuple[Tensor, list[Tensor]]:
        return forward(self.layers, self.inputs)

    @property
    def logits(self) -> Tensor:
        """f, (n, C)."""
        return self._forward[0]

    @cached_property
    def below(self) -> list[Tensor]:
        """What each layer takes in, with its ones: (n, fan_in + 1)."""
        return [self.inputs, *(with_ones(hidden) for hidden in self._forward[1])]

    @cached_property
    def gates(self) -> list[Tensor]:
        """Which hidden units are on, 0 or 1, (n, H) each."""
        return [(hidden > 0).to(hidden.dtype) for hidden in self._forward[1]]

    def jvp(self, direction: Sequence[Tensor]) -> Tensor:
        """J v, (n, C), of a direction v shaped as the layers."""
        return self.carried(self.below[0] @ direction[0], direction[1:])

    def carried(self, change: Tensor, above: Sequence[Tensor]) -> Tensor:
        """J v, (n, C), from what v changes at the first layer's outputs, (n, fan_out), which is lost, and v of the others."""
        for gate, below, layer, step in zip(self.gates, self.below[1:], self.layers[1:], above, strict=True):
            change = torch.addmm(below @ step, change.mul_(gate), layer[:-1])
        return change

    def vjp(self, cotangent: Tensor) -> list[Tensor]:
        """Jᵀ c, shaped as the layers, of c (n, C)."""
        result = []
        for number in range(len(self.layers) - 1, -1, -1):
            result.append(self.below[number].T @ cotangent)
            if number:
                cotangent = (cotangent @ self.layers[number][:-1].T).mul_(self.gates[number - 1])
        return result[::-1]

    def back(self, factor: Tensor) -> list[Tensor]:
        """G of each layer, (r, n, fan_out): the columns of a factor (n, C, r) propagated back to the layer's outputs."""
        current = factor.permute(2, 0, 1).contiguous()
        result = [current]
        for layer, gate in zip(reversed(self.layers[1:]), reversed(self.gates), strict=True):
            current = (current @ layer[:-1].T).mul_(gate)
            result.append(current)
        return result[::-1]

    def whitened(self, factor: Tensor, precision: Precision | None) -> list[tuple[Tensor, Tensor]]:
        """(A, G) of each layer, divided by the roots of the prior's precisions of rows and columns."""
        pairs = list(zip(self.below, self.back(factor), strict=True))
        if precision is None:
            return pairs
        return [(a * rows.rsqrt(), g * columns.rsqrt()) for (a, g), (rows, columns) in zip(pairs, precision, strict=True)]

    def kernel(self, factor: Tensor, precision: Precision | None = None, out: Tensor | None = None) -> Tensor:
        """K = Lᵀ J Λ⁻¹ Jᵀ L, with Λ the prior's precision in units of λ.

        Args:
            factor: L, (n, C, r), as `softmax_factor` gives it.
            precision: of the prior; I if not given.
            out: memory to build in, (r n, r n) and contiguous, whatever it holds.

        Returns:
            `out`, or a new tensor (r n, r n), of which **the lower triangle alone** is valid; row j n + i is column j of L_i.

        Raises:
            UserError: memory would not do; nothing is allocated then.
        """
        n, _, rank = factor.shape
        if out is None:
            Kernel(n, rank, element_size=factor.element_size()).check_device(factor.device)
        pairs = self.whitened(factor, precision)
        grams = [a @ a.T for a, _ in pairs]
        kernel = factor.new_empty(rank * n, rank * n) if out is None else out
        rows = max(1, min(n, BLOCK_BYTES // (factor.element_size() * rank * n)))
        scratch = factor.new_empty(rows * rank * n)
        for column in range(rank):
            width = (column + 1) * n
            for start in range(0, n, rows):
                stop = min(n, start + rows)
                block = kernel[column * n + start : column * n + stop, :width]
                for number, ((_, g), gram) in enumerate(zip(pairs, grams, strict=True)):
                    product = scratch[: (stop - start) * width].view(stop - start, width)
                    torch.mm(g[column, start:stop], g[: column + 1].reshape(width, -1).T, out=product)
                    product.view(-1, column + 1, n).mul_(gram[start:stop, None, :])
                    if number:
                        block.add_(product)
                    else:
                        block.copy_(product)
        return kernel

    def trace(self, factor: Tensor) -> float:
        """The trace of the GGN: that of K, from its diagonal alone."""
        pairs = zip(self.below, self.back(factor), strict=True)
        return sum(float((a.square().sum(1) * g.square().sum((0, 2))).sum()) for a, g in pairs)

    def ggn_product(self, factor: Tensor, vector: Tensor) -> Tensor:
        """K v = Lᵀ J Jᵀ L v, (r n,), without the kernel; in its order of rows."""
        n, _, rank = factor.shape
        cotangent = torch.einsum("icj,ji->ic", factor, vector.view(rank, n))
        return torch.einsum("icj,ic->ji", factor, self.jvp(self.vjp(cotangent))).reshape(-1)

    def top_eigenvalues(self, factor: Tensor, count: int = 1, tolerance: float = 1e-6) -> np.ndarray:
        """The largest eigenvalues of the GGN (λ not included), decreasing, (count,); by Lanczos (ARPACK), without the kernel.

        `tolerance` is relative. The start is fixed, so that equal networks give equal numbers.
        """
        size = factor.shape[0] * factor.shape[2]
        start = generator(0, "top eigenvalues").standard_normal(size)

        def product(vector: np.ndarray) -> np.ndarray:
            tensor = torch.from_numpy(vector.reshape(-1)).to(factor)
            return self.ggn_product(factor, tensor).double().cpu().numpy()

        return extreme_eigenvalues(product, start, count, tolerance)
