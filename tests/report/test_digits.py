"""How many digits two runs share: rounding, missing values, columns that are 0 but for rounding."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayes_sgd.core.errors import UserError
from bayes_sgd.report.digits import digits_of_table, digits_page, relative_differences, shared_digits

NAN, INF = float("nan"), float("inf")


def test_differences_are_relative_to_the_larger_value_and_to_the_column_where_it_is_0() -> None:
    here = np.array([1.0, 2.0, 0.0, NAN, NAN, INF, -INF, 1e-20])
    there = np.array([1.0, 2.002, 5e-14, NAN, 1.0, INF, INF, 0.0])
    found = relative_differences(here, there)
    assert found[[0, 3, 5]].tolist() == [0, 0, 0]
    assert found[1] == pytest.approx(0.002 / 2.002)
    assert found[2] == pytest.approx(5e-14 / 2.002e-12), "a millionth of a millionth of the largest value counts as 0"
    assert found[[4, 6]].tolist() == [INF, INF]
    assert found[7] < 1e-7


@pytest.mark.parametrize(("difference", "digits"), [(0.0, 16), (1e-20, 16), (2e-7, 6), (1e-3, 3), (0.5, 0), (3.0, 0), (INF, 0)])
def test_digits_are_whole_decimals(difference, digits) -> None:
    assert shared_digits(difference) == digits


def test_a_column_has_the_fewest_digits_over_values_and_roundings() -> None:
    here = pd.DataFrame({"seed": [0, 1], "name": ["a", "b"], "loss": [1.0, 2.0], "norm": [3.0, 4.0]})
    others = [here.assign(loss=[1.0, 2.0 + 1e-9]), here.assign(loss=[1.0 + 1e-5, 2.0])]
    table = digits_of_table("cells", here, others).set_index("column")
    assert list(table.index) == ["loss", "norm"], "numbers that are no floats are names of rows"
    assert table["digits"].tolist() == [5, 16]
    assert table["equal"].tolist() == [0.5, 1]
    assert table["runs"].tolist() == [2, 2]
    page = digits_page(table.reset_index())
    assert "| cells.csv | 16 | 0% | norm |" in page
    assert "| cells.csv | 5 | 50% | loss |" in page
    with pytest.raises(UserError, match=r"cells\.csv: 2 rows in one run, 1 in the other"):
        digits_of_table("cells", here, [here[:1]])
