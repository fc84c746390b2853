"""The figures of evidence, curvature and of Laplace against sampling, on synthetic tables shaped like measured ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from figure_checks import axes, inside, render, words

from bayes_sgd.claims.measures.base import Measured, Tables
from bayes_sgd.claims.measures.evidence import evidence_optimum_distance, evidence_rank, evidence_sign
from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.experiment.evidence_plan import KIND
from bayes_sgd.figures import common as figure_parts
from bayes_sgd.figures import evidence as figures_evidence
from bayes_sgd.figures import fig5_to_fig7_batch_size as figures
from bayes_sgd.figures import laplace as figures_laplace

SIZES = (8, 11, 16, 23, 32, 64, 128, 256, 500)
L2 = (0.01, 0.1, 1.0, 10.0)


def evidence_table(seeds: int = 5, points: tuple[str, ...] = ("sgd", "linearized", "minimum")) -> pd.DataFrame:
    """Nine batch sizes at N = 500, and fewer networks of other kinds; E rises with B at the SGD point alone."""
    rng = np.random.default_rng(6)
    rows = []
    kinds = [(500, "200", SIZES, ("real", "random")), (1000, "200", (11, 32), ("real",)), (500, "200x200", (16,), ("real",))]
    offset = rng.normal(0, 0.05, seeds)
    for n, hidden, sizes, several in kinds:
        for labels in several:
            for b in sizes:
                for seed in range(seeds):
                    for point in points:
                        found = []
                        for l2 in L2:
                            away = np.log10(l2 / 0.3) ** 2
                            base = {"sgd": -2.1 + 0.03 * np.log(b / 8), "linearized": -1.2, "minimum": -1.55}[point]
                            ratio = base + 2.8 * (labels == "random") * (point != "sgd") + 0.3 * away + offset[seed]
                            ratio += rng.normal(0, 0.01)
                            cost, occam = n * (ratio + np.log(10)) * 0.6, n * (ratio + np.log(10)) * 0.4
                            accuracy = 0.87 - 0.005 * np.log(b / 16) ** 2 if labels == "real" else 0.1
                            found.append(
                                {
                                    "labels": labels, "batch_size": b, "learning_rate": 0.1, "seed": seed, "point": point,
                                    "prior_centre": "zero", "prior_precision": l2, "cost": cost, "occam_penalty": occam,
                                    "log_evidence_ratio": ratio * n, "test_accuracy": accuracy + offset[seed] / 20,
                                    "test_loss": (0.5 + 0.05 * away) if labels == "real" else 3 + 0.4 * (2 - np.log10(l2)),
                                    "n_train": n, "hidden_sizes": hidden, "updates": 4000, "weight_norm": 20.0,
                                    "train_loss": 0.01, "train_accuracy": 1.0, "top_eigenvalue": 300 * b**0.3,
                                    "trace": 900 * b**0.4 * (1 + 0.05 * seed), "effective_parameters": 200 / l2**0.1,
                                    "log_permutations": 863.2, "log_evidence_ratio_per_example": ratio,
                                }
                            )  # fmt: skip
                        best = int(np.argmin([row["log_evidence_ratio"] for row in found]))
                        rows += [row | {"best_prior_precision": k == best} for k, row in enumerate(found)]
    return pd.DataFrame(rows)


def laplace_error_table() -> pd.DataFrame:
    rows = []
    for labels in ("real", "random"):
        for l2 in (0.001, 0.01, 0.1, 1.0, 10.0, 100.0):
            sampled = -20 * np.exp(-(np.log10(l2) ** 2)) if labels == "real" else 10 / (1 + l2)
            rows.append(("linear", "minimum", l2, labels, sampled + 0.3, sampled, 0.1, 0.0))
        for l2 in (1.0, 3.0, 10.0, 30.0):
            sampled = (-60 if labels == "real" else 5) + 3 * np.log(l2)
            for point, off in (("sgd", 40.0), ("linearized", 12.0), ("minimum", 5.5)):
                rows.append(("network", point, l2, labels, sampled + off, sampled, 0.5, float(np.log(120))))
    names = [
        "model",
        "point",
        "prior_precision",
        "labels",
        "log_evidence_ratio",
        "log_evidence_ratio_ais",
        "log_evidence_ratio_ais_error",
        "log_permutations",
    ]
    return pd.DataFrame(rows, columns=names).assign(seed=0, n_train=40)


def simulated_table() -> pd.DataFrame:
    """The same with labels drawn from the model, sampled from both ends."""
    table = laplace_error_table()
    own = table[(table["model"] == "linear") & (table["labels"] == "real")].assign(labels="simulated")
    seeds = [
        own.assign(seed=seed, log_evidence_ratio_reverse_ais=own["log_evidence_ratio_ais"] - 0.2 * (1 + seed))
        for seed in (0, 1)
    ]
    return pd.concat([table, *seeds], ignore_index=True)


def spectra_table() -> pd.DataFrame:
    """Two hundred eigenvalues that fall as a power of their rank, the last ones below what float64 resolves."""
    rank = np.arange(1, 201)
    parts = []
    for labels in ("real", "random"):
        for b in (16, 64, 500):
            falling = np.where(rank > 190, 0.0, b * rank**-1.5)
            matrices = {"gauss_newton": (rank, falling), "hessian": ([1, 2, 3, -1], [1.1 * b, 0.4 * b, 0.2 * b, -0.1 * b])}
            for matrix, (index, values) in matrices.items():
                own = pd.DataFrame({"labels": labels, "batch_size": b, "matrix": matrix, "index": index, "eigenvalue": values})
                parts.append(own)
    kind = {"n_train": 50, "hidden_sizes": "200", "learning_rate": 0.1, "updates": 4000, "seed": 0, "train_accuracy": 1.0}
    return pd.concat(parts, ignore_index=True).assign(**kind)


DRAWN: dict[str, Callable[[], figures.Drawn]] = {
    "evidence": lambda: figures_evidence.evidence(evidence_table()),
    "evidence_l2": lambda: figures_evidence.evidence_l2(evidence_table()),
    "sharpness": lambda: figures_evidence.sharpness(evidence_table()),
    "spectra": lambda: figures_evidence.spectra(spectra_table()),
    "laplace": lambda: figures_laplace.laplace(laplace_error_table()),
    "laplace_simulated": lambda: figures_laplace.laplace(simulated_table()),
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, figures.Drawn]:
    return {name: draw() for name, draw in DRAWN.items()}


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_lies_outside_and_every_panel_says_what_it_shows(name: str, drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn[name]
    assert inside(figure)
    assert any(ax.get_xlabel() for ax in figure.axes)
    assert {"panel", "quantity", "value", "ci_low", "ci_high", "interval"} <= set(data.columns)
    assert np.isfinite(data["value"]).all()


def test_drawn_again_it_has_equal_bytes(tmp_path: Path) -> None:
    for folder in ("once", "again"):
        figure_parts.save(*DRAWN["evidence"](), tmp_path / folder / "evidence")
    for kind in ("png", "svg", "csv"):
        assert (tmp_path / "once" / f"evidence.{kind}").read_bytes() == (tmp_path / "again" / f"evidence.{kind}").read_bytes()


def test_paired_intervals_leave_out_what_a_seed_shares() -> None:
    shared, own = np.array([0.0, 5.0, 10.0, 15.0]), np.array([[0.1, -0.1, 0.0, 0.2], [0.0, 0.1, -0.2, 0.1]])
    values = shared + own + np.array([[1.0], [2.0]])
    rows = pd.DataFrame([{"batch_size": 8 * 4**k, "seed": s, "e": values[k, s]} for k in (0, 1) for s in range(4)])
    table = figures_evidence.paired(rows, "e")
    np.testing.assert_allclose(table["value"], values.mean(1))
    # with two batch sizes it is the paired t-interval of the difference, shared between the two
    difference = values[1] - values[0]
    half = 3.182446305284263 * difference.std(ddof=1) / 2 / np.sqrt(2)
    np.testing.assert_allclose(table["ci_high"] - table["value"], half)
    holes = pd.concat(
        [rows[(rows["seed"] != 3) | (rows["batch_size"] == 8)], pd.DataFrame([{"batch_size": 99, "seed": 0, "e": 1.0}])]
    )
    table = figures_evidence.paired(holes, "e")
    assert table["batch_size"].tolist() == [8, 32]
    assert set(table["seeds"]) == {3}
    assert figures_evidence.paired(rows[rows["seed"] == 0], "e")[["ci_low", "ci_high"]].isna().all(axis=None)


def shown_and_judged(table: pd.DataFrame) -> tuple[str, pd.DataFrame, list[Measured]]:
    """The title of the figure, its data, and what claims measure at the same networks."""
    figure, data = figures_evidence.evidence(table)
    tables = Tables({"network_evidence": table}, n_replicates=100)
    judged = [evidence_rank(tables, "sgd"), evidence_optimum_distance(tables, "sgd"), evidence_sign(tables, "sgd", "real")]
    return words(figure), data, judged


def few(table: pd.DataFrame, seeds: int) -> pd.DataFrame:
    """True labels, five batch sizes, one kind: 5 networks for each seed."""
    own = (
        (table["n_train"] == 500) & (table["hidden_sizes"] == "200") & (table["labels"] == "real") & (table["batch_size"] < 33)
    )
    return table[own & (table["seed"] < seeds)]


def test_figure_and_claims_choose_the_same_networks() -> None:
    table = evidence_table()
    larger = few(table, 3).assign(n_train=1000)
    # 30 of 50 networks have N = 1000, but 20 are alike and have N = 500
    mixed = pd.concat([larger, larger.assign(hidden_sizes="400"), few(table, 4)], ignore_index=True)
    title, data, judged = shown_and_judged(mixed)
    assert "N = 500, hidden layers 200" in title
    alone = shown_and_judged(few(table, 4).reset_index(drop=True))
    pd.testing.assert_frame_equal(data, alone[1])
    assert judged == alone[2]
    assert all("N = 500" in measured.detail for measured in judged)
    # the table's own mark decides
    marked = mixed.assign(main_series=(mixed["n_train"] == 1000) & (mixed["hidden_sizes"] == "400"))
    title, data, judged = shown_and_judged(marked)
    assert "N = 1000, hidden layers 400" in title
    assert set(data["seeds"]) == {measured.n for measured in judged} == {3}
    assert all("N = 1000" in measured.detail for measured in judged)


@pytest.mark.parametrize("field", [name for name in KIND if name != "n_train"])
def test_networks_that_differ_in_any_field_of_the_cell_are_of_two_kinds(field: str) -> None:
    cell = Cell("real", (200,), 500, 8, 0.1, 0.9, 0.0, 0.0, "independent", 4000).columns()
    table = evidence_table()
    table = table.assign(**{name: cell[name] for name in KIND if name not in table})
    value = {"hidden_sizes": "400", "sampling": "replacement", "updates": 100}.get(field, 0.01)
    mixed = pd.concat([few(table, 3).assign(**{field: value}), few(table, 4)], ignore_index=True)
    _, data, judged = shown_and_judged(mixed)
    expected = shown_and_judged(few(table, 4).reset_index(drop=True))
    pd.testing.assert_frame_equal(data, expected[1])
    assert judged == expected[2]


def test_evidence_is_that_at_the_best_lambda_of_the_commonest_networks(drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn["evidence"]
    table = evidence_table()
    own = table[(table["n_train"] == 500) & (table["hidden_sizes"] == "200") & table["best_prior_precision"]]
    shown = data[data["quantity"] == "log_evidence_ratio_per_example"]
    expected = own.groupby(["labels", "point", "batch_size"])["log_evidence_ratio_per_example"].mean()
    np.testing.assert_allclose(shown.set_index(["labels", "point", "batch_size"])["value"].sort_index(), expected)
    accuracy = data[(data["quantity"] == "test_accuracy") & (data["labels"] == "real")]
    expected = own[(own["labels"] == "real") & (own["point"] == "sgd")].groupby("batch_size")["test_accuracy"].mean()
    np.testing.assert_allclose(accuracy["value"], expected)
    panels = axes(figure)
    assert set(panels) == {f"{labels} {row}" for labels in ("real", "random") for row in ("top", "middle", "bottom")}
    assert panels["real bottom"].get_xscale() == "log"
    lines = panels["real top"].containers[0].lines[0]
    np.testing.assert_allclose(np.asarray(lines.get_ydata(), float), 100 * expected)
    text = words(figure)
    assert "N = 500, hidden layers 200, ε = 0.1, 4000 updates; prior centred at zero" in text
    assert "0: above it the null model is better" in text


def test_evidence_is_shown_with_its_bounds_and_with_what_was_not_reached() -> None:
    table = evidence_table()
    small = table["batch_size"] == 8
    table = table.assign(
        train_accuracy=table["train_accuracy"].where(~small, 0.7),
        test_accuracy=table["test_accuracy"].where(~small, 0.5),
        converged=(table["point"] != "minimum") | (table["batch_size"] > 20),
    )
    figure, data = figures_evidence.evidence(table)
    less = data[data["quantity"] == figures_evidence.ONE_ORDER].set_index(["labels", "batch_size"])["value"]
    end = data[(data["quantity"] == "log_evidence_ratio_per_example") & (data["point"] == "minimum")]
    np.testing.assert_allclose(less, end.set_index(["labels", "batch_size"])["value"] - 863.2 / 500)
    assert set(data.loc[data["cut_short"], "batch_size"]) == {8, 11, 16}
    panels = axes(figure)
    bound = next(line for line in panels["real middle"].lines if "no evidence is lower" in str(line.get_label()))
    assert np.asarray(bound.get_ydata())[0] == pytest.approx(-np.log(10))
    low, high = panels["real top"].get_ylim()
    assert 80 < low < high < 95, "networks that do not fit their training set do not set the scale"
    assert {"most descents were cut short", "below the scale"} <= set(words(figure).splitlines())


def test_bars_are_drawn_where_the_scale_is_free(drawn: dict[str, figures.Drawn]) -> None:
    ax = axes(drawn["evidence"][0])["real middle"]
    for container in ax.containers:
        (segments,) = [bar.get_segments() for bar in container.lines[2]]
        assert all(segment[1, 1] > segment[0, 1] for segment in segments)


def test_evidence_against_lambda_is_at_a_middle_batch_size(drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn["evidence_l2"]
    table = evidence_table()
    own = table[(table["n_train"] == 500) & (table["hidden_sizes"] == "200") & (table["batch_size"] == 32)]
    for (labels, point, l2, quantity), rows in data.groupby(["labels", "point", "prior_precision", "quantity"]):
        chosen = (own["labels"] == labels) & (own["point"] == point) & (own["prior_precision"] == l2)
        assert rows["value"].item() == pytest.approx(own.loc[chosen, str(quantity)].mean())
    assert set(data["point"]) == {"linearized", "minimum"}
    assert data.groupby("panel")["labels"].unique().map(list).to_dict() == {"a": ["random"], "b": ["real"]}
    chance = next(line for line in axes(figure)["real top"].lines if line.get_label() == "chance")
    assert np.asarray(chance.get_ydata())[0] == pytest.approx(np.log(10))
    assert "B = 32" in words(figure)


def test_sharpness_is_the_geometric_mean(drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn["sharpness"]
    table = evidence_table()
    own = table[(table["n_train"] == 500) & (table["hidden_sizes"] == "200") & table["best_prior_precision"]]
    shown = data[data["quantity"] == "trace"].set_index(["labels", "point", "batch_size"])["value"].sort_index()
    expected = np.exp(np.log(own["trace"]).groupby([own["labels"], own["point"], own["batch_size"]]).mean())
    np.testing.assert_allclose(shown, expected)
    assert all(ax.get_xscale() == ax.get_yscale() == "log" for ax in figure.axes)


def test_laplace_stands_beside_what_was_sampled(drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn["laplace"]
    table = laplace_error_table()
    once = (
        table.drop_duplicates(["model", "labels", "prior_precision"])
        .set_index(["model", "labels", "prior_precision"])
        .sort_index()
    )
    shown = data[data["quantity"] == "log_evidence_ratio_ais"].set_index(["model", "labels", "prior_precision"]).sort_index()
    np.testing.assert_allclose(shown["value"], once["log_evidence_ratio_ais"])
    np.testing.assert_allclose(shown["ci_high"] - shown["value"], 1.96 * once["log_evidence_ratio_ais_error"])
    one = data[data["quantity"] == "one_mode"].set_index(["model", "labels", "prior_precision"]).sort_index()
    np.testing.assert_allclose(one["value"], once["log_evidence_ratio_ais"] + once["log_permutations"])
    assert set(axes(figure)) == {f"{model} {labels}" for model in ("linear", "network") for labels in ("real", "random")}


def test_labels_drawn_from_the_model_have_a_panel_with_what_backward_sampling_gives(drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn["laplace_simulated"]
    without, shown = drawn["laplace"][1], data[data["labels"] != "simulated"]
    pd.testing.assert_frame_equal(shown.reset_index(drop=True), without.reset_index(drop=True), check_dtype=False)
    backward = data[data["quantity"] == "log_evidence_ratio_reverse_ais"].set_index("prior_precision")["value"]
    table = laplace_error_table()
    forward = table[(table["model"] == "linear") & (table["labels"] == "real")].set_index("prior_precision")[
        "log_evidence_ratio_ais"
    ]
    np.testing.assert_allclose(backward, forward[backward.index] - 0.3)
    simulated = data[
        (data["labels"] == "simulated") & data["quantity"].isin(["log_evidence_ratio", "log_evidence_ratio_reverse_ais"])
    ]
    assert simulated[["ci_low", "ci_high"]].isna().all(axis=None), "labels drawn anew differ by more than the methods"
    assert set(axes(figure)) == {*axes(drawn["laplace"][0]), "linear simulated", "legend"}
    assert "from the posterior back" in words(figure)
    assert "from the posterior back" not in words(drawn["laplace"][0])


def test_spectra_are_drawn_against_rank_as_far_as_they_are_resolved(drawn: dict[str, figures.Drawn]) -> None:
    figure, data = drawn["spectra"]
    panels = axes(figure)
    assert set(panels) == {"a", "b"}
    table = spectra_table().set_index(["labels", "batch_size", "matrix", "index"])["eigenvalue"]
    shown = data.set_index(["labels", "batch_size", "matrix", "index"])["value"]
    np.testing.assert_array_equal(shown, table[shown.index])
    ggn = data[data["matrix"] == "gauss_newton"]
    assert ggn["index"].max() <= 190
    assert ggn.groupby(["labels", "batch_size"])["index"].min().tolist() == 6 * [1]
    for ax in panels.values():
        assert ax.get_xscale() == ax.get_yscale() == "log"
        assert [line.get_label() for line in ax.lines] == [
            f"{matrix}, B = {b}" for b in (16, 64, 500) for matrix in ("GGN", "Hessian")
        ]
        hollow = ax.lines[1]
        assert hollow.get_markerfacecolor() == "none"
        assert np.asarray(hollow.get_xdata()).tolist() == [1, 2, 3]
        assert "B = 16: -1.6 (training accuracy 100 %)" in ax.texts[0].get_text()


def test_one_seed_one_batch_size_one_point_and_failed_networks() -> None:
    table = evidence_table(seeds=1, points=("sgd",))
    for name in ("evidence", "sharpness"):
        render(getattr(figures_evidence, name)(table)[0])
    few = evidence_table(seeds=3)
    few = few[few["batch_size"] == 16]
    broken = evidence_table(seeds=3)
    lost = (broken["batch_size"] == 8) | ((broken["seed"] == 2) & (broken["batch_size"] == 11))
    broken.loc[lost, ["log_evidence_ratio", "log_evidence_ratio_per_example", "test_accuracy", "trace", "cost"]] = np.nan
    broken.loc[lost, "best_prior_precision"] = False
    for name, rows in (("evidence", few), ("evidence_l2", few[few["labels"] == "real"]), ("sharpness", broken)):
        render(getattr(figures_evidence, name)(rows)[0])
    for name, rows in (("evidence", broken), ("evidence_l2", broken), ("sharpness", few[few["labels"] == "real"])):
        getattr(figures_evidence, name)(rows)
    one = spectra_table().query("labels == 'random' and batch_size == 64 and index > 0")
    render(figures_evidence.spectra(one)[0])
    render(figures_laplace.laplace(laplace_error_table().query("model == 'linear' and labels == 'real'"))[0])


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda t: figures_evidence.evidence(t.drop(columns="best_prior_precision")),
            "Evidence of .*: the table has no column best_prior_precision",
        ),
        (lambda t: figures_evidence.evidence(t.assign(best_prior_precision=False)), "Evidence of .*: no row is marked"),
        (lambda t: figures_evidence.evidence(t.iloc[:0]), "Evidence of .*: the table has no rows with real or random"),
        (lambda t: figures_evidence.evidence(pd.concat([t, t])), "two networks of one kind with equal batch_size and seed"),
        (lambda t: figures_evidence.evidence_l2(t[t["point"] == "sgd"]), "Evidence and .*: the table has no rows at a minimum"),
        (lambda t: figures_evidence.sharpness(t.drop(columns="trace")), "Curvature .*: the table has no column trace"),
        (lambda t: figures_evidence.spectra(t), "Eigenvalues .*: the table has no column matrix"),
        (lambda t: figures_evidence.spectra(spectra_table().iloc[:0]), "Eigenvalues .*: the table has no rows"),
        (
            lambda t: figures_evidence.spectra(pd.concat([spectra_table(), spectra_table().assign(seed=1)])),
            "Eigenvalues .*: the table has networks of several kinds or seeds",
        ),
        (lambda t: figures_laplace.laplace(t), "Laplace's .*: the table has no column model"),
        (lambda t: figures_laplace.laplace(laplace_error_table().iloc[:0]), "Laplace's .*: the table has no rows"),
        (
            lambda t: figures_laplace.laplace(simulated_table().drop(columns="log_evidence_ratio_reverse_ais")),
            "Laplace's .* no column log_evidence_ratio_reverse_ais",
        ),
    ],
)
def test_bad_tables_are_named_in_one_line(draw: Callable[[pd.DataFrame], figures.Drawn], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        draw(evidence_table(seeds=1))
    assert "\n" not in str(caught.value)
