"""The Bayesian evidence of a model against the null model that gives every class the same probability (section 2).

Takes a cost C at its minimum w0 and its Hessian ∇∇C; gives the paper's log evidence ratio

    E(w0) = C(w0) + ½ Σ_i ln(λ_i/λ) − N ln n,    P(y|x; M) ≈ exp{−(C(w0) + ½ Σ_i ln(λ_i/λ))},

where C is a sum over the N examples plus λ‖w‖²/2 and λ_i are the eigenvalues of ∇∇C, λ included; E < 0 favours the
model. E rests on the Laplace approximation, so the second half estimates the same evidence without it: annealed
importance sampling (Neal 2001) from the prior N(0, I/λ) to the posterior, with Hamiltonian Monte Carlo as the move. Where a
sample of the posterior is at hand, the same chain run backwards bounds it from the other side (Grosse, Ancha and Roy 2016).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

Nats = TypeVar("Nats", float, np.ndarray)
LogLikelihood = Callable[[Tensor], tuple[Tensor, Tensor]]
"""θ, shape (problems, chains, dimension) -> ln P(y|x, θ), shape (problems, chains), and its gradient, shaped as θ."""


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


@dataclass(frozen=True)
class AisEstimate:
    """What annealed importance sampling found; every tensor is float64 with one entry per problem, shape (problems,).

    Attributes:
        log_evidence: ln P(y|x; M) in nats. Forward its exponential is unbiased, so itself it errs low rather than high;
            backward the exponential of minus it is, and it errs high.
        standard_error: of `log_evidence`, by the delta method. Too small where few chains carry the weight; backward from one
            sample for all chains it lacks what another sample would change.
        effective_chains: (Σ w)² / Σ w², out of the number of chains (backward of 1/w); distrust the estimate where it is a
            handful.
        acceptance: mean probability that a move was accepted.
    """

    log_evidence: Tensor
    standard_error: Tensor
    effective_chains: Tensor
    acceptance: Tensor


def annealed_importance_sampling(
    log_likelihood_and_grad: LogLikelihood,
    l2: Tensor,
    dimension: int,
    seed: int,
    *,
    chains: int = 64,
    temperatures: int = 100,
    leapfrog_steps: int = 4,
    step_size: float = 0.7,
    power: float = 4.0,
    curvature: Tensor | None = None,
    exact: Tensor | None = None,
) -> AisEstimate:
    """Estimate ln Z = ln ∫ P(y|x, θ) N(θ; 0, I/λ) dθ of many problems at once (Neal 2001; our addition, the paper has none).

    The path is geometric, prior x likelihood^β with β_t = (t/temperatures)^power: small steps near the prior, where the
    likelihood changes most. Between two steps of β each chain makes one Hamiltonian move whose masses are
    1 + β·curvature/λ in units where the prior is N(0, I); they depend on no sample, so the estimate stays unbiased.

    From `exact`, samples of the posterior, the same chain runs backwards, posterior to prior: each move is reversible, so it is
    its own reverse (Grosse, Ancha and Roy 2016). With θ_t the state between the moves at β_t and β_{t+1} and

        ln w = Σ_t (β_{t+1} − β_t) ln P(y|x, θ_t),    E[w] = Z forward,    E[1/w] = 1/Z backward,

    ln mean w over the chains errs low and −ln mean 1/w errs high: by Jensen in the mean, by Markov by more than b nats to the
    other side with a probability below e^−b. Chains that start at one sample are dependent, yet E[1/w] is right for each,
    hence for their mean, and the bound holds; the mean is over the sample too.

    Args:
        log_likelihood_and_grad: vectorised over problems and chains, see `LogLikelihood`.
        l2: λ > 0 of each problem, float64, shape (problems,); its device is the one that is used.
        dimension: length of θ.
        seed: fixes every random number. The result of one problem also depends on the number of problems and chains.
        chains: independent chains per problem.
        temperatures: number of steps from β = 0 to β = 1.
        leapfrog_steps: of one move.
        step_size: of one leapfrog step, in units of the standard deviation that the masses imply; each move draws
            its own between 0.5 and 1 times this, against periodic orbits.
        power: of the schedule.
        curvature: a guess at −∂² ln P/∂θ², from above rather than below, broadcastable to (problems, 1, dimension);
            None for 0.
        exact: θ drawn from each posterior, float64, shape (problems, chains, dimension), or (problems, 1, dimension) for one
            that all chains start at; None to go forward, from the prior. Where θ is drawn from the prior and then y from the
            likelihood, that θ is a draw from the posterior of y.
    """
    problems = len(l2)
    generator = torch.Generator(device=l2.device).manual_seed(seed)
    scale = l2.rsqrt()[:, None, None]
    stiffness = torch.zeros_like(scale) if curvature is None else curvature * scale**2
    shape = (problems, chains, dimension)

    def normal(size: tuple[int, ...]) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64, device=l2.device)

    def uniform() -> Tensor:
        return torch.rand(problems, chains, generator=generator, dtype=torch.float64, device=l2.device)

    def likelihood(z: Tensor) -> tuple[Tensor, Tensor]:
        value, grad = log_likelihood_and_grad(z * scale)
        return value, grad * scale

    z = normal(shape) if exact is None else (exact / scale).expand(shape)
    value, grad = likelihood(z)
    log_weights = torch.zeros_like(value)
    acceptance = torch.zeros_like(l2)
    betas = [(t / temperatures) ** power for t in range(temperatures + 1)]
    steps = list(itertools.pairwise(betas))
    for previous, beta in steps if exact is None else reversed(steps):
        if exact is None:
            log_weights += (beta - previous) * value
        mass = 1 + beta * stiffness
        step = step_size * (0.5 + 0.5 * uniform()[..., None])
        momentum = normal(shape) * mass.sqrt()
        energy = 0.5 * (z.square() + momentum.square() / mass).sum(-1) - beta * value
        new_z, new_value, new_grad = z, value, grad
        for _ in range(leapfrog_steps):
            momentum = momentum + 0.5 * step * (beta * new_grad - new_z)
            new_z = new_z + step * momentum / mass
            new_value, new_grad = likelihood(new_z)
            momentum = momentum + 0.5 * step * (beta * new_grad - new_z)
        new_energy = 0.5 * (new_z.square() + momentum.square() / mass).sum(-1) - beta * new_value
        probability = (energy - new_energy).clamp(max=0.0).exp().nan_to_num(nan=0.0)
        accept = uniform() < probability
        z, grad = (torch.where(accept[..., None], new, old) for new, old in ((new_z, z), (new_grad, grad)))
        value = torch.where(accept, new_value, value)
        acceptance += probability.mean(-1) / temperatures
        if exact is not None:
            log_weights -= (beta - previous) * value

    peak = log_weights.max(-1).values
    weights = (log_weights - peak[:, None]).exp()
    mean = weights.mean(-1)
    return AisEstimate(
        log_evidence=(peak + mean.log()) * (1 if exact is None else -1),
        standard_error=weights.std(-1) / (mean * math.sqrt(chains)),
        effective_chains=weights.sum(-1).square() / weights.square().sum(-1),
        acceptance=acceptance,
    )


def data_span(features: Tensor) -> tuple[Tensor, Tensor]:
    """The same linear model in fewer coordinates: those of the span of the data, where alone the likelihood varies.

    With X = U S Vᵀ of rank k, θ = Vᵀw again has the prior N(0, I/λ) and X w = (U S) θ, while the rest of w
    integrates to 1 exactly.

    Args:
        features: X with the bias column in it, float64, shape (n, d).

    Returns:
        U S, shape (n, k), and S²/4, shape (k,), which bounds the curvature of the logistic likelihood in θ.
    """
    u, s, _ = torch.linalg.svd(features, full_matrices=False)
    kept = s > s[0] * max(features.shape) * torch.finfo(s.dtype).eps
    return u[:, kept] * s[kept], s[kept].square() / 4


def logistic_log_likelihood(features: Tensor, signs: Tensor) -> LogLikelihood:
    """Give ln P(y|x, θ) = Σ_i ln σ(t_i x_i·θ) and its gradient, for `annealed_importance_sampling` (section 3).

    Args:
        features: X, or its coordinates from `data_span`; float64, shape (n, k); shared by all problems.
        signs: t = ±1 of each problem, float64, shape (problems, n) or (1, n) for labels that all problems share.
    """

    def log_likelihood_and_grad(theta: Tensor) -> tuple[Tensor, Tensor]:
        logits = (theta @ features.T) * signs[:, None]
        return torch.nn.functional.logsigmoid(logits).sum(-1), (signs[:, None] * torch.sigmoid(-logits)) @ features

    return log_likelihood_and_grad
