"""The first screen of the README and the page of all claims, as markdown; takes published tables.

Nothing is estimated here and no verdict is made. `publish` writes both, and tests compare them with the tables.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayes_sgd.claims.verdicts import VERDICTS
from bayes_sgd.core.io import read_csv
from bayes_sgd.core.schema import CLAIMS
from bayes_sgd.report.text import interval, markdown, number, replace_between

FIRST_RUN = Path("bench") / "first_run.csv"  # under results/published
PAGE = Path("docs/claims.md")
DISPUTES_PAGE = Path("docs/disputes.md")
# the claims on the paper's second headline, and what each is the exponent of
_EQUAL_EPOCHS = {
    "N1a": "optimum, T = N/1.6",
    "N1b": "optimum, T = N/6",
    "N1c": "left edge, T = N/1.6",
    "N1d": "left edge, T = N/6",
}


class Question(NamedTuple):
    """A question to the paper: the numbers of its claims ("4" is 4a, 4b, 4c), and the claim whose value answers it best."""

    text: str
    source: str
    numbers: tuple[str, ...]
    claim: str
    quantity: str
    scale: float = 1.0


QUESTIONS = (
    Question(
        "Does a model that memorizes random labels generalize on real ones?",
        "Fig. 1",
        ("1", "2", "3", "4", "Z1", "Z2"),
        "2",
        "test accuracy on real labels",
    ),
    Question(
        "Does the evidence tell real from random labels and follow the test loss?",
        "Fig. 2, §2",
        ("5", "6", "7", "8", "9"),
        "8b",
        "rank correlation with the test loss",
    ),
    Question(
        "Is there an optimum batch size, better than large batches?",
        "Figs. 3, 4",
        ("10", "11", "12", "13", "24"),
        "10",
        "B = 30 over B = 1000, points of accuracy",
        100,
    ),
    Question(
        "Is the optimum proportional to the learning rate?",
        "Fig. 5",
        ("14", "15"),
        "14",
        "exponent",
    ),
    Question(
        "Is it proportional to a large training set's size?",
        "Fig. 6",
        ("16", "17"),
        "16a",
        "exponent",
    ),
    Question(
        "Is it proportional to the training set's size at equal epochs, or does N/T, T updates, set it?",
        "Fig. 6, runs of their own",
        ("N1", "N2", "N3", "N4", "N5"),
        "N1a",
        "exponent",
    ),
    Question(
        "Is it proportional to 1/(1 − m), m the momentum?",
        "Fig. 7",
        ("18",),
        "18a",
        "exponent",
    ),
    Question(
        "Does L2 regularization close the gap between small and large batches?",
        "Fig. 8",
        ("19",),
        "19a",
        "share of the gap left at λ = 0.1",
    ),
    Question(
        "Is the gradient noise near-Gaussian, and does its scale alone fix the accuracy?",
        "§5, Fig. 9",
        ("21", "22"),
        "22a",
        "spread at equal noise scale up to the optimum, points of accuracy",
        100,
    ),
    Question(
        "Do networks of larger evidence generalize better?",
        "our test of §4",
        ("23",),
        "23b",
        "rank correlation of the linearized model's evidence with the network's test accuracy",
    ),
    Question(
        "Is the optimum one multiple of the smallest batch that fits the training set?",
        "our addition",
        ("F1", "F2", "F3", "F4", "F5"),
        "F1",
        "scatter of ln B_opt about it",
    ),
    Question(
        "Does a convolutional network follow the laws?",
        "docs/disputes.md",
        ("C1", "C2", "C3"),
        "C1b",
        "exponent of the left edge in ε",
    ),
    Question(
        "What do disputes about tuned and scaled learning rates, the left edge, samplers and width come to?",
        "docs/disputes.md",
        ("D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8"),
        "D2a",
        "accuracy lost when ε and B grow 8 times, points",
        100,
    ),
)
_OTHER = Question("Further claims", "", (), "", "")


def question_of(claim: str) -> Question:
    """The question that a claim belongs to, by its number; one without a claim of its own for any other number."""
    (claim_number,) = re.findall(r"^[A-Z]?\d+", claim) or [claim]
    return next((question for question in QUESTIONS if claim_number in question.numbers), _OTHER)


def _groups(claims: pd.DataFrame) -> list[tuple[Question, pd.DataFrame]]:
    questions = claims["claim"].astype(str).map(question_of)
    groups = [(question, claims.loc[[q is question for q in questions]]) for question in (*QUESTIONS, _OTHER)]
    return [(question, rows) for question, rows in groups if len(rows)]


def verdict_counts(claims: pd.DataFrame) -> str:
    """How many claims have each verdict, in words."""
    counts = claims["verdict"].value_counts()
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if verdict in counts)


def _anchor(title: str) -> str:
    """The name that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def with_other_runs(claims: pd.DataFrame, published: Path) -> pd.DataFrame:
    """Claims of a published run; those that it has no value for as another published run judges them.

    Args:
        claims: the table of the run.
        published: the run's folder; other runs lie beside it, and the first by name that has a value is taken.

    Returns:
        The same claims in the same order, with `run`, the name of the run that judged the row.
    """
    rows: list[dict[str, Any]] = claims.assign(run=published.name).to_dict("records")
    for path in sorted(published.parent.glob("[!.]*/tables/claims.csv")):
        others = read_csv(path, CLAIMS).assign(run=path.parts[-3]).dropna(subset="value").to_dict("records")
        by_claim = {row["claim"]: row for row in others}
        rows = [by_claim.get(row["claim"], row) if pd.isna(row["value"]) else row for row in rows]
    return pd.DataFrame(rows)


def second_headline(published: Path) -> str:
    """The paper's second headline, B_opt ∝ N, in words and as a table: exponents at equal epochs, a row for each run with them.

    Args:
        published: the folder of all published runs.

    Returns:
        Markdown; nothing if no run has any of the exponents.
    """
    rows = []
    for path in sorted(published.glob("[!.]*/tables/claims.csv")):
        claims = read_csv(path, CLAIMS).set_index("claim")
        exponents = claims.reindex(list(_EQUAL_EPOCHS))
        if np.isnan(exponents["value"].to_numpy(np.float64)).all():
            continue
        config = json.loads((path.parents[1] / "provenance.json").read_text(encoding="utf-8"))["config"]
        hidden = "-".join(map(str, config["cell"]["hidden_sizes"]))
        cells = [f"{interval(row)}, {row['verdict']}" for row in exponents.to_dict("records")]
        rows.append([f"{config['data']['name']}, H = {hidden}", *(cell.removeprefix("-, ") for cell in cells)])
    if not rows:
        return ""
    table = markdown(rows, ["exponent in N (1 by the paper)", *_EQUAL_EPOCHS.values()])
    return (
        "The paper's second headline, an optimum batch size proportional to the training set size N, is tested at equal "
        "epochs: the updates T grow with N. The exponent in N would be 1. The left edge is the smaller B at which accuracy is "
        "half a point below the peak.\n\n"
        f"{table}\n"
        "The laws in ε and 1/(1 − m) follow from ε/(B(1 − m)) as well; only the law in N tells the noise scale from that.\n\n"
    )


def question_table(claims: pd.DataFrame, published: Path) -> str:
    """The second headline, then a row for each question: verdicts of its claims, and one value with its 95 % interval."""
    rows = []
    for question, rows_of_question in _groups(claims):
        values = rows_of_question.loc[rows_of_question["claim"] == question.claim].to_dict("records")
        value = f"{question.quantity}: {interval(values[0], scale=question.scale)}" if values else "-"
        source = f" ({question.source})" if question.source else ""
        link = f"[{question.text}]({PAGE.as_posix()}#{_anchor(question.text)})"
        rows.append([f"{link}{source}", verdict_counts(rows_of_question), value])
    table = markdown(rows, ["question (paper)", "verdicts", "our value, 95 % interval"])
    return f"{second_headline(published)}{table}\n{len(claims)} claims: {verdict_counts(claims)}.\n"


def commands(first_run: pd.DataFrame) -> str:
    """The commands to begin with, the first two with their durations, from results/published/bench/first_run.csv.

    Args:
        first_run: one measurement or several, told apart by `date_utc`.
    """
    took = {str(what): _range(rows) for what, rows in first_run.groupby("what")}
    measured, cores = len(first_run["date_utc"].unique()), first_run["cores"].iloc[0]
    lines = {
        "make run": f"installs ({took['install']}), then the quick run ({took['quick run']})",
        f".venv/bin/snakemake --cores {cores}": f"the same again: nothing to be done ({took['second call']})",
        "make estimate CONFIG=config/extended.yaml": "what the extended run takes here",
        "make run CONFIG=config/extended.yaml": "the extended run",
    }
    block = "\n".join(f"    {command:42}  # {words}" for command, words in lines.items())
    where = f"{cores} cores of an {' and '.join(sorted(set(first_run['processor'])))}, Python {first_run['python'].iloc[0]}"
    ranges = f"; the ranges are of {measured} measurements on shared machines" if measured > 1 else ""
    return f"{block}\n\nMeasured on {where}{ranges}. The install takes {took['size of the install']} on disk.\n"


def _range(rows: pd.DataFrame) -> str:
    """The smallest and the largest value, or the one of both, with their unit."""
    low, high = (number(value) for value in (rows["value"].min(), rows["value"].max()))
    return f"{low if low == high else f'{low} to {high}'} {rows['unit'].iloc[0]}"


def claims_page(claims: pd.DataFrame, run: str) -> str:
    """The text of docs/claims.md: every claim with the paper's value, ours, its limit and verdict, and how it was judged."""
    parts = [
        f"# Claims\n\nAll {len(claims)} claims as the {run} run judges them, or the run that is named where it has no value: "
        f"{verdict_counts(claims)}. "
        "Limits are in config/claims.yaml; docs/deviations.md says which were changed after a result was seen. "
        "Values in brackets are 95 % intervals. "
        "The paper's values are recalled, not quoted. `make publish` writes this page from "
        f"results/published/{run}/tables/claims.csv and those beside it.\n"
    ]
    for question, rows_of_question in _groups(claims):
        parts.append(
            f"## {question.text}\n\n{question.source}{': ' if question.source else ''}{verdict_counts(rows_of_question)}.\n"
        )
        parts += [_claim(row, run) for row in rows_of_question.to_dict("records")]
    return "\n".join(parts)


def _claim(row: dict[str, Any], run: str) -> str:
    judged_by = [f"- run: {row['run']}"] if row.get("run", run) != run else []
    lines = [
        f"**{row['claim']}. {row['statement']}** {str(row['verdict']).capitalize()}.\n",
        f"- paper ({row['source']}): {row['paper_value']}",
        *judged_by,
        f"- ours: {interval(row)}",
        f"- limit: {row['limit']}",
        f"- why: {row['why']}",
        f"- see: figure: {str(row['figure']).removeprefix('figure ')}; table: {row['table']}",
    ]
    return "\n".join(lines) + "\n"


def update_disputes(page: Path, claims: pd.DataFrame) -> bool:
    """Write the rows of each dispute into its page; gives whether any was stale.

    Args:
        page: a file with marks `D1` and so on, one for each number of a claim that begins with D or C.
        claims: as `with_other_runs` gives them.

    Raises:
        UserError: a mark is missing.
    """
    by_number: dict[str, list[list[str]]] = {}
    for row in claims.to_dict("records"):
        number_of_claim = "".join(re.findall(r"^[CD]\d+", str(row["claim"])))
        cells = [str(row["claim"]), str(row["statement"]), str(row["paper_value"]), interval(row), str(row["limit"])]
        by_number.setdefault(number_of_claim, []).append([*cells, f"**{row['verdict']}**"])
    by_number.pop("", None)
    header = ["claim", "", "predictions", "ours, 95 % interval", "limit", "verdict"]
    return any([replace_between(page, name, markdown(rows, header)) for name, rows in by_number.items()])


def update_readme(readme: Path, published: Path) -> bool:
    """Write the questions and the commands into the README; gives whether either was stale.

    Args:
        readme: a file with marks `questions` and `commands`.
        published: the folder of a published run; bench/first_run.csv lies beside it.

    Raises:
        UserError: a table or a mark is missing.
    """
    tables = published / "tables"
    questions = question_table(with_other_runs(read_csv(tables / "claims.csv", CLAIMS), published), published.parent)
    begin = commands(read_csv(published.parent / FIRST_RUN))
    return any([replace_between(readme, "questions", questions), replace_between(readme, "commands", begin)])
