"""Measures of the noise of gradients and of the noise scale, with known answers."""

from __future__ import annotations

from typing import Literal

import pytest
from measured import noise_table
from synthetic import broad, experiment

from bayes_sgd.analysis.optimum import SweepRows
from bayes_sgd.claims.measures.base import NotMeasuredError, Tables
from bayes_sgd.claims.measures.noise import noise_scale_collapse, noise_shape


def test_values_are_those_that_were_put_in() -> None:
    noise = Tables({"gradient_noise": noise_table(0.1, 0.2)})
    found = noise_shape(noise, "skewness", 30)
    assert found.value == pytest.approx(0.1)
    assert "0.2 after 300 updates" in found.detail
    assert noise_shape(noise, "excess_kurtosis", 30).value == pytest.approx(0.2, rel=0.05)
    with pytest.raises(NotMeasuredError, match="B = 31"):
        noise_shape(noise, "skewness", 31)


BELOW, BEYOND = "up to the optimum", "beyond the optimum"


@pytest.mark.parametrize("side", [BELOW, BEYOND])
def test_accuracy_as_a_function_of_the_noise_scale_alone_has_no_spread(
    side: Literal["up to the optimum", "beyond the optimum"],
) -> None:
    same = {"learning_rate": experiment(exponent=1.0, shape=broad, noise=0.3)}
    # with the −1 in g = ε′(N/B − 1) the curves are not quite functions of B/ε
    assert noise_scale_collapse(Tables(experiments=same), ["learning_rate"], side).value < 0.003
    apart = {"learning_rate": experiment(exponent=0.0, shape=broad, noise=0.3)}
    wide = noise_scale_collapse(Tables(experiments=apart), ["learning_rate"], side)
    assert wide.value > 0.003
    assert wide.low <= wide.value <= wide.high


def test_the_sides_of_the_optimum_are_judged_apart() -> None:
    rates = experiment(values=(0.05, 0.1, 0.2, 0.4), shape=broad, noise=0.3)
    rows = rates["rows"]
    beyond = (rows["noise_scale"] > 60) * rows["learning_rate"].map({0.05: 0.0, 0.1: 0.03, 0.2: 0.0, 0.4: 0.03})
    tables = Tables(
        experiments={"a": SweepRows(axis="learning_rate", rows=rows.assign(test_accuracy=rows["test_accuracy"] - beyond))}
    )
    assert noise_scale_collapse(tables, ["a"], BELOW).value < 0.003
    assert noise_scale_collapse(tables, ["a"], BEYOND).value > 0.01


def test_the_spread_at_equal_noise_scale_counts_runs_once_and_does_not_jump() -> None:
    rates = experiment(values=(0.05, 0.1, 0.2, 0.4), rng=7)
    rates["rows"]["test_accuracy"] += rates["rows"]["learning_rate"].map({0.05: 0.0, 0.1: 0.01, 0.2: 0.0, 0.4: 0.01})
    once = noise_scale_collapse(Tables(experiments={"a": rates}), ["a"], BELOW)
    twice = noise_scale_collapse(Tables(experiments={"a": rates, "b": rates}), ["a", "b"], BELOW)
    assert twice[:4] == once[:4], "the same runs under another name are no further curve"
    fewer = SweepRows(axis="learning_rate", rows=rates["rows"].query("seed < 5"))
    mixed = noise_scale_collapse(Tables(experiments={"a": rates, "b": fewer}), ["a", "b"], BELOW)
    alone = noise_scale_collapse(Tables(experiments={"b": fewer}), ["b"], BELOW)
    assert mixed[:4] == alone[:4], "of experiments with different numbers of seeds those that both have count"
    assert once.low < 0.0058 < once.high, "the standard deviation of 0, 1, 0 and 1 points"
    rows = rates["rows"]
    shifted = SweepRows(axis="learning_rate", rows=rows.assign(noise_scale=rows["noise_scale"] * (1 + 1e-6)))
    assert noise_scale_collapse(Tables(experiments={"a": shifted}), ["a"], BELOW)[:3] == pytest.approx(once[:3], rel=1e-3)
