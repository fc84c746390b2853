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
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bayes_sgd.curvature.cholesky import Factor, effective_parameters, eigenvalues, log_determinant
from bayes_sgd.curvature.ggn import Linearization, check_memory, softmax_factor
from bayes_sgd.evidence.laplace import log_evidence_ratio
from bayes_sgd.evidence.lbfgs import Search
from bayes_sgd.evidence.modes import LinearizedModel, Point, Problem, minimum_point, sgd_point
from bayes_sgd.training.measurement import loss_and_accuracy
from bayes_sgd.training.mlp import forward

POINTS = ("sgd", "linearized", "minimum")
PRIOR_CENTRES = ("zero", "initial")
COLUMNS = (
    "point",
    "prior_centre",
    "prior_precision",
    "cost",
    "occam_penalty",
    "log_evidence_ratio",
    "test_accuracy",
    "test_loss",
    "log_evidence_ratio_per_example",
    "best_prior_precision",
    "train_loss",
    "train_accuracy",
    "weight_norm",
    "top_eigenvalue",
    "trace",
    "effective_parameters",
    "effective_parameters_error",
    "gradient_norm",
    "converged",
    "log_permutations",
)
_SPECTRUM_FROM = 7  # values of λ at one point from which the eigenvalues cost less than a factorization for each


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
        `effective_parameters` of the GGN (λ not included), the latter with the standard error of its estimate;
        `best_prior_precision`: the λ of the grid with the largest evidence, of its point and centre. A network whose weights
        or kernel are not finite has NaN in place of numbers, and `converged` False.

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
                    found.append({"prior_precision": l2} | weighed | measured | _summary(point, weighed, len(x), classes))
            except np.linalg.LinAlgError:
                found = [{"prior_precision": l2, "converged": False} for l2 in l2_values]
            ratios = [float(row.get("log_evidence_ratio", math.inf)) for row in found]
            best = min(ratios)
            common = {"point": name, "prior_centre": centre_name, "log_permutations": permutations}
            rows += [
                common | row | {"best_prior_precision": ratio == best < math.inf}
                for row, ratio in zip(found, ratios, strict=True)
            ]
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
            yield l2, point, {"occam_penalty": 0.5 * log_determinant(spectrum, l2)} | gamma | common


def _of_factor(factorized: Factor) -> dict[str, object]:
    gamma, error = factorized.effective_parameters()
    return {
        "occam_penalty": 0.5 * factorized.log_determinant,
        "effective_parameters": gamma,
        "effective_parameters_error": error,
    }


def _of_network(point: Point) -> dict[str, object]:
    factor = softmax_factor(point.logits)
    top = float(point.at.top_eigenvalues(factor, tolerance=1e-4)[0])
    return {"top_eigenvalue": top, "trace": point.at.trace(factor)}


def _summary(point: Point, weighed: dict[str, object], n: int, classes: int) -> dict[str, object]:
    occam = weighed["occam_penalty"]
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
