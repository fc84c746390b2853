"""The three points of a network's evidence against dense witnesses, closed forms and each other."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from bayes_sgd.evidence.laplace import log_evidence_ratio
from bayes_sgd.evidence.logistic import fit_map
from bayes_sgd.evidence.network import (
    COLUMNS,
    LaplaceProblem,
    LinearizedModel,
    ModeSearch,
    minimum_point,
    network_evidence,
)
from bayes_sgd.training.mlp import forward, initial_weights, with_ones

N, D, CLASSES = 30, 9, 3
L2 = [0.1, 1.0]
Case = dict[str, object]


def case(hidden: tuple[int, ...] = (7,), n: int = N, classes: int = CLASSES, seed: int = 0) -> dict:
    """A network a few steps of gradient descent from its start; one input is dark in training and lit in the test set."""
    random = torch.Generator().manual_seed(seed)
    centres = 1.5 * torch.randn(classes, D, generator=random, dtype=torch.float64)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.randint(classes, (count,), generator=random)
        return centres[labels] + torch.randn(count, D, generator=random, dtype=torch.float64), labels

    (x, labels), (x_test, test_labels) = draw(n), draw(40)
    x[:, 4] = 0
    initial = initial_weights(D, hidden, classes, "torch", seed)
    layers = [layer.clone().requires_grad_() for layer in initial]
    for _ in range(60):
        logits = with_ones(x)
        for layer in layers[:-1]:
            logits = with_ones((logits @ layer).relu())
        loss = torch.nn.functional.cross_entropy(logits @ layers[-1], labels)
        for layer, grad in zip(layers, torch.autograd.grad(loss, layers), strict=True):
            layer.data -= 0.3 * grad
    return {
        "layers": [layer.detach() for layer in layers],
        "initial_layers": initial,
        "train_inputs": with_ones(x),
        "train_labels": labels,
        "test_inputs": with_ones(x_test),
        "test_labels": test_labels,
        "classes": classes,
    }


def flat(layers: list[Tensor]) -> Tensor:
    return torch.cat([layer.reshape(-1) for layer in layers])


def dense(given: dict, layers: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Logits (n, C) and J (n, C, P) by autograd."""
    inputs = given["train_inputs"]
    parts = torch.autograd.functional.jacobian(lambda *w: forward(w, inputs)[0], tuple(layers))
    return forward(layers, inputs)[0], torch.cat([part.flatten(2) for part in parts], 2)


def occam(j: Tensor, logits: Tensor, l2: float) -> float:
    p = torch.softmax(logits, 1)
    ggn = torch.einsum("icp,icd,idq->pq", j, torch.diag_embed(p) - p[:, :, None] * p[:, None, :], j)
    return 0.5 * float(torch.linalg.slogdet(torch.eye(len(ggn), dtype=torch.float64) + ggn / l2)[1])


def dense_newton(given: dict, centre: Tensor, l2: float) -> tuple[Tensor, float, float]:
    """The linearized model's mode w − c, its C and its Occam term, in all weights."""
    f, j = dense(given, given["layers"])
    mean = f - j @ (flat(given["layers"]) - centre)
    labels, u = given["train_labels"], torch.zeros(j.shape[2], dtype=torch.float64)
    target = torch.nn.functional.one_hot(labels, given["classes"]).double()
    for _ in range(100):
        logits = mean + j @ u
        p = torch.softmax(logits, 1)
        gradient = torch.einsum("icp,ic->p", j, p - target) + l2 * u
        ggn = torch.einsum("icp,icd,idq->pq", j, torch.diag_embed(p) - p[:, :, None] * p[:, None, :], j)
        step = torch.linalg.solve(ggn + l2 * torch.eye(len(u), dtype=torch.float64), gradient)

        def cost(v: Tensor) -> float:
            loss = torch.nn.functional.cross_entropy(mean + j @ v, labels, reduction="sum")
            return float(loss) + 0.5 * l2 * float(v @ v)

        size = 1.0
        while size > 1e-9 and cost(u - size * step) > cost(u):
            size /= 2
        u = u - size * step
        if float(gradient.norm()) < 1e-11:
            break
    return u, cost(u), occam(j, mean + j @ u, l2)


@pytest.mark.parametrize("hidden", [(7,), (7, 6), (7, 6, 5)])
@pytest.mark.parametrize("centre", ["zero", "initial"])
def test_sgd_is_the_cost_and_the_occam_factor_where_sgd_stopped(hidden: tuple[int, ...], centre: str) -> None:
    given = case(hidden)
    table = network_evidence(**given, prior_precisions=L2, points=["sgd"], prior_centres=[centre])
    middle = flat(given["initial_layers"]) if centre == "initial" else 0.0
    deviation = flat(given["layers"]) - middle
    f, j = dense(given, given["layers"])
    loss = float(torch.nn.functional.cross_entropy(f, given["train_labels"], reduction="sum"))
    test_logits = forward(given["layers"], given["test_inputs"])[0]
    for row in table.itertuples():
        assert row.cost == pytest.approx(loss + 0.5 * row.prior_precision * float(deviation @ deviation), rel=1e-10)
        assert row.occam_penalty == pytest.approx(occam(j, f, row.prior_precision), rel=1e-8)
        assert row.log_evidence_ratio == pytest.approx(log_evidence_ratio(row.cost, row.occam_penalty, N, CLASSES))
        assert row.weight_norm == pytest.approx(float(deviation.norm()), rel=1e-10)
        assert row.test_accuracy == float((test_logits.argmax(1) == given["test_labels"]).double().mean())
        gradient = torch.einsum("icp,ic->p", j, torch.softmax(f, 1) - torch.eye(CLASSES)[given["train_labels"]])
        expected = float((gradient + row.prior_precision * deviation).norm() / (row.prior_precision * deviation.norm()))
        assert row.gradient_norm == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("hidden", [(7,), (7, 6)])
@pytest.mark.parametrize("centre", ["zero", "initial"])
def test_the_linearized_mode_is_that_of_a_dense_newton_solve(hidden: tuple[int, ...], centre: str) -> None:
    given = case(hidden)
    table = network_evidence(**given, prior_precisions=L2, points=["linearized"], prior_centres=[centre])
    middle = flat(given["initial_layers"]) * (centre == "initial")
    assert table["converged"].all()
    for row in table.itertuples():
        u, cost, occam_term = dense_newton(given, middle, row.prior_precision)
        assert row.cost == pytest.approx(cost, rel=1e-8)
        assert row.occam_penalty == pytest.approx(occam_term, rel=1e-3)
        assert row.weight_norm == pytest.approx(float(u.norm()), rel=1e-4)
        test = dict(given, train_inputs=given["test_inputs"])
        f, j = dense(test, given["layers"])
        logits = f + j @ (u + middle - flat(given["layers"]))
        loss = float(torch.nn.functional.cross_entropy(logits, given["test_labels"]))
        assert row.test_loss == pytest.approx(loss, rel=1e-4), "dark pixels go back to the prior's centre"


def test_the_mode_of_the_linearized_model_can_be_found_to_the_last_digits() -> None:
    given = case((7, 6))
    zero = [torch.zeros_like(w) for w in given["layers"]]
    problem = LaplaceProblem(given["layers"], zero, given["train_inputs"], given["train_labels"], CLASSES)
    size = N * (CLASSES - 1)
    model = LinearizedModel(problem, torch.empty(size, size, dtype=torch.float64))
    point, factorized = model.minimum(0.1, None, ModeSearch(tolerance=1e-11))
    u, cost, occam_term = dense_newton(given, torch.zeros(len(flat(zero)), dtype=torch.float64), 0.1)
    assert point.converged
    assert point.cost == pytest.approx(cost, rel=1e-12)
    assert 0.5 * factorized.log_determinant == pytest.approx(occam_term, rel=1e-9)
    torch.testing.assert_close(flat(problem.lifted(point.deviation)), u, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("single_first", [True, False])
def test_the_minimum_of_a_smooth_cost_has_a_small_gradient(single_first: bool) -> None:
    given = case(())
    zero = [torch.zeros_like(w) for w in given["layers"]]
    problem = LaplaceProblem(given["layers"], zero, given["train_inputs"], given["train_labels"], CLASSES)
    # the line search compares costs, which tells gradients down to about the root of float64's precision, 1e-8
    search = ModeSearch(tolerance=1e-6, iterations=300, window=300, stall=0.0, single_first=single_first)
    point = minimum_point(problem, 0.1, problem.start, search)
    assert point.converged
    assert point.gradient_norm < 2e-6
    _, cost, _ = dense_newton(given, torch.zeros(len(flat(zero)), dtype=torch.float64), 0.1)
    assert point.cost == pytest.approx(cost, rel=1e-10)


def test_without_hidden_units_the_minimum_and_the_linearized_mode_agree() -> None:
    given = case(())
    table = network_evidence(
        **given, prior_precisions=L2, points=["linearized", "minimum"], search=ModeSearch(window=200, stall=0.0)
    )
    linearized, minimum = (
        table[table["point"] == name].set_index("prior_precision").sort_index() for name in ("linearized", "minimum")
    )
    for column in ("cost", "occam_penalty", "log_evidence_ratio", "test_loss", "weight_norm", "top_eigenvalue", "trace"):
        np.testing.assert_allclose(linearized[column], minimum[column], rtol=2e-4)
    assert (minimum["log_permutations"] == 0).all()


def test_two_classes_without_hidden_units_are_the_logistic_regression_of_section_3() -> None:
    given = case((), classes=2)
    # two logits ±f/2 with the precision 2λ give f the prior N(0, 1/λ)
    row = network_evidence(**given, prior_precisions=[2 * 0.3], points=["linearized"], search=ModeSearch(tolerance=1e-9)).iloc[
        0
    ]
    fit = fit_map(given["train_inputs"][:, :-1].numpy(), given["train_labels"].numpy(), 0.3)
    assert row["cost"] == pytest.approx(fit.cost, rel=1e-9)
    assert row["occam_penalty"] == pytest.approx(fit.occam_penalty, rel=1e-7)


def test_the_minimum_of_a_network_lies_below_where_sgd_stopped() -> None:
    given = case((7, 6))
    table = network_evidence(**given, prior_precisions=L2, points=["sgd", "minimum"])
    cost = table.pivot_table(index="prior_precision", columns="point", values="cost")
    assert (cost["minimum"] < cost["sgd"]).all()
    norms = table.pivot_table(index="prior_precision", columns="point", values="gradient_norm")
    assert (norms["minimum"] < 0.3 * norms["sgd"]).all()


def test_many_values_of_l2_by_the_spectrum_equal_few_by_factorizations() -> None:
    given = case((7, 6))
    grid = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
    many = network_evidence(**given, prior_precisions=grid, points=["sgd"])
    few = pd.concat([network_evidence(**given, prior_precisions=[l2], points=["sgd"]) for l2 in grid], ignore_index=True)
    same = [c for c in COLUMNS if c not in ("effective_parameters", "effective_parameters_error", "best_prior_precision")]
    pd.testing.assert_frame_equal(many[same], few[same], rtol=1e-8)
    far = (many["effective_parameters"] - few["effective_parameters"]).abs() / few["effective_parameters_error"]
    assert (far < 4).all()


def test_the_table_has_its_columns_and_one_best_l2_for_each_point() -> None:
    given = case()
    table = network_evidence(**given, prior_precisions=L2, prior_centres=["zero", "initial"])
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 2 * 3 * len(L2)
    assert np.isfinite(table.drop(columns=["point", "prior_centre"]).to_numpy(dtype=float)).all()
    for _, rows in table.groupby(["prior_centre", "point"]):
        assert rows["best_prior_precision"].sum() == 1
        assert rows.loc[rows["best_prior_precision"], "log_evidence_ratio"].item() == rows["log_evidence_ratio"].min()
    assert table["log_permutations"].to_numpy() == pytest.approx(math.log(math.factorial(7)))
    np.testing.assert_allclose(table["log_evidence_ratio_per_example"], table["log_evidence_ratio"] / N)


def test_equal_calls_give_equal_tables() -> None:
    given = case()
    first, second = (network_evidence(**given, prior_precisions=L2) for _ in range(2))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_a_network_that_diverged_has_rows_without_numbers() -> None:
    given = case()
    given["layers"] = [layer * math.nan for layer in given["layers"]]
    table = network_evidence(**given, prior_precisions=L2)
    assert len(table) == 6
    assert table["log_evidence_ratio"].isna().all()
    assert not table["converged"].any()
    assert not table["best_prior_precision"].any()


def test_float32_weights_and_inputs_are_welcome() -> None:
    given = case()
    small = {
        name: [w.float() for w in value] if isinstance(value, list) else value.float() if name.endswith("inputs") else value
        for name, value in given.items()
    }
    table, exact = (network_evidence(**which, prior_precisions=[1.0], points=["sgd"]) for which in (small, given))
    assert table["log_evidence_ratio"].item() == pytest.approx(exact["log_evidence_ratio"].item(), rel=1e-4)
