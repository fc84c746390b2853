"""The Bayesian evidence of a model by Laplace's approximation, against a null model (section 2).

Takes a cost C at its minimum w0 and its Hessian ∇∇C; gives the paper's log evidence ratio

    E(w0) = C(w0) + ½ Σ_i ln(λ_i/λ) − N ln n,    P(y|x; M) ≈ exp{−(C(w0) + ½ Σ_i ln(λ_i/λ))}.

C is a sum over the N examples plus λ‖w‖²/2, and λ_i are the eigenvalues of ∇∇C, λ included. The null model gives each of the
n classes the same probability; E < 0 favours the model over it. `ais` estimates the same evidence by sampling.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import scipy.linalg

Nats = TypeVar("Nats", float, np.ndarray)


def occam_penalty(hessian: np.ndarray, l2: float) -> float:
    """The Occam term of E: ½ Σ_i ln(λ_i/λ), in nats (section 2).

    It is minus the logarithm of the paper's Occam factor, hence a penalty: never below 0 where ∇∇C − λI is positive
    semi-definite, as at every point of a convex cost.

    Args:
        hessian: ∇∇C at the minimum, λ included; shape (d, d), symmetric, float64. Parameters that the likelihood does
            not see may be left out: their eigenvalue is λ, and ln 1 = 0.
        l2: λ > 0, the precision of the prior (of the sum cost).

    Raises:
        numpy.linalg.LinAlgError: the Hessian is not positive definite or not finite.
    """
    if not np.isfinite(hessian).all():
        raise np.linalg.LinAlgError("the Hessian holds a number that is not finite")
    factor = scipy.linalg.cholesky(hessian, lower=True, check_finite=False)
    return occam_penalty_from_cholesky(np.diagonal(factor), l2)


def occam_penalty_from_cholesky(diagonal: np.ndarray, l2: float) -> float:
    """The same, ½ Σ_i ln(λ_i/λ) in nats, from the diagonal (shape (d,)) of a Cholesky factor of ∇∇C that is at hand."""
    # Dividing before the logarithm keeps the small result of a large λ free of cancellation.
    return float(np.log(diagonal / math.sqrt(l2)).sum())


def null_cost(n: int, classes: int) -> float:
    """N ln n in nats (section 2): the cost of the null model, for which all `classes` of N = `n` labels are alike."""
    return n * math.log(classes)


def log_evidence_ratio(cost: Nats, occam: Nats, n: int, classes: int) -> Nats:
    """E = C(w0) + ½ Σ ln(λ_i/λ) − N ln n, in nats (section 2); negative favours the model, positive the null model.

    Args:
        cost: C(w0), a sum over the examples, prior term λ‖w0‖²/2 included; a number or an array of them.
        occam: what `occam_penalty` gives; like `cost`.
        n: N, the number of training examples.
        classes: n, the number of classes.
    """
    return cost + occam - null_cost(n, classes)
