"""Logistic regression with a Gaussian prior (section 3): the most probable weights, and how good they are.

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
        gradient_norm: ‖∇C‖ in units of λ‖w0‖, which is what the two halves of ∇C have to cancel.
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

    Pixels that are zero in all rows take no part: exact, for their weights are 0 and their eigenvalues λ. Nor, where features
    are many and examples few, does what is orthogonal to every example: see `row_space`.

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
    features, live = live_features(inputs, bias_input)
    features, basis = row_space(features)
    short = None if start is None else start[live] if basis is None else basis.T @ start[live]
    fit = newton(features, to_signs(labels), l2, short, tolerance, max_iterations)
    return replace(fit, weights=spread(fit.weights, live, basis), tangent=spread(fit.tangent, live, basis))


def hessian(features: np.ndarray, logits: np.ndarray, l2: float) -> np.ndarray:
    """∇∇C = Xᵀ R X + λI, shape (k, k), at the logits X w, shape (n,); X with the bias column, shape (n, k); float64."""
    # p(1 − p) as a product of two sigmoids keeps its digits where p rounds to 1.
    weighted = features * np.sqrt(expit(logits) * expit(-logits))[:, None]
    result = weighted.T @ weighted
    result[np.diag_indices_from(result)] += l2
    return result


def live_features(inputs: np.ndarray, bias_input: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The live columns with the bias input as the last one, shape (n, k), and which of the d + 1 weights they are."""
    full = np.column_stack([np.asarray(inputs, dtype=np.float64), np.full(len(inputs), bias_input)])
    live = np.asarray((full != 0).any(axis=0))
    return np.ascontiguousarray(full[:, live]), live


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


def spread(short: np.ndarray, live: np.ndarray, basis: np.ndarray | None = None) -> np.ndarray:
    """Put the weights of the live columns back among the dead ones, whose weights are 0; `basis` as `row_space` gives it."""
    full = np.zeros(len(live))
    full[live] = short if basis is None else basis @ short
    return full


def _cost(logits: np.ndarray, signs: np.ndarray, weights: np.ndarray, l2: float) -> float:
    return float(np.logaddexp(0.0, -signs * logits).sum() + 0.5 * l2 * weights @ weights)


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is looked for and raised below
def newton(
    features: np.ndarray,
    signs: np.ndarray,
    l2: float,
    start: np.ndarray | None,
    tolerance: float,
    max_iterations: int,
) -> Fit:
    """`fit_map` on features that are ready: signs ±1, start and result without the dead columns."""
    if not l2 > 0:
        raise ValueError(f"l2 must be positive, got {l2}")
    lengths = np.linalg.norm(features, axis=1)
    weights = np.zeros(features.shape[1]) if start is None else start
    logits = features @ weights
    factor, norm_before, iterations = None, np.inf, 0
    while True:
        cost = _cost(logits, signs, weights, l2)
        miss = signs * expit(-signs * logits)
        gradient = l2 * weights - features.T @ miss
        norm = float(np.linalg.norm(gradient))
        # Where the data's gradient cancels to less than a millionth, ten digits of it are beyond float64.
        scale = np.maximum(l2 * np.linalg.norm(weights), 1e-6 * (np.abs(miss) @ lengths))  # keeps a NaN, as max does not
        gradient_norm = float(norm / scale)
        if not np.isfinite([cost, gradient_norm]).all():
            raise np.linalg.LinAlgError(f"the cost at l2 = {l2} is not finite")
        if gradient_norm <= tolerance or iterations == max_iterations:
            break
        # A step with an old Hessian costs a tenth of one with a new Hessian: worth it while it gains a digit.
        fresh = factor is None or norm > 0.1 * norm_before
        if factor is None or fresh:
            factor = _factor(features, logits, l2)
        step = -scipy.linalg.cho_solve(factor, gradient, check_finite=False)
        along, slope = features @ step, float(gradient @ step)
        length = _line_search(logits, along, signs, weights, step, l2, cost, slope)
        lost_in_rounding = -slope < 4 * EPS * abs(cost) and norm > 0.5 * norm_before
        if length == 0.0 or lost_in_rounding:
            if fresh:
                break
            norm_before = 0.0  # so that the next try is with a new Hessian
            continue
        weights, logits, norm_before = weights + length * step, logits + length * along, norm
        iterations += 1
    factor = _factor(features, logits, l2)
    occam = occam_penalty_from_cholesky(np.diagonal(factor[0]), l2)
    tangent = -l2 * scipy.linalg.cho_solve(factor, weights, check_finite=False)
    return Fit(weights, cost, occam, tangent, gradient_norm, iterations, gradient_norm <= tolerance)


def _factor(features: np.ndarray, logits: np.ndarray, l2: float) -> tuple[np.ndarray, bool]:
    """The Cholesky factor of ∇∇C, in scipy's form."""
    return scipy.linalg.cho_factor(hessian(features, logits, l2), lower=True, overwrite_a=True, check_finite=False)


def _line_search(
    logits: np.ndarray,
    along: np.ndarray,
    signs: np.ndarray,
    weights: np.ndarray,
    step: np.ndarray,
    l2: float,
    cost: float,
    slope: float,
) -> float:
    """The first of 1, ½, ¼, ... by which the step lowers C enough, or 0; `along` is X·step, `slope` ∇C·step."""
    length = 1.0
    while length > EPS:
        new_weights, new_logits = weights + length * step, logits + length * along
        new_cost = _cost(new_logits, signs, new_weights, l2)
        if new_cost <= cost + 1e-4 * length * slope:
            return length
        # Near the minimum C no longer resolves the step; its slope still does (Hager and Zhang 2005).
        new_slope = float(l2 * new_weights @ step - (signs * expit(-signs * new_logits)) @ along)
        if new_cost <= cost + 16 * EPS * abs(cost) and new_slope <= -0.9 * slope:
            return length
        length *= 0.5
    return 0.0


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
