"""The three points at which the evidence of a network is computed, and the coordinates in which they are searched for.

Takes layers, data and a prior; gives for each λ a point: the network as SGD left it, the mode of the model that is linear in
its weights (Immer, Korzepa, Bauer 2021), or the minimum of C = H + λ‖w − c‖²/2 (section 2) that L-BFGS reaches from SGD's
weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from bayes_sgd.curvature.cholesky import CholeskyFactor
from bayes_sgd.curvature.ggn import Linearization, softmax_factor
from bayes_sgd.evidence.lbfgs import Pairs, lbfgs

Objective = Callable[[Tensor, float], tuple[float, Tensor]]
_MAX_CG_STEPS = 12  # steps of conjugate gradients after which a new factorization costs less


@dataclass(frozen=True)
class ModeSearch:
    """When the searches for a mode end (our choice).

    Attributes:
        tolerance: on ‖∇C‖ in units of λ‖w − c‖, which is the norm of each of the two parts of ∇C that cancel at a minimum.
        newton_steps: of the linearized model, at most.
        iterations: of L-BFGS at each λ, at most.
        window, stall: L-BFGS also ends where `window` iterations lower C by less than `stall` times C. A minimum of a ReLU
            network's C mostly lies where units are just switching, and the gradient, which jumps there, stays large.
        memory: pairs that L-BFGS keeps.
        single_first: L-BFGS evaluates in float32 until it ends, and then for `window` iterations more in float64.
    """

    tolerance: float = 1e-5
    newton_steps: int = 60
    iterations: int = 400
    window: int = 50
    stall: float = 3e-4
    memory: int = 10
    single_first: bool = True


@dataclass(frozen=True)
class ExpansionPoint:
    """The point around which Laplace's approximation expands C.

    Attributes:
        deviation: w − c in the coordinates of `LaplaceProblem`, flat.
        cost: C in nats.
        logits: on the training set, (n, C).
        network: its activations, of which the GGN is made.
        gradient_norm: ‖∇C‖ / λ‖w − c‖.
        converged: whether the search reached its tolerance, or stalled as `ModeSearch` says; True where there was none.
    """

    deviation: Tensor
    cost: float
    logits: Tensor
    network: Linearization
    gradient_norm: float
    converged: bool


class LaplaceProblem:
    """A network, its data and its prior in fewer coordinates: those in which the likelihood varies.

    The first layer sees its inputs X = U S Vᵀ only through VᵀW: with as many rows as X has rank the network is the same, and so
    is an isotropic prior. The orthogonal part (constant-zero inputs too) lies at the prior's centre in every minimum of C.
    """

    def __init__(
        self, layers: Sequence[Tensor], centre: Sequence[Tensor], inputs: Tensor, labels: Tensor, classes: int
    ) -> None:
        """Find the coordinates; arguments as in `network_evidence`, `centre` shaped as the layers."""
        _, s, right = torch.linalg.svd(inputs, full_matrices=False)
        nonzero = s > s[0] * max(inputs.shape) * torch.finfo(s.dtype).eps
        self.basis = right[nonzero].T.contiguous()
        self.inputs = inputs @ self.basis
        self.labels, self.classes = labels, classes
        self.centre = [self.basis.T @ centre[0], *centre[1:]]
        self.full_layers, self.full_centre = layers, centre
        reduced = [self.basis.T @ layers[0], *layers[1:]]
        self.shapes = [layer.shape for layer in reduced]
        self.sgd = Linearization(reduced, self.inputs)
        self.start = self.flat([layer - middle for layer, middle in zip(reduced, self.centre, strict=True)])

    @staticmethod
    def flat(layers: Sequence[Tensor]) -> Tensor:
        """Layers as one vector."""
        return torch.cat([layer.reshape(-1) for layer in layers])

    def shaped(self, vector: Tensor) -> list[Tensor]:
        """One vector as layers."""
        parts = vector.split([rows * columns for rows, columns in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def lifted(self, deviation: Tensor) -> list[Tensor]:
        """The deviation w − c of all weights, shaped as the full layers."""
        first, *above = self.shaped(deviation)
        return [self.basis @ first, *above]

    @cached_property
    def targets(self) -> Tensor:
        """One-hot labels, (n, C)."""
        return one_hot(self.labels, self.classes).to(self.inputs)

    @cached_property
    def full_norm(self) -> float:
        """‖w_SGD − c‖ with all weights, also those that the data do not see."""
        squares = [(a - b).square().sum() for a, b in zip(self.full_layers, self.full_centre, strict=True)]
        return math.sqrt(float(sum(squares)))

    def loss(self, logits: Tensor) -> float:
        """H in nats, a sum over the examples."""
        return float(cross_entropy(logits, self.labels, reduction="sum"))

    def network(self, deviation: Tensor) -> Linearization:
        """The network at c plus a deviation."""
        return Linearization([c + v for c, v in zip(self.centre, self.shaped(deviation), strict=True)], self.inputs)

    def cost_and_gradient(self, deviation: Tensor, l2: float) -> tuple[float, Tensor]:
        """C and ∇C, flat, of the network."""
        return self.objective(deviation.dtype)(deviation, l2)

    def objective(self, dtype: torch.dtype) -> Objective:
        """(deviation, λ) -> C and ∇C, the deviation and ∇C flat and float64; the network itself is evaluated in `dtype`."""
        inputs, targets, centre = self.inputs.to(dtype), self.targets.to(dtype), [c.to(dtype) for c in self.centre]

        def evaluate(deviation: Tensor, l2: float) -> tuple[float, Tensor]:
            weights = [c + v for c, v in zip(centre, self.shaped(deviation.to(dtype)), strict=True)]
            network = Linearization(weights, inputs)
            losses = cross_entropy(network.logits, self.labels, reduction="none")
            gradient = self.flat(network.vjp(torch.softmax(network.logits, 1) - targets)).double().add_(deviation, alpha=l2)
            return float(losses.double().sum()) + 0.5 * l2 * float(deviation @ deviation), gradient

        return evaluate


def sgd_point(problem: LaplaceProblem, l2: float) -> ExpansionPoint:
    """The network as SGD left it; weights that the data do not see count in C, for SGD does not move them."""
    _, gradient = problem.cost_and_gradient(problem.start, l2)
    norm = problem.full_norm
    unseen = max(0.0, norm**2 - float(problem.start.square().sum()))
    length = math.sqrt(float(gradient.square().sum()) + l2**2 * unseen)
    logits = problem.sgd.logits
    cost = problem.loss(logits) + 0.5 * l2 * norm**2
    return ExpansionPoint(problem.start, cost, logits, problem.sgd, length / (l2 * norm), converged=True)


class LinearizedModel:
    """The model f(w_SGD) + J(w − w_SGD) and the minimum of its cost, by Newton's method in function space.

    In u = w − c the logits are m + J u with m = f − J(w_SGD − c), and C is convex. A Newton step solves (λI + JᵀHJ)d = −∇C by
    conjugate gradients, preconditioned with the exact inverse at the logits of an earlier step, (λI + JᵀLLᵀJ)⁻¹ =
    (I − JᵀL(I + K/λ)⁻¹LᵀJ/λ)/λ, from the factorized kernel. One factorization serves several steps, and the next λ too: where
    the data are fitted H shrinks like λ, and the Hessian hardly changes its shape.
    """

    def __init__(self, problem: LaplaceProblem, workspace: Tensor) -> None:
        """`workspace`: memory of the kernel, (N(C − 1), N(C − 1))."""
        self.problem, self.workspace, self.network = problem, workspace, problem.sgd
        self.mean = self.network.logits - self.network.jvp(problem.shaped(problem.start))
        self.factor, self.factorized = softmax_factor(self.mean), None

    def factorize(self, logits: Tensor, l2: float) -> CholeskyFactor:
        """The exact inverse of the Hessian at these logits, for `_precondition` from now on."""
        self.factor = softmax_factor(logits)
        self.factorized = CholeskyFactor(self.network.kernel(self.factor, out=self.workspace), l2)
        return self.factorized

    def jvp(self, vector: Tensor) -> Tensor:
        """J u, (n, C)."""
        return self.network.jvp(self.problem.shaped(vector))

    def vjp(self, cotangent: Tensor) -> Tensor:
        """Jᵀ c, flat."""
        return self.problem.flat(self.network.vjp(cotangent))

    def _precondition(self, factorized: CholeskyFactor, vector: Tensor) -> Tensor:
        n, _, rank = self.factor.shape
        inside = torch.einsum("icj,ic->ji", self.factor, self.jvp(vector)).reshape(-1)
        solved = factorized.solve(inside).view(rank, n)
        return (vector - self.vjp(torch.einsum("icj,ji->ic", self.factor, solved)) / factorized.l2) / factorized.l2

    def _direction(
        self, factorized: CholeskyFactor, gradient: Tensor, p: Tensor, l2: float, accuracy: float
    ) -> tuple[Tensor, int]:
        """The Newton direction up to a relative residual, and the steps of conjugate gradients that it took."""
        residual, direction = -gradient, torch.zeros_like(gradient)
        target = accuracy * float(gradient.norm())
        conditioned = self._precondition(factorized, residual)
        along, product, step = conditioned, residual @ conditioned, 0
        while step < 4 * _MAX_CG_STEPS:
            step += 1
            change = self.jvp(along)
            curved = self.vjp(p * (change - (p * change).sum(1, keepdim=True))).add_(along, alpha=l2)
            length = product / (along @ curved)
            direction = direction + length * along
            residual = residual - length * curved
            if float(residual.norm()) <= target:
                break
            conditioned = self._precondition(factorized, residual)
            product, previous = residual @ conditioned, product
            along = conditioned + (product / previous) * along
        return direction, step

    def minimum(self, l2: float, start: Tensor | None, search: ModeSearch) -> tuple[ExpansionPoint, CholeskyFactor]:
        """The minimum of the linearized model's C, and the factorized kernel there.

        Args:
            l2: λ.
            start: u to begin with, such as the minimum at another λ; if not given, the best of some multiples of w_SGD − c.
            search: when to stop.
        """
        problem = self.problem

        def cost(u: Tensor, logits: Tensor) -> float:
            return problem.loss(logits) + 0.5 * l2 * float(u @ u)

        if start is None:
            starts = [t * problem.start for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
            start = min(starts, key=lambda u: cost(u, self.mean + self.jvp(u)))
        u, logits = start, self.mean + self.jvp(start)
        relative, factorized = math.inf, self.factorized
        for _ in range(search.newton_steps):
            p = torch.softmax(logits, 1)
            gradient = self.vjp(p - problem.targets).add_(u, alpha=l2)
            relative = float(gradient.norm() / (l2 * u.norm()).clamp_min(1e-300))
            if relative <= search.tolerance:
                break
            factorized = factorized or self.factorize(logits, l2)
            accuracy = max(min(0.1, relative), 0.3 * search.tolerance / relative)  # no better than the tolerance needs
            direction, steps = self._direction(factorized, gradient, p, l2, accuracy)
            change, slope = self.jvp(direction), float(gradient @ direction)
            current, size = cost(u, logits), 1.0
            while size > 1e-8 and cost(u + size * direction, logits + size * change) > current + 1e-4 * size * slope:
                size /= 2
            if size <= 1e-8:  # no decrease beyond rounding in float64
                break
            u, logits = u + size * direction, logits + size * change
            if steps > _MAX_CG_STEPS:
                factorized = None
        factorized = self.factorize(logits, l2)
        point = ExpansionPoint(u, cost(u, logits), logits, self.network, relative, relative <= search.tolerance)
        return point, factorized


def minimum_point(problem: LaplaceProblem, l2: float, start: Tensor, search: ModeSearch) -> ExpansionPoint:
    """The minimum of the network's C that L-BFGS reaches from `start`: in float32 until it stalls, then on in float64."""
    vector, converged = start.cpu().numpy(), False
    pairs = Pairs(maxlen=search.memory)
    phases = [(torch.float32, search.iterations), (torch.float64, search.window)]
    for dtype, iterations in phases if search.single_first else [(torch.float64, search.iterations)]:
        objective = problem.objective(dtype)

        def evaluate(x: np.ndarray, objective: Objective = objective) -> tuple[float, np.ndarray]:
            cost, gradient = objective(torch.from_numpy(x).to(start.device), l2)
            return cost, gradient.cpu().numpy()

        vector, converged = lbfgs(
            evaluate,
            vector,
            pairs,
            iterations=iterations,
            tolerance=search.tolerance * l2,
            window=search.window,
            stall=search.stall,
        )
    deviation = torch.from_numpy(vector).to(start)
    cost, gradient = problem.cost_and_gradient(deviation, l2)
    network = problem.network(deviation)
    relative = float(gradient.norm() / (l2 * deviation.norm()).clamp_min(1e-300))
    return ExpansionPoint(deviation, cost, network.logits, network, relative, converged)
