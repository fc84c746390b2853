"""The README's first screen and the page of claims are those of the published tables, and hold every claim once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from project import ROOT

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import read_csv, write_csv
from bayes_sgd.core.schema import CLAIMS
from bayes_sgd.report.first_page import (
    DISPUTES_PAGE,
    FIRST_RUN,
    PAGE,
    QUESTIONS,
    claims_page,
    commands,
    question_of,
    question_table,
    second_headline,
    update_disputes,
    update_readme,
    with_other_runs,
)
from bayes_sgd.report.publish import README_RUN

STALE = f"stale: run `make publish RUN={README_RUN}`"
PUBLISHED = ROOT / "results" / "published" / README_RUN


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return with_other_runs(read_csv(PUBLISHED / "tables" / "claims.csv", CLAIMS), PUBLISHED)


def test_a_claim_without_a_value_is_that_of_the_run_beside_it(tmp_path: Path, published: pd.DataFrame) -> None:
    rows = published.drop(columns="run").head(3).assign(verdict="reproduced", value=1.0)
    mine = rows.assign(value=[1.0, float("nan"), float("nan")], verdict=["reproduced", "not tested", "not tested"])
    write_csv(tmp_path / "other" / "tables" / "claims.csv", rows.assign(value=[2.0, 2.0, float("nan")]), CLAIMS)
    write_csv(tmp_path / ".early.part" / "tables" / "claims.csv", rows, CLAIMS)  # of a publication that did not end
    shown = with_other_runs(mine, tmp_path / "mine")
    assert shown["run"].tolist() == ["mine", "other", "mine"]
    assert shown["value"].tolist()[:2] == [1.0, 2.0]
    assert shown["verdict"].tolist() == ["reproduced", "reproduced", "not tested"]
    text = claims_page(shown, "mine")
    assert text.count("- run: other\n") == 1


def test_the_second_headline_states_the_exponents_of_each_run_that_has_them(tmp_path: Path) -> None:
    text = second_headline(PUBLISHED.parent)
    labels = {"n_law": "mnist, H = 200", "n_law_wide": "mnist, H = 800", "n_law_fashion": "fashion_mnist, H = 200"}
    for run, label in labels.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {label} |")]
        exponents = read_csv(PUBLISHED.parent / run / "tables" / "claims.csv", CLAIMS).set_index("claim")
        for row in exponents.loc[["N1a", "N1b", "N1c", "N1d"]].to_dict("records"):
            value = f"{row['value']:.3g} [{row['ci_low']:.3g}, {row['ci_high']:.3g}], "
            assert f"| {'' if pd.isna(row['value']) else value}{row['verdict']} " in line
    assert text.count("\n| ") == 5, "each run once, and the head"
    assert second_headline(tmp_path) == ""


def test_the_readme_is_that_of_the_published_tables(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    copy.write_text((ROOT / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    assert not update_readme(copy, PUBLISHED), STALE


def test_the_page_of_claims_is_that_of_the_published_table(published: pd.DataFrame) -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert text == claims_page(published, README_RUN), STALE
    for row in published.to_dict("records"):
        assert text.count(f"\n**{row['claim']}. {row['statement']}** {row['verdict'].capitalize()}.\n") == 1
        assert str(row["why"]) in text


def test_the_rows_of_the_disputes_are_those_of_the_published_tables(tmp_path: Path, published: pd.DataFrame) -> None:
    copy = tmp_path / "disputes.md"
    copy.write_text((ROOT / DISPUTES_PAGE).read_text(encoding="utf-8"), encoding="utf-8")
    assert not update_disputes(copy, published), STALE
    for row in published.loc[published["claim"].str.match(r"[CD]\d")].to_dict("records"):
        assert copy.read_text(encoding="utf-8").count(f"| {row['claim']} | {row['statement']} |") == 1
    copy.write_text("no marks")
    with pytest.raises(UserError, match="no marks <!-- D1: begin -->"):
        update_disputes(copy, published)


def test_each_published_claim_belongs_to_one_question_and_each_value_shown_is_a_claim_of_it(published: pd.DataFrame) -> None:
    for claim in published["claim"]:
        (number,) = re.findall(r"^[A-Z]?\d+", claim)
        (question,) = [question for question in QUESTIONS if number in question.numbers]
        assert question_of(claim) is question
    for question in QUESTIONS:
        assert question.claim in set(published["claim"])
        assert question_of(question.claim) is question


def test_verdicts_of_the_questions_add_up(published: pd.DataFrame) -> None:
    *_, table, total = question_table(published, PUBLISHED.parent).rstrip().split("\n\n")
    rows = table.splitlines()[2:]
    assert len(rows) == len(QUESTIONS)
    counted = sum(int(count) for row in rows for count in re.findall(r"(\d+) (?:partially |not )?(?:repr|inconc|test)", row))
    assert counted == len(published)
    assert total.startswith(f"{len(published)} claims: ")


def test_links_of_the_questions_lead_to_their_headings(published: pd.DataFrame) -> None:
    anchors = re.findall(rf"{PAGE.as_posix()}#(\S+)\)", question_table(published, PUBLISHED.parent))
    titles = re.findall(r"^## (.+)$", claims_page(published, README_RUN), re.MULTILINE)
    assert anchors == [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def test_a_claim_of_a_new_number_is_shown_too(published: pd.DataFrame) -> None:
    new = pd.concat([published, published.tail(1).assign(claim="99a", statement="Something else.")])
    assert "Further claims" in question_table(new, PUBLISHED.parent)
    assert "**99a. Something else.**" in claims_page(new, "mine")


def test_a_run_without_values_has_a_first_page(published: pd.DataFrame) -> None:
    empty = published.assign(
        value=float("nan"), ci_low=float("nan"), ci_high=float("nan"), verdict="not tested", why="no value"
    )
    assert question_table(empty, PUBLISHED.parent).rstrip().endswith(f"{len(empty)} claims: {len(empty)} not tested.")
    assert "- ours: -\n" in claims_page(empty, "mine")


def test_a_readme_without_marks_is_one_line(tmp_path: Path, published: pd.DataFrame) -> None:
    folder = tmp_path / "mine"
    write_csv(folder / "tables" / "claims.csv", published.drop(columns="run"), CLAIMS)
    (folder / "provenance.json").write_bytes((PUBLISHED / "provenance.json").read_bytes())
    write_csv(tmp_path / FIRST_RUN, read_csv(PUBLISHED.parent / FIRST_RUN))
    readme = tmp_path / "README.md"
    readme.write_text("no marks")
    with pytest.raises(UserError, match="no marks <!-- questions: begin -->"):
        update_readme(readme, folder)
    assert readme.read_text() == "no marks"
    readme.write_text("".join(f"<!-- {name}: begin -->\nold\n<!-- {name}: end -->\n" for name in ("questions", "commands")))
    assert update_readme(readme, folder)
    assert "old" not in readme.read_text()
    assert not update_readme(readme, folder)


def test_durations_of_several_measurements_are_a_range() -> None:
    quantities, units = ("install", "quick run", "second call", "size of the install"), ("s", "s", "s", "GB")
    rows = pd.DataFrame({"what": quantities, "value": [100.0, 130.0, 1.5, 6.8], "unit": units})
    once = rows.assign(processor="X", cores=2, python="3.11.7", date_utc="2026-01-01")
    assert "# installs (100 s), then the quick run (130 s)\n" in commands(once)
    assert commands(once).endswith("Measured on 2 cores of an X, Python 3.11.7. The install takes 6.8 GB on disk.\n")
    again = once.assign(value=[90.0, 260.0, 1.5, 6.8], date_utc="2026-01-02")
    text = commands(pd.concat([once, again]))
    assert "# installs (90 to 100 s), then the quick run (130 to 260 s)\n" in text
    assert "nothing to be done (1.5 s)" in text
    assert "Python 3.11.7; the ranges are of 2 measurements on shared machines. The install takes 6.8 GB" in text


def test_the_picture_of_the_page_shows_the_published_verdicts() -> None:
    path = ROOT / "docs" / "report.png"
    with Image.open(path) as picture:
        shown = json.loads(picture.info["verdicts"])
    assert shown == json.loads((PUBLISHED / "verdicts.json").read_text(encoding="utf-8")), "stale: run `make report-picture`"
    assert path.stat().st_size < 300_000


def test_every_figure_of_the_readme_is_there() -> None:
    for path in re.findall(r"\]\(((?!http)[^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), path
