"""Verdicts at other sizes in docs/findings.md: counts, changes and rows, against tables written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from bayes_sgd.core.io import write_csv
from bayes_sgd.core.schema import CLAIMS
from bayes_sgd.report.findings_sizes import sizes, sizes_runs


def publish(folder: Path, hidden: list[int], verdicts: dict[str, str]) -> None:
    rows = [
        {
            **dict.fromkeys((column.name for column in CLAIMS.columns), ""),
            **{"claim": claim, "statement": f"Claim {claim}.", "verdict": verdict},
            **{"value": 1.25, "ci_low": 1.0, "ci_high": 1.5, "paper_value": "", "limit": "above 1", "why": ""},
        }
        for claim, verdict in verdicts.items()
    ]
    write_csv(folder / "tables" / "claims.csv", pd.DataFrame(rows), CLAIMS)
    (folder / "provenance.json").write_text(json.dumps({"config": {"cell": {"hidden_sizes": hidden}}}), encoding="utf-8")


@pytest.fixture
def published(tmp_path: Path) -> Path:
    names = ("1", "2", "3", "4", "5", "6")
    first = ("reproduced", "reproduced", "inconclusive", "not tested", "reproduced", "not tested")
    second = ("reproduced", "not reproduced", "reproduced", "reproduced", "not tested", "not tested")
    publish(tmp_path / "extended", [200], dict(zip(names, first, strict=True)))
    publish(tmp_path / "paper", [800], dict(zip(names, second, strict=True)))
    publish(tmp_path / "n_law", [200], dict(zip(names, second, strict=True)))
    return tmp_path


def test_changed_and_opposite_verdicts_are_counted_and_named(published: Path):
    line, blank, header, _, *rows = sizes(sizes_runs(published), "extended").splitlines()
    assert line == (
        "* paper: 1 of 3 verdicts are those of the extended run, 1 opposite. "
        "Different: 2 reproduced → not reproduced, 3 inconclusive → reproduced."
    )
    assert (blank, header) == ("", "| claim | statement | extended, 784-200-10 | paper, 784-800-10 |")
    assert [row.split(" | ")[0] for row in rows] == ["| 1", "| 2", "| 3"], "claims that two runs judge, in their order"
    assert rows[1] == "| 2 | Claim 2. | 1.25 [1, 1.5], reproduced | 1.25 [1, 1.5], not reproduced |"


def test_a_third_run_adds_claims_that_two_judge_without_the_first(published: Path):
    publish(published / "quick", [100, 50], {"4": "inconclusive", "6": "reproduced"})
    *lines, _, header, _, one, two, three, four = sizes(sizes_runs(published), "extended").splitlines()
    assert lines[0] == "* quick: 0 of 0 verdicts are those of the extended run, 0 opposite."
    assert header.startswith("| claim | statement | quick, 784-100-50-10 | extended, 784-200-10 |")
    assert (one[:4], two[:4], three[:4]) == ("| 1 ", "| 2 ", "| 3 ")
    assert four == "| 4 | Claim 4. | 1.25 [1, 1.5], inconclusive | - | 1.25 [1, 1.5], reproduced |"
