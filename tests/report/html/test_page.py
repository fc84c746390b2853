"""The page of a run holds its claims, tables and figures, whatever the run has; published pages are of their tables."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from project import ROOT

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import read_checked, read_csv, write_csv, write_json
from bayes_sgd.core.provenance import file_digest
from bayes_sgd.core.schema import CLAIMS, RUN
from bayes_sgd.figures.registry import FIGURES
from bayes_sgd.report.html.page import main, render, write_page
from bayes_sgd.report.html.run import read_run
from bayes_sgd.report.html.sources import Sources
from bayes_sgd.report.html.tables import DIGITS, plain_table

PUBLISHED = ROOT / "results" / "published"
SOURCES = Sources.beside(ROOT)
MB = 1_000_000
# of Chromium, for what a frame of Snakemake's report shows, in base64
FRAME = 2 * 1024 * 1024 * 3 // 4


@pytest.fixture(scope="module")
def quick() -> str:
    return render(read_run(PUBLISHED / "quick"), SOURCES)


def unpacked(page: str, name: str) -> str:
    (content,) = re.findall(rf'<script type="application/gzip" id="{re.escape(name)}">([^<]+)</script>', page)
    return gzip.decompress(base64.b64decode(content)).decode()


def test_every_claim_is_a_row_with_verdict_value_reason_and_sources(quick: str) -> None:
    claims = read_csv(PUBLISHED / "quick" / "tables" / "claims.csv", CLAIMS)
    rows = re.findall(r'<tr role="row" id="claim-(\w+)"(.+?)</tr>', quick, re.DOTALL)
    assert {name for name, _ in rows} == set(claims["claim"])
    texts = {name: unescape(row) for name, row in rows}
    for claim in claims.to_dict("records"):
        text = texts[claim["claim"]]
        assert f"</span> {claim['verdict']}</span>" in text
        assert claim["why"] in text
        assert ("<svg" in text) == pd.notna(claim["value"])
        assert "claims.yaml:" in text
    for verdict, count in claims["verdict"].value_counts().items():
        assert re.search(rf'<span class="number">{count}</span> {verdict}', quick)


def test_every_table_of_the_run_is_in_the_page_and_every_column_is_described(quick: str) -> None:
    run = read_run(PUBLISHED / "quick")
    assert {*run.tables} <= {*RUN}
    for name, frame in run.tables.items():
        table = json.loads(unpacked(quick, f"packed-{name}"))
        names = [column["name"] for column in table["columns"]]
        assert all(column["meaning"] for column in table["columns"])
        assert set(names) <= set(frame.columns)
        for column, values in zip(names, table["values"], strict=True):
            assert len(values) == len(frame)
            if frame[column].dtype.kind == "f":
                shown = pd.Series(
                    [{None: np.nan, "∞": np.inf, "−∞": -np.inf}.get(value, value) for value in values], dtype=float
                )
                np.testing.assert_allclose(shown, frame[column], rtol=10.0 ** (1 - DIGITS))


def test_every_figure_of_the_run_is_in_the_page_with_its_caption(quick: str) -> None:
    names = [path.stem for path in (PUBLISHED / "quick" / "figures").glob("*.svg")]
    for name in names:
        assert unpacked(quick, f"drawing-{name}") == (PUBLISHED / "quick" / "figures" / f"{name}.svg").read_text(
            encoding="utf-8"
        )
    assert quick.count('<article id="figure-') == len(names)
    assert "{{" not in quick
    assert "caption_values" not in re.sub(r"<pre.+?</pre>", "", quick, flags=re.DOTALL)


def test_curves_have_the_phases_and_optima_of_the_tables(quick: str) -> None:
    first = json.loads(unpacked(quick, "packed-curves"))[0]
    optimum = read_csv(PUBLISHED / "quick" / "tables" / "optimum.csv", RUN["optimum"])
    rows = optimum.query("treatment == 'included' and estimator == 'cubic' and budget_fraction == 1")
    rows = rows.loc[rows["experiment"] == first["name"]]
    assert {phase["phase"] for phase in first["phases"]} == {*rows["phase"]}
    rows = rows.loc[rows["phase"] == first["phases"][0]["phase"]]
    drawn = first["phases"][0]["optima"]
    assert len(drawn) > 2
    assert [point["value"] for point in drawn] == list(rows["axis_value"])
    assert [point["b"] for point in drawn] == [None if np.isnan(b) else b for b in rows["b_opt"]]


def test_the_short_page_fits_into_a_frame_of_snakemakes_report(quick: str) -> None:
    short = render(read_run(PUBLISHED / "quick"), SOURCES, short=True)
    assert len(short.encode()) < FRAME
    assert short.count('<tr role="row" id="claim-') == quick.count('<tr role="row" id="claim-')
    targets = set(re.findall(r'href="#([^"]+)"', short))
    assert targets <= set(re.findall(r'id="([^"]+)"', short))
    assert "application/gzip" not in short


def tiny(folder: Path, config: dict | None = None) -> Path:
    """A run that has judged its claims and nothing else."""
    row = dict.fromkeys(CLAIMS.names, "") | {"claim": "99a", "statement": "New & <bold>.", "verdict": "partly reproduced"}
    row |= {"value": np.nan, "ci_low": np.nan, "ci_high": np.nan, "seeds": 0}
    write_csv(folder / "tables" / "claims.csv", pd.DataFrame([row]), CLAIMS)
    write_json(folder / "provenance.json", {"run": "tiny", "config": {"run": "tiny"} | (config or {})})
    return folder


def test_a_run_with_nothing_but_a_claim_unknown_to_the_file_has_a_page(tmp_path: Path) -> None:
    page = render(read_run(tiny(tmp_path)), SOURCES)
    assert "New &amp; &lt;bold&gt;." in page
    assert re.search(r'<span class="number">1</span> partly reproduced', page)
    assert "What the jobs took was not recorded here." in page
    assert 'id="curves"' not in page


def test_claims_that_are_no_yaml_are_told_in_one_line(tmp_path: Path) -> None:
    claims = tmp_path / "claims.yaml"
    claims.write_text("claims: [")
    with pytest.raises(UserError, match=r"claims\.yaml: "):
        render(read_run(tiny(tmp_path)), Sources(claims, {}, {}))


def test_a_table_that_the_run_does_not_name_is_left_out(tmp_path: Path) -> None:
    folder = tiny(tmp_path)
    shutil.copyfile(PUBLISHED / "quick" / "tables" / "linear.csv", folder / "tables" / "linear.csv")
    assert set(read_run(folder).tables) == {"claims"}


def test_a_column_of_one_value_is_named_once(tmp_path: Path) -> None:
    frame = pd.DataFrame({"claim": ["1", "2", "3"], "verdict": ["reproduced"] * 3})
    assert [column["name"] for column in plain_table(CLAIMS, frame, {"verdict": "reproduced"})["columns"]] == ["claim"]


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"config": 3}'])
def test_an_unfinished_or_damaged_run_is_told_in_one_line(tmp_path: Path, content: str | None) -> None:
    folder = tiny(tmp_path)
    (folder / "provenance.json").unlink()
    if content is not None:
        (folder / "provenance.json").write_text(content)
    with pytest.raises(UserError, match=r"provenance\.json: ") as told:
        read_run(folder)
    assert "\n" not in str(told.value)


def test_equal_runs_give_equal_pages_sealed_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = []
    for name in ("one", "two"):
        write_page(tiny(tmp_path / name), SOURCES)
        pages.append((tmp_path / name / "report.html").read_bytes())
    content, about = read_checked(tmp_path / "one" / "report.html", tmp_path / "one" / "report.json")
    assert content == pages[0] == pages[1]
    assert about["tables"] == {"claims": file_digest(tmp_path / "one" / "tables" / "claims.csv")}
    monkeypatch.chdir(ROOT)
    main([str(tmp_path / "one")])
    with pytest.raises(SystemExit):
        main([str(tmp_path / "three")])


@pytest.mark.parametrize("name", sorted(path.parent.name for path in PUBLISHED.glob("*/verdicts.json")))
def test_a_published_run_has_a_page_of_its_tables_below_ten_megabytes(name: str) -> None:
    folder = PUBLISHED / name
    content, about = read_checked(folder / "report.html", folder / "report.json")
    stale = f"stale: run `python -m bayes_sgd.report.html.page results/published/{name}`"
    assert about["tables"] == {table: file_digest(folder / "tables" / f"{table}.csv") for table in about["tables"]}, stale
    assert {path.stem for path in folder.glob("tables/*.csv")} == set(about["tables"]), stale
    assert len(content) < 10 * MB
    drawn = set(re.findall(rb'<article id="figure-(\w+)"', content))
    assert drawn == {path.stem.encode() for path in folder.glob("figures/*.svg") if path.stem in FIGURES}, stale
