"""The update rule: SGD with momentum, dampening and L2 (paper, appendix D), and the cooldown of its learning rate.

On the mean cross-entropy L of a batch plus λ‖ω‖²/2N, in the form that torch gives it,

    v ← m v + (1 − dampening) (∇L + λω/N),    ω ← ω − εv        (no dampening at the first update, as in torch).

What is kept is u = εv, so that networks of different ε and λ can train in lock-step:

    u ← m u + (1 − dampening) (ε/B Σ_i ∇L_i + ελ/N ω),    ω ← ω − u.

A dense layer has Σ_i ∇L_i = Aᵀ D, with A its inputs and D the derivatives of the examples' losses with respect to its outputs.
The rule takes A and the derivatives times ε/B, so that m u + Aᵀ D is one matrix product and no gradient is ever stored.

Stochastic variance amplified gradients (Li, Malladi, Arora 2021, section 4.1) take l steps in place of an update, of ε/l along
r₁ g₁ + r₂ g₂, with two independent batches and r = (1 ± √(2l − 1))/2: the mean of g₁, and l times its covariance, so that the
noise in a unit of ε times updates is that of SGD. It is defined without momentum. With momentum, m is that of a step (our
choice): the effective rate, the noise and the SDE time of an update are then those of SGD at every l.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bayes_sgd.experiment.cell import Cell

_COOLDOWN_STAGES = 16  # ε falls in so many equal steps: linear, but for one update of the rates in each stage


class RuleNumbers(NamedTuple):
    """m; (1 − dampening) ε/B and (1 − dampening) ελ/N; and both without dampening, for the first update."""

    momentum: float
    rate: float
    decay: float
    first_rate: float
    first_decay: float


def variance_amplifying(steps: int) -> tuple[float, float]:
    """The factors of the two gradients of SVAG with l = `steps`: (1 ± √(2l − 1))/2, which are 1 and 0 for l = 1."""
    root = math.sqrt(2 * steps - 1)
    return (1 + root) / 2, (1 - root) / 2


class MomentumRule:
    """The rule for a stack of networks, with the ε and λ of each; m, dampening, B and l of SVAG are equal in all.

    Attributes:
        momentum: m.
        steps: of an update, 1 but for SVAG.
        has_l2: whether λ is positive in any network.
    """

    def __init__(self, cells: Sequence[Cell], dtype: torch.dtype, device: torch.device) -> None:
        """Take the rates from the cells, one for each network; `dtype` and `device` are those of the weights."""

        def by_network(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)[:, None, None]

        self.momentum = cells[0].momentum
        undampened = 1 - cells[0].dampening
        self.steps = cells[0].svag
        self._of_examples = None
        if self.steps > 1:
            factors = torch.tensor(variance_amplifying(self.steps), dtype=dtype, device=device)
            self._of_examples = factors.repeat_interleave(cells[0].batch_size)[:, None]
        rates = [cell.learning_rate / cell.batch_size / self.steps for cell in cells]
        decays = [cell.learning_rate * cell.l2 / cell.n_train / self.steps for cell in cells]
        self._rate, self._first_rate = by_network([rate * undampened for rate in rates]), by_network(rates)
        self._decay, self._first_decay = by_network([decay * undampened for decay in decays]), by_network(decays)
        self.has_l2 = any(decays)
        self._without_gradient = [_WithoutGradient(decay, self.momentum, cells[0].dampening) for decay in decays]

    def rate(self, first: bool) -> Tensor:
        """The factor (1 − dampening) ε/B of derivatives, (networks, 1, 1); `first`: of the first update.

        For SVAG it is (networks, 2B, 1), a factor for each example of both batches.
        """
        rate = self._first_rate if first else self._rate
        return rate if self._of_examples is None else rate * self._of_examples

    def numbers(self, index: int) -> RuleNumbers:
        """The rule's numbers for one network, as they are now."""
        of_network = (self._rate, self._decay, self._first_rate, self._first_decay)
        return RuleNumbers(self.momentum, *(float(values[index]) for values in of_network))

    def apply(self, weights: Tensor, step: Tensor, inputs: Tensor, deltas: Tensor, first: bool) -> None:
        """Update one layer in place.

        Args:
            weights: ω, (networks, fan_in, fan_out).
            step: u, of the same shape.
            inputs: A, (networks, B, fan_in).
            deltas: D times `rate`, (networks, B, fan_out).
            first: whether it is the first update.
        """
        step.baddbmm_(inputs.transpose(1, 2), deltas, beta=self.momentum)
        if self.has_l2:
            step.add_(weights * (self._first_decay if first else self._decay))
        weights.sub_(step)

    def scale_learning_rate(self, factor: float, steps: Sequence[Tensor], update: int) -> None:
        """Change ε by a factor, after `update` updates; since u = εv, `steps` change by the same factor."""
        for tensor in (*steps, self._rate, self._decay):
            tensor.mul_(factor)
        for weights in self._without_gradient:
            weights.scale_learning_rate(factor, update * self.steps)

    def factor_without_gradient(self, index: int, update: int) -> float:
        """What weights whose gradient is always zero have been multiplied by until `update`, in one network.

        Such are the weights of pixels that are zero in every training image; L2 alone moves them.
        """
        return self._without_gradient[index].factor_at(update * self.steps) if self.has_l2 else 1.0


class _WithoutGradient:
    """The rule where ∇L = 0: ω = factor · ω₀, a scalar recursion."""

    def __init__(self, decay: float, momentum: float, dampening: float) -> None:
        self._decay, self._momentum, self._dampening = decay, momentum, dampening
        self._factor, self._step, self._update = 1.0, 0.0, 0

    def factor_at(self, update: int) -> float:
        while self._update < update:
            undampened = 1.0 if self._update == 0 else 1.0 - self._dampening
            self._step = self._momentum * self._step + undampened * self._decay * self._factor
            self._factor -= self._step
            self._update += 1
        return self._factor

    def scale_learning_rate(self, factor: float, update: int) -> None:
        self.factor_at(update)
        self._decay *= factor
        self._step *= factor


def cooldown_stages(updates: int) -> Iterator[tuple[float, int]]:
    """The stages in which ε falls towards 0 over `updates` updates (our choice); m is kept.

    Gives for each stage the factor by which ε changes at its start, and the updates that are done at its end.
    """
    rate = 1.0
    for stage in range(1, _COOLDOWN_STAGES + 1):
        following = 1 - stage / (_COOLDOWN_STAGES + 1)
        yield following / rate, updates * stage // _COOLDOWN_STAGES
        rate = following
