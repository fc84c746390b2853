"""Logistic regression with a Gaussian prior (section 3): the most probable weights, and their accuracy, loss and margin.

Takes inputs (n, d), labels 0 or 1 and λ; gives the minimum w0 of the paper's cost

    C(w) = −Σ_i ln P(y_i|x_i, w) + λ‖w‖²/2,    ∇∇C = Xᵀ R X + λI,    R = diag p(1 − p),

a sum over the examples, together with ½ Σ ln(λ_i/λ) there. All of it is exact, in float64. Our choices, where the paper
is silent: the bias is in the prior like every weight (else the prior, and with it the evidence, is improper); Newton's
method.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from scipy.special import expit

from bayes_sgd.evidence.laplace import occam_penalty_from_cholesky

EPS = float(np.finfo(np.float64).eps)
# ∇∇C of so many features takes 8 MB and is used as it is, even where the examples are fewer: images of 28 x 28 always are
DENSE_FEATURES = 1024


@dataclass(frozen=True)
class Fit:
    """The minimum of C at one λ.

    Attributes:
        weights: w0, the bias last; float64, shape (d + 1,).
        cost: C(w0) in nats, summed over the examples, λ‖w0‖²/2 included.
        occam_penalty: ½ Σ ln(λ_i/λ) at w0, in nats.
        tangent: dw0/d ln λ, shape (d + 1,): where the minimum goes when λ changes.
        gradient_norm: ‖∇C‖ in units of λ‖w0‖, which is the norm of each of the two parts of ∇C that cancel at a minimum.
        iterations: Newton steps taken.
        converged: whether `gradient_norm` reached the tolerance.
    """

    weights: np.ndarray
    cost: float
    occam_penalty: float
    tangent: np.ndarray
    gradient_norm: float
    iterations: int
    converged: bool


def fit_map(
    inputs: np.ndarray,
    labels: np.ndarray,
    l2: float,
    start: np.ndarray | None = None,
    tolerance: float = 1e-10,
    max_iterations: int = 100,
    bias_input: float = 1.0,
) -> Fit:
    """The most probable weights, by Newton's method with the exact Hessian and a line search (section 3).

    Inputs that are zero in all rows are left out. This is exact: their weights are 0 and their eigenvalues λ. Where features
    are many and examples few, so is what is orthogonal to every example: see `row_space`.

    Args:
        inputs: shape (n, d), pixels in this project; any finite numbers will do.
        labels: 0 or 1, shape (n,).
        l2: λ > 0.
        start: weights to start from, shape (d + 1,), bias last; None for 0.
        tolerance: on ‖∇C‖ / λ‖w‖. At the minimum λ‖w‖ is the norm of the data's half of ∇C: it vanishes for λ -> 0 and
            tends to the gradient at w = 0 for λ -> ∞, so the same tolerance serves every λ.
        max_iterations: Newton steps at most. The search also ends, not converged, where float64 allows no progress.
        bias_input: the input of the bias, a constant.

    Raises:
        ValueError: λ is not positive or a label is not 0 or 1.
        numpy.linalg.LinAlgError: the cost or the Hessian is not finite, or the Hessian not positive definite.
    """
    features, active = active_features(inputs, bias_input)
    features, basis = row_space(features)
    short = None if start is None else start[active] if basis is None else basis.T @ start[active]
    fit = newton(features, to_signs(labels), l2, short, tolerance, max_iterations)
    return replace(fit, weights=spread(fit.weights, active, basis), tangent=spread(fit.tangent, active, basis))


def hessian(features: np.ndarray, logits: np.ndarray, l2: float) -> np.ndarray:
    """∇∇C = Xᵀ R X + λI, shape (k, k), at the logits X w, shape (n,); X with the bias column, shape (n, k); float64."""
    # p(1 − p) as a product of two sigmoids keeps its digits where p rounds to 1.
    weighted = features * np.sqrt(expit(logits) * expit(-logits))[:, None]
    result = weighted.T @ weighted
    result[np.diag_indices_from(result)] += l2
    return result


def active_features(inputs: np.ndarray, bias_input: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The columns that are not constant zero, the bias input last, shape (n, k), and which of the d + 1 weights they are."""
    full = np.column_stack([np.asarray(inputs, dtype=np.float64), np.full(len(inputs), bias_input)])
    active = np.asarray((full != 0).any(axis=0))
    return np.ascontiguousarray(full[:, active]), active


def row_space(features: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The same model in n coordinates where it has many more features than examples, so that ∇∇C is n x n.

    With Xᵀ = Q R of orthonormal columns Q, the minimum is w = Q u: what is orthogonal to all examples only costs.
    X w = Rᵀu and ‖w‖ = ‖u‖, so u is the minimum of the same cost with the features Rᵀ, and the k − n eigenvalues of ∇∇C
    that are left out are λ, each with ln(λ_i/λ) = 0. Exact, and without X Xᵀ, which would square the condition number (our
    choice).

    Args:
        features: X, shape (n, k), float64.

    Returns:
        Rᵀ, shape (n, n), and Q, shape (k, n); X itself and None where k ≤ n or k ≤ `DENSE_FEATURES`.
    """
    n, k = features.shape
    if k <= max(n, DENSE_FEATURES):
        return features, None
    basis, upper = np.linalg.qr(features.T)
    return np.ascontiguousarray(upper.T), basis


def to_signs(labels: np.ndarray) -> np.ndarray:
    """The labels 0, 1 as t = −1, +1."""
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    return 2.0 * np.asarray(labels, dtype=np.float64) - 1.0


def spread(short: np.ndarray, active: np.ndarray, basis: np.ndarray | None = None) -> np.ndarray:
    """All d + 1 weights from those of the active columns; the others are 0. `basis` as `row_space` gives it."""
    full = np.zeros(len(active))
    full[active] = short if basis is None else basis @ short
    return full


@dataclass(frozen=True)
class _Position:
    """Weights with their logits X w, C, ∇C, ‖∇C‖, and ‖∇C‖ in units of λ‖w‖."""

    weights: np.ndarray
    logits: np.ndarray
    cost: float
    gradient: np.ndarray
    norm: float
    relative_norm: float


@dataclass(frozen=True)
class _Regression:
    """C of one data set and λ: features X (n, k) with the bias column, signs t = ±1 (n,), ‖x_i‖ (n,)."""

    features: np.ndarray
    signs: np.ndarray
    l2: float
    lengths: np.ndarray

    def cost(self, logits: np.ndarray, weights: np.ndarray) -> float:
        return float(np.logaddexp(0.0, -self.signs * logits).sum() + 0.5 * self.l2 * weights @ weights)

    def at(self, weights: np.ndarray, logits: np.ndarray) -> _Position:
        """Cost and gradient there; raises LinAlgError where they are not finite."""
        cost = self.cost(logits, weights)
        miss = self.signs * expit(-self.signs * logits)
        gradient = self.l2 * weights - self.features.T @ miss
        norm = float(np.linalg.norm(gradient))
        # Where the data's gradient cancels to less than a millionth, ten digits of it are beyond float64.
        # np.maximum, unlike max, keeps a NaN.
        scale = np.maximum(self.l2 * np.linalg.norm(weights), 1e-6 * (np.abs(miss) @ self.lengths))
        relative = float(norm / scale)
        if not np.isfinite([cost, relative]).all():
            raise np.linalg.LinAlgError(f"the cost at l2 = {self.l2} is not finite")
        return _Position(weights, logits, cost, gradient, norm, relative)

    def factor(self, logits: np.ndarray) -> tuple[np.ndarray, bool]:
        """The Cholesky factor of ∇∇C, in scipy's form."""
        h = hessian(self.features, logits, self.l2)
        return scipy.linalg.cho_factor(h, lower=True, overwrite_a=True, check_finite=False)

    def step(self, position: _Position, factor: tuple[np.ndarray, bool], previous_norm: float) -> _Position | None:
        """The next position by Newton's method with a line search; None where rounding hides all progress."""
        step = -scipy.linalg.cho_solve(factor, position.gradient, check_finite=False)
        along, slope = self.features @ step, float(position.gradient @ step)
        length = self.line_search(position, step, along, slope)
        lost_in_rounding = -slope < 4 * EPS * abs(position.cost) and position.norm > 0.5 * previous_norm
        if length == 0.0 or lost_in_rounding:
            return None
        return self.at(position.weights + length * step, position.logits + length * along)

    def line_search(self, position: _Position, step: np.ndarray, along: np.ndarray, slope: float) -> float:
        """The first of 1, ½, ¼, ... by which the step lowers C enough, or 0; `along` is X·step, `slope` ∇C·step."""
        length, cost = 1.0, position.cost
        while length > EPS:
            weights, logits = position.weights + length * step, position.logits + length * along
            new_cost = self.cost(logits, weights)
            if new_cost <= cost + 1e-4 * length * slope:
                return length
            # Near the minimum C no longer resolves the step; its slope still does (Hager and Zhang 2005).
            new_slope = float(self.l2 * weights @ step - (self.signs * expit(-self.signs * logits)) @ along)
            if new_cost <= cost + 16 * EPS * abs(cost) and new_slope <= -0.9 * slope:
                return length
            length *= 0.5
        return 0.0


@np.errstate(over="ignore", invalid="ignore")  # `_Regression.at` raises where a number is not finite
def newton(
    features: np.ndarray,
    signs: np.ndarray,
    l2: float,
    start: np.ndarray | None,
    tolerance: float,
    max_iterations: int,
) -> Fit:
    """`fit_map` for features that are ready: signs ±1, start and result without the constant-zero columns."""
    if not l2 > 0:
        raise ValueError(f"l2 must be positive, got {l2}")
    model = _Regression(features, signs, l2, np.linalg.norm(features, axis=1))
    weights = np.zeros(features.shape[1]) if start is None else start
    position = model.at(weights, features @ weights)
    factor, previous_norm, iterations = None, np.inf, 0
    while position.relative_norm > tolerance and iterations < max_iterations:
        # A step with an old Hessian costs a tenth of one with a new Hessian: worth it while it gains a digit.
        fresh = factor is None or position.norm > 0.1 * previous_norm
        if factor is None or fresh:
            factor = model.factor(position.logits)
        new = model.step(position, factor, previous_norm)
        if new is not None:
            position, previous_norm = new, position.norm
            iterations += 1
        elif fresh:
            break
        else:
            previous_norm = 0.0  # so that the next try is with a new Hessian
    factor = model.factor(position.logits)
    occam = occam_penalty_from_cholesky(np.diagonal(factor[0]), l2)
    tangent = -l2 * scipy.linalg.cho_solve(factor, position.weights, check_finite=False)
    converged = position.relative_norm <= tolerance
    return Fit(position.weights, position.cost, occam, tangent, position.relative_norm, iterations, converged)


@dataclass(frozen=True)
class Evaluation:
    """Means over the examples, of each row of weights; float64, shape (m,) each.

    Attributes:
        accuracy: in [0, 1].
        loss: cross-entropy in nats per example, without the prior term.
        margin: signed distance from the boundary in the space of the inputs, t(w·x + b)/‖w‖ with t = ±1 and ‖w‖
            without the bias: negative for an example on the wrong side.
        margin_absolute: |w·x + b|/‖w‖, which differs from `margin` as soon as one example is on the wrong side.
    """

    accuracy: np.ndarray
    loss: np.ndarray
    margin: np.ndarray
    margin_absolute: np.ndarray


def evaluate(weights: np.ndarray, inputs: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Judge m models at once: weights (m, d + 1), the bias last, on inputs (n, d) with labels 0 or 1, (n,)."""
    logits = inputs @ weights[:, :-1].T + weights[:, -1]
    signed = logits * to_signs(labels)[:, None]
    norms = np.linalg.norm(weights[:, :-1], axis=1)
    return Evaluation(
        accuracy=(signed > 0).mean(axis=0),
        loss=np.logaddexp(0.0, -signed).mean(axis=0),
        margin=signed.mean(axis=0) / norms,
        margin_absolute=np.abs(signed).mean(axis=0) / norms,
    )
