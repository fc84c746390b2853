"""The Bayesian evidence by sampling, as a check on Laplace's approximation (our addition; the paper has none).

Takes a log likelihood with its gradient and values of λ; gives ln Z = ln ∫ P(y|x, θ) N(θ; 0, I/λ) dθ of many problems at once,
by annealed importance sampling (Neal 2001). The path is geometric, prior x likelihood^β with β_t = (t/temperatures)^power:
small steps near the prior, where the likelihood changes most. Between two steps of β each chain makes one Hamiltonian move,
whose masses are 1 + β·curvature/λ in units where the prior is N(0, I). The masses depend on no sample.

Forward, from the prior to the posterior, and backward, from an exact sample of the posterior to the prior, are the same chain:
each move is reversible, so it is its own reverse (Grosse, Ancha and Roy 2016). With θ_t the state between the moves at β_t and
β_{t+1},

    ln w = Σ_t (β_{t+1} − β_t) ln P(y|x, θ_t),    E[w] = Z forward,    E[1/w] = 1/Z backward.

So ln mean w over the chains errs low, and −ln mean 1/w errs high: by Jensen in the mean, and by Markov by more than b nats to
the other side with a probability below e^−b.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LogLikelihood = Callable[[Tensor], tuple[Tensor, Tensor]]
"""θ, shape (problems, chains, dimension) -> ln P(y|x, θ), shape (problems, chains), and its gradient, shaped as θ."""


@dataclass(frozen=True)
class AisEstimate:
    """An estimate of ln Z; every tensor is float64 with one entry per problem, shape (problems,).

    Attributes:
        log_evidence: ln P(y|x; M) in nats. Forward its exponential is unbiased, so it errs low itself; backward the exponential
            of minus it is unbiased, so it errs high.
        standard_error: of `log_evidence`, by the delta method. Too small where few chains carry the weight. Backward from one
            sample for all chains it lacks what another sample would change.
        effective_chains: (Σ w)² / Σ w², out of the number of chains (backward of 1/w); distrust the estimate where it is a
            handful.
        acceptance: mean probability that a move was accepted.
    """

    log_evidence: Tensor
    standard_error: Tensor
    effective_chains: Tensor
    acceptance: Tensor


@dataclass(frozen=True)
class AisSettings:
    """How the chains move; all of it is our choice.

    Attributes:
        chains: independent chains per problem.
        temperatures: number of steps from β = 0 to β = 1.
        leapfrog_steps: of one move.
        step_size: of one leapfrog step, in units of the standard deviation that the masses imply. Each move draws its own
            between 0.5 and 1 times this, against periodic orbits.
        power: of the schedule of β.
    """

    chains: int = 64
    temperatures: int = 100
    leapfrog_steps: int = 4
    step_size: float = 0.7
    power: float = 4.0

    def steps(self) -> list[tuple[float, float]]:
        """Pairs of neighbouring β, ascending from 0 to 1."""
        betas = [(t / self.temperatures) ** self.power for t in range(self.temperatures + 1)]
        return list(itertools.pairwise(betas))


@dataclass(frozen=True)
class _State:
    """Where the chains are: z = θ√λ (problems, chains, dimension), ln P there, and its gradient in z."""

    z: Tensor
    value: Tensor
    gradient: Tensor


class _Chains:
    """The chains of all problems: their random numbers, masses and Hamiltonian moves."""

    def __init__(
        self, log_likelihood_and_grad: LogLikelihood, l2: Tensor, seed: int, settings: AisSettings, curvature: Tensor | None
    ) -> None:
        self.target, self.settings = log_likelihood_and_grad, settings
        self.generator = torch.Generator(device=l2.device).manual_seed(seed)
        self.scale = l2.rsqrt()[:, None, None]
        self.stiffness = torch.zeros_like(self.scale) if curvature is None else curvature * self.scale**2
        self.acceptance = torch.zeros_like(l2)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64, device=self.scale.device)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=self.generator, dtype=torch.float64, device=self.scale.device)

    def at(self, z: Tensor) -> _State:
        """The state at positions z."""
        value, gradient = self.target(z * self.scale)
        return _State(z, value, gradient * self.scale)

    def move(self, state: _State, beta: float) -> _State:
        """One Hamiltonian move that leaves prior x likelihood^β invariant; reversible."""
        mass = 1 + beta * self.stiffness
        step = self.settings.step_size * (0.5 + 0.5 * self.uniform(state.value.shape)[..., None])
        momentum = self.normal(state.z.shape) * mass.sqrt()
        energy = 0.5 * (state.z.square() + momentum.square() / mass).sum(-1) - beta * state.value
        new = state
        for _ in range(self.settings.leapfrog_steps):
            momentum = momentum + 0.5 * step * (beta * new.gradient - new.z)
            new = self.at(new.z + step * momentum / mass)
            momentum = momentum + 0.5 * step * (beta * new.gradient - new.z)
        new_energy = 0.5 * (new.z.square() + momentum.square() / mass).sum(-1) - beta * new.value
        probability = (energy - new_energy).clamp(max=0.0).exp().nan_to_num(nan=0.0)
        self.acceptance += probability.mean(-1) / self.settings.temperatures
        accept = self.uniform(state.value.shape) < probability
        return _State(
            torch.where(accept[..., None], new.z, state.z),
            torch.where(accept, new.value, state.value),
            torch.where(accept[..., None], new.gradient, state.gradient),
        )

    def estimate(self, log_weights: Tensor, sign: int) -> AisEstimate:
        """± the logarithm of the mean weight over the chains, and how far it can be trusted."""
        peak = log_weights.max(-1).values
        weights = (log_weights - peak[:, None]).exp()
        mean = weights.mean(-1)
        return AisEstimate(
            log_evidence=(peak + mean.log()) * sign,
            standard_error=weights.std(-1) / (mean * math.sqrt(self.settings.chains)),
            effective_chains=weights.sum(-1).square() / weights.square().sum(-1),
            acceptance=self.acceptance,
        )


def annealed_importance_sampling(
    log_likelihood_and_grad: LogLikelihood,
    l2: Tensor,
    dimension: int,
    seed: int,
    settings: AisSettings | None = None,
    curvature: Tensor | None = None,
) -> AisEstimate:
    """Estimate ln Z forward, from the prior to the posterior (Neal 2001): a stochastic lower bound.

    Args:
        log_likelihood_and_grad: vectorised over problems and chains, see `LogLikelihood`.
        l2: λ > 0 of each problem, float64, shape (problems,); its device is the one that is used.
        dimension: length of θ.
        seed: fixes every random number. The result of one problem also depends on the number of problems and chains.
        settings: of the chains.
        curvature: a guess at −∂² ln P/∂θ², from above rather than below, broadcastable to (problems, 1, dimension);
            None for 0.
    """
    settings = settings or AisSettings()
    chains = _Chains(log_likelihood_and_grad, l2, seed, settings, curvature)
    state = chains.at(chains.normal((len(l2), settings.chains, dimension)))
    log_weights = torch.zeros_like(state.value)
    for previous, beta in settings.steps():
        log_weights += (beta - previous) * state.value
        state = chains.move(state, beta)
    return chains.estimate(log_weights, 1)


def reverse_annealed_importance_sampling(
    log_likelihood_and_grad: LogLikelihood,
    l2: Tensor,
    exact: Tensor,
    seed: int,
    settings: AisSettings | None = None,
    curvature: Tensor | None = None,
) -> AisEstimate:
    """Estimate ln Z backward, from exact samples of the posterior to the prior: a stochastic upper bound.

    Chains that start at one sample are dependent, yet E[1/w] is right for each, hence for their mean, and the bound holds. The
    mean is over the sample too (Grosse, Ancha and Roy 2016).

    Args:
        log_likelihood_and_grad: as for `annealed_importance_sampling`.
        l2: likewise.
        exact: θ drawn from each posterior, float64, shape (problems, chains, dimension), or (problems, 1, dimension) for one
            that all chains start at. Where θ is drawn from the prior and then y from the likelihood, that θ is a draw from the
            posterior of y.
        seed: likewise.
        settings: likewise.
        curvature: likewise.
    """
    settings = settings or AisSettings()
    chains = _Chains(log_likelihood_and_grad, l2, seed, settings, curvature)
    state = chains.at((exact / chains.scale).expand(len(l2), settings.chains, exact.shape[-1]))
    log_weights = torch.zeros_like(state.value)
    for previous, beta in reversed(settings.steps()):
        state = chains.move(state, beta)
        log_weights -= (beta - previous) * state.value
    return chains.estimate(log_weights, -1)


def data_span(features: Tensor) -> tuple[Tensor, Tensor]:
    """The same linear model in the coordinates of the span of the data, the only ones in which the likelihood varies.

    With X = U S Vᵀ of rank k, θ = Vᵀw again has the prior N(0, I/λ) and X w = (U S) θ, while the rest of w
    integrates to 1 exactly.

    Args:
        features: X with the bias column in it, float64, shape (n, d).

    Returns:
        U S, shape (n, k), and S²/4, shape (k,), which bounds the curvature of the logistic likelihood in θ.
    """
    u, s, _ = torch.linalg.svd(features, full_matrices=False)
    nonzero = s > s[0] * max(features.shape) * torch.finfo(s.dtype).eps
    return u[:, nonzero] * s[nonzero], s[nonzero].square() / 4


def logistic_log_likelihood(features: Tensor, signs: Tensor) -> LogLikelihood:
    """The function ln P(y|x, θ) = Σ_i ln σ(t_i x_i·θ) with its gradient, for `annealed_importance_sampling` (section 3).

    Args:
        features: X, or its coordinates from `data_span`; float64, shape (n, k); shared by all problems.
        signs: t = ±1 of each problem, float64, shape (problems, n) or (1, n) for labels that all problems share.
    """

    def log_likelihood_and_grad(theta: Tensor) -> tuple[Tensor, Tensor]:
        logits = (theta @ features.T) * signs[:, None]
        return torch.nn.functional.logsigmoid(logits).sum(-1), (signs[:, None] * torch.sigmoid(-logits)) @ features

    return log_likelihood_and_grad
