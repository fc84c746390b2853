"""The evidence of one trained network at three points, which are reported side by side and never mixed.

A point where SGD stopped is no minimum of C = H + λ‖w − c‖²/2, and Laplace's approximation wants one. So, for each λ:

    sgd         at the weights as SGD left them: C there, and the Occam factor of the GGN there;
    linearized  the model that is linear in its weights, f + J(w − w_SGD), at the minimum of its own, convex cost
                (Immer, Korzepa, Bauer 2021);
    minimum     at the minimum of the network's C that L-BFGS reaches from w_SGD.

E = C + ½ ln det(I + GGN/λ) − N ln n in nats, as in section 2 of the paper, with the generalized Gauss-Newton matrix for ∇∇H.
The paper computes no evidence of a network. ln H! for the permutations of hidden units stands in a column of its own: it is the
same at every point, and it is not in E.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.linalg.blas import daxpy  # pyright: ignore[reportAttributeAccessIssue]
from scipy.optimize import line_search
from scipy.optimize._linesearch import LineSearchWarning
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from bayes_sgd.curvature import (
    Factor,
    Linearization,
    check_memory,
    effective_parameters,
    eigenvalues,
    log_determinant,
    softmax_factor,
)
from bayes_sgd.evidence import log_evidence_ratio
from bayes_sgd.models import forward
from bayes_sgd.training import loss_and_accuracy

Objective = Callable[[Tensor, float], tuple[float, Tensor]]
POINTS = ("sgd", "linearized", "minimum")
PRIOR_CENTRES = ("zero", "initial")
COLUMNS = (
    "point", "prior_centre", "l2", "cost", "occam_factor", "log_evidence_ratio", "test_accuracy", "test_loss",
    "log_evidence_ratio_per_example", "best_l2", "train_loss", "train_accuracy", "weight_norm", "top_eigenvalue", "trace",
    "effective_parameters", "effective_parameters_error", "gradient_norm", "converged", "log_permutations",
)  # fmt: skip

_SPECTRUM_FROM = 7  # values of λ at one point from which the eigenvalues cost less than a factorization for each
_PATIENCE = 12  # steps of conjugate gradients after which a new factorization costs less


@dataclass(frozen=True)
class Search:
    """When the searches for a point end.

    Args:
        tolerance: on ‖∇C‖ in units of λ‖w − c‖, which is what the two halves of ∇C have to cancel.
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
class Point:
    """Where the evidence is taken.

    Attributes:
        deviation: w − c in the coordinates of `Problem`, flat.
        cost: C in nats.
        logits: on the training set, (n, C).
        at: the network's activations that the GGN is made of.
        gradient_norm: ‖∇C‖ / λ‖w − c‖.
        converged: whether the search reached its tolerance, or stalled as `Search` says; True where there was none.
    """

    deviation: Tensor
    cost: float
    logits: Tensor
    at: Linearization
    gradient_norm: float
    converged: bool


Pairs = deque[tuple[np.ndarray, np.ndarray, float]]
"""Of L-BFGS: a step, the change of the gradient along it, and their product."""


class Problem:
    """A network, its data and its prior in fewer coordinates: those in which the likelihood varies.

    The first layer sees its inputs X = U S Vᵀ only through VᵀW: with as many rows as X has rank the network is the same, and so
    is an isotropic prior. What is orthogonal (dark pixels too) lies at the prior's centre in every minimum of C.
    """

    def __init__(
        self, layers: Sequence[Tensor], centre: Sequence[Tensor], inputs: Tensor, labels: Tensor, classes: int
    ) -> None:
        """Find the coordinates; arguments as in `network_evidence`, `centre` shaped as the layers."""
        _, s, right = torch.linalg.svd(inputs, full_matrices=False)
        kept = s > s[0] * max(inputs.shape) * torch.finfo(s.dtype).eps
        self.basis = right[kept].T.contiguous()
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
            there = Linearization(weights, inputs)
            losses = cross_entropy(there.logits, self.labels, reduction="none")
            gradient = self.flat(there.pull(torch.softmax(there.logits, 1) - targets)).double().add_(deviation, alpha=l2)
            return float(losses.double().sum()) + 0.5 * l2 * float(deviation @ deviation), gradient

        return evaluate


def sgd_point(problem: Problem, l2: float) -> Point:
    """The network as SGD left it; weights that the data do not see count in C, for SGD does not move them."""
    _, gradient = problem.cost_and_gradient(problem.start, l2)
    norm = problem.full_norm
    unseen = max(0.0, norm**2 - float(problem.start.square().sum()))
    length = math.sqrt(float(gradient.square().sum()) + l2**2 * unseen)
    logits = problem.sgd.logits
    cost = problem.loss(logits) + 0.5 * l2 * norm**2
    return Point(problem.start, cost, logits, problem.sgd, length / (l2 * norm), converged=True)


class LinearizedModel:
    """The model f(w_SGD) + J(w − w_SGD) and the minimum of its cost, by Newton's method in function space.

    In u = w − c the logits are m + J u with m = f − J(w_SGD − c), and C is convex. A Newton step solves (λI + JᵀHJ)d = −∇C by
    conjugate gradients, preconditioned with the exact inverse at the logits of an earlier step, (λI + JᵀLLᵀJ)⁻¹ =
    (I − JᵀL(I + K/λ)⁻¹LᵀJ/λ)/λ, from the factorized kernel. One factorization serves several steps, and the next λ too: where
    the data are fitted H shrinks like λ, and the Hessian hardly changes its shape.
    """

    def __init__(self, problem: Problem, workspace: Tensor) -> None:
        """`workspace`: memory of the kernel, (N(C − 1), N(C − 1))."""
        self.problem, self.workspace, self.at = problem, workspace, problem.sgd
        self.mean = self.at.logits - self.at.push(problem.shaped(problem.start))
        self.factor, self.factorized = softmax_factor(self.mean), None

    def factorize(self, logits: Tensor, l2: float) -> Factor:
        """The exact inverse of the Hessian at these logits, for `_precondition` from now on."""
        self.factor = softmax_factor(logits)
        self.factorized = Factor(self.at.kernel(self.factor, out=self.workspace), l2)
        return self.factorized

    def push(self, vector: Tensor) -> Tensor:
        """J u, (n, C)."""
        return self.at.push(self.problem.shaped(vector))

    def pull(self, cotangent: Tensor) -> Tensor:
        """Jᵀ c, flat."""
        return self.problem.flat(self.at.pull(cotangent))

    def _precondition(self, factorized: Factor, vector: Tensor) -> Tensor:
        n, _, rank = self.factor.shape
        inside = torch.einsum("icj,ic->ji", self.factor, self.push(vector)).reshape(-1)
        solved = factorized.solve(inside).view(rank, n)
        return (vector - self.pull(torch.einsum("icj,ji->ic", self.factor, solved)) / factorized.l2) / factorized.l2

    def _direction(self, factorized: Factor, gradient: Tensor, p: Tensor, l2: float, accuracy: float) -> tuple[Tensor, int]:
        """The Newton direction up to a relative residual, and the steps of conjugate gradients that it took."""
        residual, direction = -gradient, torch.zeros_like(gradient)
        enough = accuracy * float(gradient.norm())
        conditioned = self._precondition(factorized, residual)
        along, product, step = conditioned, residual @ conditioned, 0
        while step < 4 * _PATIENCE:
            step += 1
            change = self.push(along)
            curved = self.pull(p * (change - (p * change).sum(1, keepdim=True))).add_(along, alpha=l2)
            length = product / (along @ curved)
            direction = direction + length * along
            residual = residual - length * curved
            if float(residual.norm()) <= enough:
                break
            conditioned = self._precondition(factorized, residual)
            product, before = residual @ conditioned, product
            along = conditioned + (product / before) * along
        return direction, step

    def minimum(self, l2: float, start: Tensor | None, search: Search) -> tuple[Point, Factor]:
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
            tried = [t * problem.start for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
            start = min(tried, key=lambda u: cost(u, self.mean + self.push(u)))
        u, logits = start, self.mean + self.push(start)
        relative, factorized = math.inf, self.factorized
        for _ in range(search.newton_steps):
            p = torch.softmax(logits, 1)
            gradient = self.pull(p - problem.targets).add_(u, alpha=l2)
            relative = float(gradient.norm() / (l2 * u.norm()).clamp_min(1e-300))
            if relative <= search.tolerance:
                break
            factorized = factorized or self.factorize(logits, l2)
            accuracy = max(min(0.1, relative), 0.3 * search.tolerance / relative)  # no more than the end asks for
            direction, steps = self._direction(factorized, gradient, p, l2, accuracy)
            change, slope = self.push(direction), float(gradient @ direction)
            here, size = cost(u, logits), 1.0
            while size > 1e-8 and cost(u + size * direction, logits + size * change) > here + 1e-4 * size * slope:
                size /= 2
            if size <= 1e-8:  # no decrease that float64 can tell
                break
            u, logits = u + size * direction, logits + size * change
            if steps > _PATIENCE:
                factorized = None
        factorized = self.factorize(logits, l2)
        point = Point(u, cost(u, logits), logits, self.at, relative, relative <= search.tolerance)
        return point, factorized


def minimum_point(problem: Problem, l2: float, start: Tensor, search: Search) -> Point:
    """The minimum of the network's C that L-BFGS reaches from `start`: in float32 until it stalls, then on in float64."""
    vector, reached = start.cpu().numpy(), False
    pairs = Pairs(maxlen=search.memory)
    phases = [(torch.float32, search.iterations), (torch.float64, search.window)]
    for dtype, iterations in phases if search.single_first else [(torch.float64, search.iterations)]:
        objective = problem.objective(dtype)

        def evaluate(at: np.ndarray, objective: Objective = objective) -> tuple[float, np.ndarray]:
            cost, gradient = objective(torch.from_numpy(at).to(start.device), l2)
            return cost, gradient.cpu().numpy()

        vector, reached = _lbfgs(evaluate, vector, l2, iterations, search, pairs)
    deviation = torch.from_numpy(vector).to(start)
    cost, gradient = problem.cost_and_gradient(deviation, l2)
    there = problem.network(deviation)
    relative = float(gradient.norm() / (l2 * deviation.norm()).clamp_min(1e-300))
    return Point(deviation, cost, there.logits, there, relative, reached)


def _lbfgs(
    evaluate: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    l2: float,
    iterations: int,
    search: Search,
    pairs: Pairs,
) -> tuple[np.ndarray, bool]:
    """L-BFGS with SciPy's strong-Wolfe line search (Nocedal and Wright, algorithms 7.4 and 3.5); gives x, and whether it ended.

    `pairs` are those to begin with, and receive the new ones.

    SciPy's own L-BFGS-B takes the same steps, at 8 ms of bookkeeping each for 100 000 weights; this takes less than half.
    """
    seen: list[tuple[np.ndarray, float, np.ndarray]] = []  # the line search asks for cost and gradient one after the other

    def at(x: np.ndarray) -> tuple[float, np.ndarray]:
        if not (seen and np.array_equal(seen[0][0], x)):
            seen[:] = [(x.copy(), *evaluate(x))]
        return seen[0][1:]

    x = start
    cost, gradient = at(x)
    costs, first = [cost], 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LineSearchWarning)
        for _ in range(iterations):
            if np.linalg.norm(gradient) <= search.tolerance * l2 * np.linalg.norm(x):
                return x, True
            if _stalled(costs, search):
                return x, True
            direction, shares = -gradient, []
            for step, change, curvature in reversed(pairs):
                shares.append(float(step @ direction) / curvature)
                direction = daxpy(change, direction, a=-shares[-1])  # in place
            # the first step has unit length, as in L-BFGS-B; then the usual scale of the inverse Hessian
            direction *= pairs[-1][2] / float(pairs[-1][1] @ pairs[-1][1]) if pairs else first / np.linalg.norm(gradient)
            for (step, change, curvature), share in zip(pairs, reversed(shares), strict=True):
                direction = daxpy(step, direction, a=share - float(change @ direction) / curvature)
            size = line_search(lambda x: at(x)[0], lambda x: at(x)[1], x, direction, gradient, cost, maxiter=20)[0]
            if size is None:  # a kink, or no decrease that these digits can tell: along the gradient, with shorter steps
                if first < 1e-10:
                    break
                if not pairs:
                    first /= 100
                pairs.clear()
                continue
            new = x + size * direction
            new_cost, new_gradient = at(new)
            step, change = new - x, new_gradient - gradient
            if float(step @ change) > 0:
                pairs.append((step, change, float(step @ change)))
            x, cost, gradient = new, new_cost, new_gradient
            costs.append(cost)
    return x, _stalled(costs, search)


def _stalled(costs: Sequence[float], search: Search) -> bool:
    return len(costs) > search.window and costs[-1 - search.window] - costs[-1] <= search.stall * costs[-1]


def network_evidence(
    layers: Sequence[Tensor],
    initial_layers: Sequence[Tensor],
    train_inputs: Tensor,
    train_labels: Tensor,
    test_inputs: Tensor,
    test_labels: Tensor,
    classes: int,
    l2_values: Sequence[float],
    points: Sequence[str] = POINTS,
    prior_centres: Sequence[str] = ("zero",),
    search: Search | None = None,
) -> pd.DataFrame:
    """The evidence of one network: a row for each prior centre, point and λ, columns `COLUMNS`.

    All is computed in float64, on the device of the inputs. Memory: one square matrix of N(C − 1) rows.

    Args:
        layers: the trained weights, (fan_in + 1, fan_out) each, bias last.
        initial_layers: those before training, the prior's centre if `initial` is asked for.
        train_inputs: (N, d + 1) with their ones.
        train_labels: int64 (N,).
        test_inputs: (n_test, d + 1), alike.
        test_labels: int64 (n_test,).
        classes: C.
        l2_values: λ > 0, the precisions of the prior (of the sum cost).
        points: of `POINTS`.
        prior_centres: of `PRIOR_CENTRES`: where the prior N(c, I/λ) is centred.
        search: when the searches end.

    Returns:
        Losses in nats per example; `gradient_norm` in units of λ‖w − c‖; `weight_norm` ‖w − c‖; `top_eigenvalue`, `trace` and
        `effective_parameters` of the GGN (λ not included), the latter with the standard error of its estimate; `best_l2`: the
        λ of the grid with the largest evidence, of its point and centre. A network whose weights or kernel are not finite
        has NaN in place of numbers, and `converged` False.

    Raises:
        UserError: memory would not do; nothing is computed then.
    """
    device = train_inputs.device
    weights, initial = ([w.to(device, torch.float64) for w in network] for network in (layers, initial_layers))
    x, x_test = train_inputs.double(), test_inputs.double()
    search = search or Search()
    permutations = sum(math.lgamma(layer.shape[1] + 1) for layer in weights[:-1])
    finite = all(bool(torch.isfinite(layer).all()) for layer in weights)
    rows: list[dict[str, Any]] = []
    workspace: Tensor | None = None
    for centre_name in prior_centres:
        centre = [torch.zeros_like(w) for w in weights] if centre_name == "zero" else initial
        if finite and workspace is None:
            workspace = _workspace(len(x), classes, x)
        problem = Problem(weights, centre, x, train_labels, classes) if finite else None
        for name in points:
            found: list[dict[str, Any]] = []
            try:
                if problem is None or workspace is None:
                    raise np.linalg.LinAlgError("weights are not finite")
                for l2, point, weighed in _weighed(problem, name, l2_values, search, workspace):
                    measured = _measured(problem, name, point, x_test, test_labels)
                    found.append({"l2": l2} | weighed | measured | _summary(point, weighed, len(x), classes))
            except np.linalg.LinAlgError:
                found = [{"l2": l2, "converged": False} for l2 in l2_values]
            ratios = [float(row.get("log_evidence_ratio", math.inf)) for row in found]
            best = min(ratios)
            common = {"point": name, "prior_centre": centre_name, "log_permutations": permutations}
            rows += [common | row | {"best_l2": ratio == best < math.inf} for row, ratio in zip(found, ratios, strict=True)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _workspace(n: int, classes: int, like: Tensor) -> Tensor:
    check_memory(n, classes - 1, like.device)
    return like.new_empty(n * (classes - 1), n * (classes - 1))


def _weighed(
    problem: Problem, name: str, l2_values: Sequence[float], search: Search, workspace: Tensor
) -> Iterator[tuple[float, Point, dict[str, object]]]:
    """(λ, point, what the kernel tells) for each λ, in the order in which one is found from the other."""
    if name == "sgd":
        yield from _weighed_sgd(problem, l2_values, workspace)
    elif name == "linearized":
        model, start = LinearizedModel(problem, workspace), None
        for l2 in sorted(l2_values, reverse=True):
            point, factorized = model.minimum(l2, start, search)
            start = point.deviation
            yield l2, point, _of_factor(factorized) | _of_network(point)
    else:
        start = problem.start
        for l2 in sorted(l2_values):
            point = minimum_point(problem, l2, start, search)
            start = point.deviation
            kernel = point.at.kernel(softmax_factor(point.logits), out=workspace)
            yield l2, point, _of_factor(Factor(kernel, l2)) | _of_network(point)


def _weighed_sgd(
    problem: Problem, l2_values: Sequence[float], workspace: Tensor
) -> Iterator[tuple[float, Point, dict[str, object]]]:
    factor = softmax_factor(problem.sgd.logits)
    common, spectrum = None, None
    if len(l2_values) >= _SPECTRUM_FROM:
        spectrum = eigenvalues(problem.sgd.kernel(factor, out=workspace))
    for l2 in sorted(l2_values):
        point = sgd_point(problem, l2)
        common = common or _of_network(point)
        if spectrum is None:
            yield l2, point, _of_factor(Factor(problem.sgd.kernel(factor, out=workspace), l2)) | common
        else:
            gamma = {"effective_parameters": effective_parameters(spectrum, l2), "effective_parameters_error": 0.0}
            yield l2, point, {"occam_factor": 0.5 * log_determinant(spectrum, l2)} | gamma | common


def _of_factor(factorized: Factor) -> dict[str, object]:
    gamma, error = factorized.effective_parameters()
    return {
        "occam_factor": 0.5 * factorized.log_determinant,
        "effective_parameters": gamma,
        "effective_parameters_error": error,
    }


def _of_network(point: Point) -> dict[str, object]:
    factor = softmax_factor(point.logits)
    top = float(point.at.top_eigenvalues(factor, tolerance=1e-4)[0])
    return {"top_eigenvalue": top, "trace": point.at.trace(factor)}


def _summary(point: Point, weighed: dict[str, object], n: int, classes: int) -> dict[str, object]:
    occam = weighed["occam_factor"]
    assert isinstance(occam, float)
    ratio = log_evidence_ratio(point.cost, occam, n, classes)
    return {
        "cost": point.cost,
        "log_evidence_ratio": ratio,
        "log_evidence_ratio_per_example": ratio / n,
        "gradient_norm": point.gradient_norm,
        "converged": point.converged,
    }


def _measured(problem: Problem, name: str, point: Point, inputs: Tensor, labels: Tensor) -> dict[str, object]:
    """Losses and accuracies at a point, and its distance from the prior's centre."""
    train_loss, train_accuracy = loss_and_accuracy(point.logits, problem.labels)
    norm = float(point.deviation.norm())
    if name == "linearized":
        at = Linearization(problem.full_layers, inputs)
        back = zip(problem.lifted(point.deviation), problem.full_layers, problem.full_centre, strict=True)
        logits = at.logits + at.push([u - (w - c) for u, w, c in back])
    elif name == "sgd":
        logits, norm = forward(problem.full_layers, inputs)[0], problem.full_norm
    else:
        there = [c + u for c, u in zip(problem.full_centre, problem.lifted(point.deviation), strict=True)]
        logits = forward(there, inputs)[0]
    test_loss, test_accuracy = loss_and_accuracy(logits, labels)
    return {
        "train_loss": train_loss,
        "train_accuracy": train_accuracy,
        "test_loss": test_loss,
        "test_accuracy": test_accuracy,
        "weight_norm": norm,
    }
