"""The page as people use it, in headless Chromium: no error, no network, by keyboard, at 400 pixels, and by axe's rules."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bench.common.devtools import Browser
from browser import WRONG, needs_browser
from project import ROOT

from bayes_sgd.report.html.page import write_page
from bayes_sgd.report.html.sources import Sources

pytestmark = needs_browser
AXE = ROOT / "tests" / "vendor" / "axe-core" / "axe.min.js"
LOADED = """
[...document.images].every((image) => image.complete && image.naturalWidth > 0)
    && document.querySelectorAll('.js-plotly-plot').length === 2
    && [...document.querySelectorAll('section.table')].every((section) => section.querySelector('tbody'))
"""
SHOWN = "[...document.querySelectorAll('#claims-table tbody tr')].filter((row) => !row.hidden).map((row) => row.id.slice(6))"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that shows the page of the published standard run, which has cooled phases, all of it unfolded and drawn."""
    folder = tmp_path_factory.mktemp("page") / "standard"
    shutil.copytree(ROOT / "results" / "published" / "standard", folder)
    write_page(folder, Sources.beside(ROOT))
    with Browser(folder.parent / "profile") as browser:
        browser.window(1280, 900)
        browser.open(folder / "report.html")
        browser.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true })")
        browser.evaluate("dispatchEvent(new Event('beforeprint'))")
        browser.wait_for(LOADED)
        yield browser


def focus(browser: Browser, selector: str) -> None:
    """Go by the tabulator to an element."""
    at = f"document.activeElement === document.querySelector({json.dumps(selector)})"
    browser.evaluate("document.querySelector('.skip').focus()")
    for _ in range(60):
        browser.press("Tab")
        if browser.evaluate(at):
            return
    raise AssertionError(f"not reached by the tabulator: {selector}")


def test_nothing_goes_wrong_and_nothing_is_asked_of_the_network(browser: Browser) -> None:
    assert [event for event in browser.events if event["method"] in WRONG] == []
    asked = [event["params"]["request"]["url"] for event in browser.events if event["method"] == "Network.requestWillBeSent"]
    assert {url.partition(":")[0] for url in asked} == {"file", "data", "blob"}
    assert len([url for url in asked if url.startswith("file:")]) == 1, "the page itself"


def test_every_link_resolves(browser: Browser) -> None:
    links = browser.evaluate("[...document.querySelectorAll('a')].map((link) => link.getAttribute('href'))")
    ids = set(browser.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)"))
    assert [link for link in links if link.startswith("#") and unquote(link[1:]) not in ids] == []
    page = Path(unquote(urlsplit(browser.evaluate("location.href")).path))
    files = [link for link in links if not link.startswith("#")]
    assert [link for link in files if not (page.parent / link).is_file()] == []
    assert files


def test_claims_are_sorted_and_filtered_by_keyboard(browser: Browser) -> None:
    everything = browser.evaluate(SHOWN)
    focus(browser, "#claims-table th[data-key=verdict] button")
    browser.press("Enter")
    verdicts = browser.evaluate(
        "[...document.querySelectorAll('#claims-table tbody tr')].map((row) => Number(row.dataset.place))"
    )
    assert verdicts == sorted(verdicts)
    browser.press(" ")
    assert browser.evaluate("document.querySelector('th[data-key=verdict]').ariaSort") == "descending"
    focus(browser, "#filter input[value=reproduced]")
    browser.press(" ")
    left = browser.evaluate(f"{SHOWN}.map((name) => document.getElementById(`claim-${{name}}`).dataset.verdict)")
    assert left
    assert "reproduced" not in left
    focus(browser, "#filter input[type=search]")
    browser.press("momentum")
    assert 0 < len(browser.evaluate(SHOWN)) < len(left)
    assert browser.evaluate("document.getElementById('claims-shown').textContent").startswith(
        f"{len(browser.evaluate(SHOWN))} of"
    )
    browser.evaluate("location.hash = '#claim-1a'")
    browser.wait_for("!document.getElementById('claim-1a').hidden")
    assert sorted(browser.evaluate(SHOWN)) == sorted(everything), "a link to a hidden claim shows all"
    browser.evaluate("document.querySelector('th[data-key=order] button').click()")
    assert browser.evaluate(SHOWN) == everything


def test_tables_are_sorted_and_filtered(browser: Browser) -> None:
    column = """(name) => [...document.querySelectorAll('#table-cells tbody tr')].map((row) =>
        row.cells[[...row.closest('table').tHead.rows[0].cells].findIndex((head) => head.textContent === name)].textContent)"""
    browser.evaluate("document.querySelector('#table-cells input').focus()")
    browser.press("phase=constant batch_size>=30")
    sizes = browser.evaluate(f"({column})('batch_size')")
    assert sizes
    assert all(float(size) >= 30 for size in sizes)
    assert set(browser.evaluate(f"({column})('phase')")) == {"constant"}
    head = "[...document.querySelectorAll('#table-cells th button')].find((button) => button.textContent === 'test_accuracy')"
    browser.evaluate(f"{head}.focus()")
    browser.press("Enter")
    browser.press("Enter")
    values = [float(value) for value in browser.evaluate(f"({column})('test_accuracy')")]
    assert values == sorted(values, reverse=True)
    told = browser.evaluate("document.querySelector('#table-cells [role=status]').textContent")
    first, last, chosen, everything = map(int, re.fullmatch(r"Rows (\d+) to (\d+) of (\d+), of (\d+) in all", told).groups())
    assert (first, last) == (1, len(values))
    assert len(values) <= chosen < everything


def test_the_phase_and_the_experiment_of_the_curves_are_chosen(browser: Browser) -> None:
    drawn = "JSON.stringify(document.getElementById('curve-accuracy').data.map((trace) => trace.y))"
    seen = [browser.evaluate(drawn)]
    browser.evaluate("document.querySelectorAll('#phases input')[1].click()")
    seen.append(browser.evaluate(drawn))
    browser.evaluate("document.querySelector('#curves select').value = 1")
    browser.evaluate("document.querySelector('#curves select').dispatchEvent(new Event('change', { bubbles: true }))")
    seen.append(browser.evaluate(drawn))
    assert len(set(seen)) == len(seen)
    words = browser.evaluate("document.getElementById('curve-accuracy').data[0].text[0]")
    assert all(word in words for word in ("B ", "seeds", "updates"))


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (400, False)])
def test_axe_finds_nothing_and_the_page_is_as_wide_as_the_window(browser: Browser, width: int, dark: bool) -> None:
    browser.window(width, 800, dark)
    # of thousands of cells that are alike, axe sees those of three rows of each table
    browser.evaluate("document.querySelectorAll('section.table tbody tr:nth-child(n+4)').forEach((row) => row.remove())")
    # curves are drawn anew some time after the window has changed
    browser.wait_for(f"document.documentElement.scrollWidth <= {width}")
    if not browser.evaluate("typeof axe === 'object'"):
        browser.evaluate(AXE.read_text(encoding="utf-8"))
    found = browser.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations.map((v) => "
        "[v.id, v.impact, v.nodes.length, v.nodes[0].html.slice(0, 200), v.nodes[0].failureSummary]))"
    )
    assert found == []
