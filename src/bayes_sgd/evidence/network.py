"""The evidence of one trained network at three points, which are reported side by side and never mixed.

Takes layers, data and values of λ; gives a table with a row for each point and λ. SGD does not stop at a minimum of
C = H + λ‖w − c‖²/2, and Laplace's approximation needs one. So, for each λ:

    sgd         at the weights as SGD left them: C there, and the Occam penalty of the GGN there;
    linearized  the model that is linear in its weights, f + J(w − w_SGD), at the minimum of its own, convex cost
                (Immer, Korzepa, Bauer 2021);
    minimum     at the minimum of the network's C that L-BFGS reaches from w_SGD.

E = C + ½ ln det(I + GGN/λ) − N ln n in nats, as in section 2 of the paper, with the generalized Gauss-Newton matrix for ∇∇H.
The paper computes no evidence of a network. ln H! for the permutations of hidden units has a column of its own: it is the same
at every point, and E does not contain it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bayes_sgd.core.schema import NETWORK_EVIDENCE
from bayes_sgd.curvature.cholesky import CholeskyFactor, effective_parameters, eigenvalues, log_determinant
from bayes_sgd.curvature.ggn import softmax_factor
from bayes_sgd.data.memory import SPECTRUM_FROM, Kernel, evidence_matrices
from bayes_sgd.evidence.laplace import log_evidence_ratio
from bayes_sgd.evidence.modes import ExpansionPoint, LaplaceProblem, LinearizedModel, ModeSearch, minimum_point, sgd_point
from bayes_sgd.evidence.new_images import NewImages
from bayes_sgd.experiment.cell import NETWORK_FIELDS
from bayes_sgd.training.measurement import loss_and_accuracy

POINTS = ("sgd", "linearized", "minimum")
PRIOR_CENTRES = ("zero", "initial")
COLUMNS = NETWORK_EVIDENCE.without(*NETWORK_FIELDS, "noise_scale", "seed", "weights", "main_series")


def network_evidence(
    layers: Sequence[Tensor],
    initial_layers: Sequence[Tensor],
    train_inputs: Tensor,
    train_labels: Tensor,
    test_inputs: Tensor,
    test_labels: Tensor,
    classes: int,
    prior_precisions: Sequence[float],
    points: Sequence[str] = POINTS,
    prior_centres: Sequence[str] = ("zero",),
    search: ModeSearch | None = None,
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
        prior_precisions: λ > 0, the precisions of the prior (of the sum cost).
        points: of `POINTS`.
        prior_centres: of `PRIOR_CENTRES`: where the prior N(c, I/λ) is centred.
        search: when the searches end.

    Returns:
        Losses in nats per example; `gradient_norm` in units of λ‖w − c‖; `weight_norm` ‖w − c‖; `top_eigenvalue`, `trace` and
        `effective_parameters` of the GGN (λ not included), the latter with the standard error of its estimate;
        `best_prior_precision`: the λ of the grid with the largest evidence, of its point and centre. A network whose weights
        or kernel are not finite has NaN in place of numbers, and `converged` False.

    Raises:
        UserError: memory does not suffice; nothing is computed then.
    """
    device = train_inputs.device
    weights, initial = ([w.to(device, torch.float64) for w in network] for network in (layers, initial_layers))
    x, x_test = train_inputs.double(), test_inputs.double()
    search = search or ModeSearch()
    permutations = sum(math.lgamma(layer.shape[1] + 1) for layer in weights[:-1])
    finite = all(bool(torch.isfinite(layer).all()) for layer in weights)
    kernel = Kernel(len(x), classes - 1, evidence_matrices(points, prior_precisions))
    workspace = _workspace(kernel, x) if finite else x.new_empty(0)
    rows: list[dict[str, Any]] = []
    for centre_name in prior_centres:
        centre = [torch.zeros_like(w) for w in weights] if centre_name == "zero" else initial
        problem = LaplaceProblem(weights, centre, x, train_labels, classes) if finite else None
        images = NewImages(problem, x_test) if problem else None
        for name in points:
            common = {"point": name, "prior_centre": centre_name, "log_permutations": permutations}
            for row in _rows_at(images, name, prior_precisions, search, workspace, test_labels):
                rows.append(common | row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows_at(
    images: NewImages | None,
    name: str,
    prior_precisions: Sequence[float],
    search: ModeSearch,
    workspace: Tensor,
    test_labels: Tensor,
) -> list[dict[str, Any]]:
    """The rows of one point, a row for each λ; without numbers where the weights or the kernel are not finite."""
    without_numbers = [{"prior_precision": l2, "converged": False, "best_prior_precision": False} for l2 in prior_precisions]
    if images is None:
        return without_numbers
    problem = images.problem
    try:
        rows: list[dict[str, Any]] = [
            {"prior_precision": l2}
            | kernel
            | _losses(name, point, images, test_labels)
            | _summary(point, kernel, len(problem.labels), problem.classes)
            for l2, point, kernel in _expansions(problem, name, prior_precisions, search, workspace)
        ]
    except np.linalg.LinAlgError:
        return without_numbers
    best = min(float(row["log_evidence_ratio"]) for row in rows)
    return [row | {"best_prior_precision": row["log_evidence_ratio"] == best < math.inf} for row in rows]


def _workspace(kernel: Kernel, like: Tensor) -> Tensor:
    kernel.check_device(like.device)
    return like.new_empty(kernel.rows, kernel.rows)


def _expansions(
    problem: LaplaceProblem, name: str, prior_precisions: Sequence[float], search: ModeSearch, workspace: Tensor
) -> Iterator[tuple[float, ExpansionPoint, dict[str, object]]]:
    """(λ, point, columns from the kernel there) for each λ, in an order in which each search starts from the last one's end."""
    if name == "sgd":
        yield from _expansions_at_sgd(problem, prior_precisions, workspace)
    elif name == "linearized":
        model, start = LinearizedModel(problem, workspace), None
        for l2 in sorted(prior_precisions, reverse=True):
            point, factorized = model.minimum(l2, start, search)
            start = point.deviation
            yield l2, point, _of_factor(factorized) | _of_network(point)
    else:
        start = problem.start
        for l2 in sorted(prior_precisions):
            point = minimum_point(problem, l2, start, search)
            start = point.deviation
            kernel = point.network.kernel(softmax_factor(point.logits), out=workspace)
            yield l2, point, _of_factor(CholeskyFactor(kernel, l2)) | _of_network(point)


def _expansions_at_sgd(
    problem: LaplaceProblem, prior_precisions: Sequence[float], workspace: Tensor
) -> Iterator[tuple[float, ExpansionPoint, dict[str, object]]]:
    factor = softmax_factor(problem.sgd.logits)
    common, spectrum = None, None
    if len(prior_precisions) >= SPECTRUM_FROM:
        spectrum = eigenvalues(problem.sgd.kernel(factor, out=workspace))
    for l2 in sorted(prior_precisions):
        point = sgd_point(problem, l2)
        common = common or _of_network(point)
        if spectrum is None:
            yield l2, point, _of_factor(CholeskyFactor(problem.sgd.kernel(factor, out=workspace), l2)) | common
        else:
            gamma = {"effective_parameters": effective_parameters(spectrum, l2), "effective_parameters_error": 0.0}
            yield l2, point, {"occam_penalty": 0.5 * log_determinant(spectrum, l2)} | gamma | common


def _of_factor(factorized: CholeskyFactor) -> dict[str, object]:
    gamma, error = factorized.effective_parameters()
    return {
        "occam_penalty": 0.5 * factorized.log_determinant,
        "effective_parameters": gamma,
        "effective_parameters_error": error,
    }


def _of_network(point: ExpansionPoint) -> dict[str, object]:
    factor = softmax_factor(point.logits)
    top = float(point.network.top_eigenvalues(factor, tolerance=1e-4)[0])
    return {"top_eigenvalue": top, "trace": point.network.trace(factor)}


def _summary(point: ExpansionPoint, kernel: dict[str, object], n: int, classes: int) -> dict[str, object]:
    occam = kernel["occam_penalty"]
    assert isinstance(occam, float)
    ratio = log_evidence_ratio(point.cost, occam, n, classes)
    return {
        "cost": point.cost,
        "log_evidence_ratio": ratio,
        "log_evidence_ratio_per_example": ratio / n,
        "gradient_norm": point.gradient_norm,
        "converged": point.converged,
    }


def _losses(name: str, point: ExpansionPoint, images: NewImages, labels: Tensor) -> dict[str, object]:
    """Losses and accuracies at a point, and its distance from the prior's centre."""
    train_loss, train_accuracy = loss_and_accuracy(point.logits, images.problem.labels)
    norm = float(point.deviation.norm())
    if name == "sgd":
        logits, norm = images.sgd.logits, images.problem.full_norm
    else:
        logits = images.linearized(point.deviation) if name == "linearized" else images.network(point.deviation)
    test_loss, test_accuracy = loss_and_accuracy(logits, labels)
    return {
        "train_loss": train_loss,
        "train_accuracy": train_accuracy,
        "test_loss": test_loss,
        "test_accuracy": test_accuracy,
        "weight_norm": norm,
    }
