"""The collapse of whole curves: known exponents, exact invariances, coverage, and laws told apart by held-out seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic import GRID, broad, cliff, experiment

from bayes_sgd.analysis.collapse import collapse_exponent, law_table
from bayes_sgd.analysis.exponent import Optima, fit_optima
from bayes_sgd.analysis.intervals import seed_counts
from bayes_sgd.analysis.optimum import SweepRows
from bayes_sgd.core.schema import LAWS

REPLICATES = 300


def optima(of: SweepRows) -> Optima:
    (found,) = fit_optima({"x": of}, estimators=["quadratic"], treatments=["included"], n_replicates=REPLICATES)
    return found


def counts(o: Optima) -> np.ndarray:
    return seed_counts(len(o.curves[0].seeds), REPLICATES, 0)


@pytest.mark.parametrize("shape", [cliff, broad])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("axis", "values"), [
    ("learning_rate", (0.025, 0.05, 0.1, 0.2, 0.4)),
    ("momentum", (0.0, 0.5, 0.8, 0.9, 0.95)),
])  # fmt: skip
def test_known_exponents_are_recovered(axis: str, values: tuple[float, ...], exponent: float, shape: object) -> None:
    o = optima(experiment(axis, values=values, exponent=exponent, shape=shape, rng=3))
    interval, curves, ratio, p = collapse_exponent(o)
    assert interval.value == pytest.approx(exponent, abs=0.1)
    assert interval.low <= interval.value <= interval.high
    assert curves == 5
    assert ratio == pytest.approx(20 if axis == "momentum" else 16)
    assert (p > 0.001) == (exponent == 1.0)


@pytest.mark.parametrize("shape", [cliff, broad])
def test_interval_covers_the_exponent(shape: object) -> None:
    covered = 0
    for rng in range(40):
        o = optima(experiment(exponent=1.0, rng=rng, shape=shape))
        interval, *_ = collapse_exponent(o)
        covered += interval.low <= 1.0 <= interval.high
    assert covered >= 34, "40 runs of 95 % cover 34 or more in 99 of 100 cases"


def test_units_of_the_axis_do_not_matter() -> None:
    of = experiment(rng=5)
    scaled: SweepRows = {"axis": of["axis"], "rows": of["rows"].assign(learning_rate=of["rows"]["learning_rate"] * 7)}
    a, b = (collapse_exponent(o)[0] for o in (optima(of), optima(scaled)))
    assert a == pytest.approx(b, abs=1e-9)


@pytest.mark.parametrize(("exponent", "law"), [(1.0, "proportional"), (0.5, "square root"), (0.0, "constant")])
def test_held_out_seeds_prefer_the_law_that_made_them(exponent: float, law: str) -> None:
    of = experiment(exponent=exponent, rng=2)
    o = optima(of)
    table = pd.DataFrame(law_table(o, of["rows"], counts(o)), columns=list(LAWS.names)).set_index("law")
    assert table.loc[law, "excess_low"] <= 0.0, "no law beats the true one"
    for other in {"proportional", "square root", "constant"} - {law}:
        assert table.loc[other, "excess_low"] > 0.0
    assert table.loc["free exponent", "parameter"] == pytest.approx(exponent, abs=0.1)
    assert table["favoured"].sum() == 1
    assert table.loc[table["favoured"], "excess"].item() == 0.0


def test_an_edge_that_turns_into_the_noise_scale() -> None:
    sizes = np.array([500, 1000, 2000, 4000, 8000, 16000, 30000, 60000], dtype=float)
    tops = 10 * (1 + sizes / 8000)
    rows = pd.concat(
        [
            experiment("n_train", values=(size,), centre=top, exponent=0.0, grid=(*GRID, 724.0), rng=11 + i)["rows"]
            for i, (size, top) in enumerate(zip(sizes, tops, strict=True))
        ]
    )
    of: SweepRows = {"axis": "n_train", "rows": rows}
    o = optima(of)
    table = pd.DataFrame(law_table(o, rows, counts(o))).set_index("law")
    assert table.loc["edge, then proportional", "favoured"]
    assert table.loc["edge, then proportional", "parameter"] == pytest.approx(8000, rel=0.5)
    for law in ("proportional", "constant"):
        assert table.loc[law, "excess_low"] > 0.0


def test_too_few_curves_have_no_exponent() -> None:
    of = experiment(values=(0.1, 0.2))
    o = optima(of)
    interval, curves, ratio, p = collapse_exponent(o)
    assert np.isnan([interval.value, interval.low, interval.high, ratio, p]).all()
    assert curves == 0
    assert law_table(o, of["rows"], counts(o)) == []


def test_a_curve_that_is_too_short_counts_as_none() -> None:
    of = experiment(rng=4, shape=broad)
    last = of["rows"]["learning_rate"] == 0.4
    short: SweepRows = {"axis": "learning_rate", "rows": of["rows"][~last | (of["rows"]["batch_size"] <= 3)]}
    without: SweepRows = {"axis": "learning_rate", "rows": of["rows"][~last]}
    a, b = (collapse_exponent(o) for o in (optima(short), optima(without)))
    assert a[0] == pytest.approx(b[0], abs=1e-9)
    assert a[1:3] == b[1:3] == (4, 8.0)
