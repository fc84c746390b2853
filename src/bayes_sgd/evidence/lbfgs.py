"""L-BFGS with SciPy's strong-Wolfe line search, for costs whose gradient jumps: takes a function, gives what it reaches.

SciPy's own L-BFGS-B takes the same steps with more bookkeeping, which a network's gradient does not hide; this also ends where
the cost no longer falls, for at a kink the gradient does not vanish (our choice).
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg.blas import daxpy  # pyright: ignore[reportAttributeAccessIssue]  (Fortran, in no stub)
from scipy.optimize import line_search

Pairs = deque[tuple[np.ndarray, np.ndarray, float]]
"""Of L-BFGS: a step, the change of the gradient along it, and their product."""


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


def lbfgs(
    evaluate: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    l2: float,
    iterations: int,
    search: Search,
    pairs: Pairs,
) -> tuple[np.ndarray, bool]:
    """L-BFGS with SciPy's strong-Wolfe line search (Nocedal and Wright, algorithms 7.4 and 3.5); gives x, and whether it ended.

    `pairs` are those to begin with, and receive the new ones.
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
        warnings.filterwarnings("ignore", "The line search|Rounding errors", RuntimeWarning)  # no step found is handled here
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
