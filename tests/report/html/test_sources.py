"""What the page quotes: each limit, measure and heading is found where the page says that it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from project import ROOT

from bayes_sgd.claims.claims import load_claims
from bayes_sgd.claims.measures import MEASURES
from bayes_sgd.report.html.planning import METHOD, figure_labels
from bayes_sgd.report.html.sources import Sources, anchor, document, limits, measures, method_titles

CLAIMS = ROOT / "config" / "claims.yaml"


def test_the_entry_of_each_claim_is_quoted_from_its_line() -> None:
    lines = CLAIMS.read_text(encoding="utf-8").splitlines()
    found = limits(CLAIMS)
    for claim in load_claims(CLAIMS):
        quote = found[claim.id]
        assert lines[quote.line - 1].strip().startswith(f'- id: "{claim.id}"') or f"id: {claim.id}" in lines[quote.line - 1]
        (entry,) = yaml.safe_load(quote.text)
        assert entry["statement"] == claim.statement
        assert entry["table"] == claim.table


@pytest.mark.parametrize("name", MEASURES)
def test_each_measure_is_quoted_from_its_line_and_names_a_heading_of_the_method(name: str) -> None:
    quote = measures([name])[name]
    assert (ROOT / quote.path).read_text(encoding="utf-8").splitlines()[quote.line - 1].startswith(f"def {name}(")
    assert f"def {name}(" in quote.text
    titles = method_titles(name)
    assert titles, f"{quote.path}: a line 'Method: docs/..., heading.' in the docstring of the module or the function is wanted"
    for page, title in titles:
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        assert f'id="{anchor(page, title)}"' in document(page, text, {}), title


def test_links_between_documents_stay_on_the_page() -> None:
    for name in METHOD:
        html = document(name, (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"), {"tables": "tables"})
        assert set(re.findall(r'href="([^"]+)"', html)) <= {"#tables", "#method"}


def test_every_caption_says_what_its_figure_shows() -> None:
    captions = Sources.beside(ROOT).captions
    for name, path in captions.items():
        if name not in ("claims", "workflow"):
            labels = figure_labels(name, path)
            assert labels["shows"] != name
            assert len(labels["shows"]) < 110
    assert figure_labels("fig5", captions["fig5"]) == {
        "figure": "5",
        "shows": "The best batch size grows with the learning rate",
    }


def test_a_caption_without_a_title_has_the_name_of_its_figure(tmp_path: Path) -> None:
    (tmp_path / "new.rst").write_text("No bold words.")
    assert figure_labels("new_figure", tmp_path / "new.rst") == {"figure": "new figure", "shows": "new_figure"}
