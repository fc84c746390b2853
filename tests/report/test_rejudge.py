"""A published run is estimated and judged again from its own tables; what does not follow from them stays."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from project import ROOT

from bayes_sgd.claims.claims import load_claims
from bayes_sgd.claims.verdicts import limit_text
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import read_csv
from bayes_sgd.core.provenance import file_digest
from bayes_sgd.core.schema import CLAIMS
from bayes_sgd.report.rejudge import main, rejudge

PUBLISHED = ROOT / "results" / "published"
LIMITS = ROOT / "config" / "claims.yaml"


@pytest.mark.parametrize("run", ["quick", "standard", "quick_first", "extended", "extended_first"])
def test_published_claims_are_judged_by_the_limits_of_today(run: str) -> None:
    table = read_csv(PUBLISHED / run / "tables" / "claims.csv", CLAIMS)
    assert dict(zip(table["claim"], table["limit"], strict=True)) == {
        claim.id: limit_text(claim.reproduced) for claim in load_claims(LIMITS)
    }
    counts = json.loads((PUBLISHED / run / "verdicts.json").read_text())
    assert counts == table["verdict"].value_counts().to_dict()


def test_a_published_run_is_judged_again(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "published" / "quick"
    shutil.copytree(PUBLISHED / "quick", folder)
    limits = tmp_path / "config" / "claims.yaml"
    limits.parent.mkdir()
    text = LIMITS.read_text(encoding="utf-8")
    limits.write_text(text.replace("reproduced: {above: 2.0794}", "reproduced: {below: 2.0794}"), encoding="utf-8")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with contextlib.chdir(tmp_path):
        main(["quick"])
    claims = read_csv(folder / "tables" / "claims.csv", CLAIMS).set_index("claim")
    was = read_csv(PUBLISHED / "quick" / "tables" / "claims.csv", CLAIMS).set_index("claim")
    assert claims.loc["5a", "verdict"] == "not reproduced"
    assert (claims["verdict"].drop("5a") == was["verdict"].drop("5a")).all()
    record = json.loads((folder / "provenance.json").read_text())
    assert record["tables"]["claims.csv"] == file_digest(folder / "tables" / "claims.csv")
    assert "again" in record["judged"]
    for name in ("tables/cells.csv", "tables/linear.csv", "tables/cells.json", "figures/fig1.svg"):
        assert (folder / name).read_bytes() == before[folder / name]
    with pytest.raises(UserError, match=r"provenance\.json: no such file"):
        rejudge(tmp_path / "none", limits)


def test_pages_are_written_whichever_run_is_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("bayes_sgd.report.rejudge.rejudge", lambda folder, claims: {"reproduced": 1})
    monkeypatch.setattr("bayes_sgd.report.rejudge.write_pages", lambda: written.append("pages"))
    main(["n_law"])
    assert written == ["pages"], "they show claims of runs beside the README's"
