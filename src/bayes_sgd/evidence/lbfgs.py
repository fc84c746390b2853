"""L-BFGS with SciPy's strong-Wolfe line search, for costs whose gradient jumps.

Takes a function with its gradient and a start; gives the point that it reaches. SciPy's own L-BFGS-B takes the same steps with
more bookkeeping, which here costs as much as a network's gradient. This one also ends where the cost no longer falls, since at
a kink the gradient does not vanish (our choice).
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg.blas import daxpy  # pyright: ignore[reportAttributeAccessIssue]  (Fortran, in no stub)
from scipy.optimize import line_search

Pairs = deque[tuple[np.ndarray, np.ndarray, float]]
"""Of L-BFGS: a step, the change of the gradient along it, and their product."""


def lbfgs(
    evaluate: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    pairs: Pairs,
    *,
    iterations: int,
    tolerance: float,
    window: int,
    stall: float,
) -> tuple[np.ndarray, bool]:
    """Minimize a cost by L-BFGS (Nocedal and Wright, algorithms 7.4 and 3.5).

    Args:
        evaluate: x, shape (d,), float64 -> cost and gradient.
        start: x to begin with.
        pairs: those to begin with; receives the new ones.
        iterations: at most.
        tolerance: the search ends where ‖∇C‖ ≤ tolerance·‖x‖.
        window: see `stall`.
        stall: the search also ends where `window` iterations lower the cost by less than `stall` times the cost.

    Returns:
        x, and whether the search ended by `tolerance` or `stall`.
    """
    last: list[tuple[np.ndarray, float, np.ndarray]] = []  # the line search asks for cost and gradient one after the other

    def cost_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        if not (last and np.array_equal(last[0][0], x)):
            last[:] = [(x.copy(), *evaluate(x))]
        return last[0][1:]

    x = start
    cost, gradient = cost_and_gradient(x)
    costs, first = [cost], 1.0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The line search|Rounding errors", RuntimeWarning)  # no step found is handled here
        for _ in range(iterations):
            if np.linalg.norm(gradient) <= tolerance * np.linalg.norm(x) or _stalled(costs, window, stall):
                return x, True
            direction = _direction(gradient, pairs, first)
            size = line_search(
                lambda x: cost_and_gradient(x)[0], lambda x: cost_and_gradient(x)[1], x, direction, gradient, cost, maxiter=20
            )[0]
            if size is None:  # a kink, or a decrease below rounding: along the gradient, with shorter steps
                if first < 1e-10:
                    break
                if not pairs:
                    first /= 100
                pairs.clear()
                continue
            new = x + size * direction
            new_cost, new_gradient = cost_and_gradient(new)
            step, change = new - x, new_gradient - gradient
            if float(step @ change) > 0:
                pairs.append((step, change, float(step @ change)))
            x, cost, gradient = new, new_cost, new_gradient
            costs.append(cost)
    return x, _stalled(costs, window, stall)


def _direction(gradient: np.ndarray, pairs: Pairs, first: float) -> np.ndarray:
    """The two-loop recursion; without pairs, the gradient's opposite of length `first`."""
    direction, shares = -gradient, []
    for step, change, curvature in reversed(pairs):
        shares.append(float(step @ direction) / curvature)
        direction = daxpy(change, direction, a=-shares[-1])  # in place
    # the first step has unit length, as in L-BFGS-B; then the usual scale of the inverse Hessian
    direction *= pairs[-1][2] / float(pairs[-1][1] @ pairs[-1][1]) if pairs else first / np.linalg.norm(gradient)
    for (step, change, curvature), share in zip(pairs, reversed(shares), strict=True):
        direction = daxpy(step, direction, a=share - float(change @ direction) / curvature)
    return direction


def _stalled(costs: Sequence[float], window: int, stall: float) -> bool:
    return len(costs) > window and costs[-1 - window] - costs[-1] <= stall * costs[-1]
