"""The first layer of a stack when batches are small: its changes are kept as factors and made a stretch at a time.

At B = 1 an update of the first layer W reads and writes every weight and momentum to add one outer product: memory bounds it.
But the images of the coming K updates are known. With u the momentum and d_j the (scaled) derivatives of update j,

    W_p = W_0 − a_p u_0 − Σ_{j<p} b_{p−1−j} x_jᵀ d_j,      b_k = 1 + m + ... + m^k,   a_p = m b_{p−1},
    x_p W_p = x_p W_0 − a_p x_p u_0 − Σ_{j<p} b_{p−1−j} (x_p x_jᵀ) d_j,
    u_K = m^K u_0 + Σ_{j<K} m^{K−1−j} x_jᵀ d_j,

so a stretch needs four matrix products with K·B rows, which a processor does at full speed, and small ones in between. The
arithmetic is that of plain momentum, summed in another order (our choice; the paper has no word on it).
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_sgd.training.passes import aligned

ROWS = 64  # K·B: enough rows for fast products, few enough for the Gram matrix to be nothing
LARGEST_BATCH = 4  # measured: above it, the second product with x (for u_0) costs more than the passes that it saves


class DeferredLayer:
    """The first layer over stretches of K updates.

    Args:
        layer: W, (networks, inputs, units); changed at the end of a stretch.
        step: u, of the same shape.
        momentum: m.
        batch_size: B.
    """

    def __init__(self, layer: Tensor, step: Tensor, momentum: float, batch_size: int) -> None:
        networks, inputs, units = layer.shape
        self.updates = max(1, ROWS // batch_size)
        self.position = 0
        self._layer, self._step, self._batch = layer, step, batch_size
        rows = self.updates * batch_size
        self._images = layer.new_zeros(networks, rows, inputs)
        self._base, self._of_step = aligned(networks, rows, units, layer), aligned(networks, rows, units, layer)
        self._gram = aligned(networks, rows, rows, layer)
        self._deltas, self._weighted = aligned(networks, rows, units, layer), aligned(networks, rows, units, layer)
        powers = momentum ** torch.arange(self.updates + 1, dtype=torch.float64)
        sums = powers.cumsum(0)  # b_0, ..., b_K
        self._of_old = torch.cat([torch.zeros(1, dtype=torch.float64), momentum * sums[:-1]]).tolist()  # a_0, ..., a_K
        lag = torch.arange(self.updates)[:, None] - torch.arange(self.updates) - 1
        between = torch.where(lag >= 0, -sums[lag.clamp(min=0)], torch.zeros((), dtype=torch.float64))
        self._between = between.repeat_interleave(batch_size, 0).repeat_interleave(batch_size, 1).to(layer)
        self._old_rows = torch.tensor(self._of_old[:-1], dtype=torch.float64).repeat_interleave(batch_size)[:, None].to(layer)
        self._sums, self._powers = sums.to(layer), powers.to(layer)

    def begin(self, inputs: Tensor, images: Tensor) -> None:
        """Start a stretch; `inputs` (pool, inputs), `images` int64 (K, networks, B) in the pool."""
        order = images.transpose(0, 1).reshape(-1)
        torch.index_select(inputs, 0, order, out=self._images.view(-1, inputs.shape[1]))
        torch.bmm(self._images, self._layer, out=self._base)
        torch.bmm(self._images, self._step, out=self._of_step)
        self._base.sub_(self._of_step.mul_(self._old_rows))
        torch.bmm(self._images, self._images.transpose(1, 2), out=self._gram)
        self._gram.mul_(self._between)
        self.position = 0

    def outputs(self, out: Tensor) -> None:
        """x_p W_p of the update that is next, into `out` (networks, B, units)."""
        done = self.position * self._batch
        now = slice(done, done + self._batch)
        if done:
            torch.baddbmm(self._base[:, now], self._gram[:, now, :done], self._deltas[:, :done], out=out)
        else:
            out.copy_(self._base[:, now])

    @property
    def deltas(self) -> Tensor:
        """Where the derivatives d_p of this update belong, (networks, B, units)."""
        done = self.position * self._batch
        return self._deltas[:, done : done + self._batch]

    def current(self, index: int) -> Tensor:
        """W_p of one network, (inputs, units), without ending the stretch."""
        if self.position == 0:
            return self._layer[index]
        done = self.position * self._batch
        factors = self._sums[: self.position].flip(0).repeat_interleave(self._batch)[:, None]
        change = self._images[index, :done].T @ (self._deltas[index, :done] * factors)
        return self._layer[index] - self._step[index] * self._of_old[self.position] - change

    def end(self) -> None:
        """Make the changes of the stretch so far, and be ready for the next one."""
        done, past = self.position * self._batch, self.position
        images, deltas, weighted = self._images[:, :done].transpose(1, 2), self._deltas[:, :done], self._weighted[:, :done]
        torch.mul(deltas, -self._sums[:past].flip(0).repeat_interleave(self._batch)[:, None], out=weighted)
        self._layer.sub_(self._step * self._of_old[past]).baddbmm_(images, weighted)
        torch.mul(deltas, self._powers[:past].flip(0).repeat_interleave(self._batch)[:, None], out=weighted)
        self._step.baddbmm_(images, weighted, beta=float(self._powers[past]))
        self.position = 0
