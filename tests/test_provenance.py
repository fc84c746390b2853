"""Digests: of code, changed by what code does and by nothing else."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path

import pandas as pd
import pytest

from bayes_sgd import provenance
from bayes_sgd.config import load_config
from bayes_sgd.errors import UserError
from bayes_sgd.figure_parts import save
from bayes_sgd.origin import made_by, record_run
from bayes_sgd.provenance import code_digest, digest, environment
from bayes_sgd.tables import collect, write_csv, write_facts

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"
WRITERS = {"write_csv": write_csv, "collect": collect, "save": save}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules, a imports b; gives a function that edits one and returns the digest of a."""
    files = {
        "a": "from bayes_sgd.b import f\n\nx = f()\n",
        "b": '"""Doc."""\n\n\ndef f():\n    return 1\n',
        "c": "y = 1\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(provenance, "_PACKAGE", tmp_path)

    def edited(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        provenance._tree.cache_clear()
        return code_digest("a")

    yield edited
    provenance._tree.cache_clear()


def test_digest_follows_imports_and_ignores_comments_and_docstrings(package):
    before = package("c", "y = 2\n")
    same = '"""Other words."""\n\n\ndef f():  # a comment\n    """New."""\n\n    return 1\n'
    assert package("b", same) == before
    assert package("b", "def f():\n    return 2\n") != before


def test_code_digest_of_the_store_holds_what_makes_numbers():
    reached = provenance._reach(["store"])
    assert {"training", "models", "sampling", "streams", "datasets", "labels", "cell", "noise_scale"} <= reached
    assert not {"figures", "claims", "config", "tables", "statistics"} & reached


def test_digest_is_of_content():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})


def test_environment_names_versions_and_machine():
    found = environment()
    assert found["versions"]["torch"].startswith("2.14.1")
    assert found["date_utc"].endswith("+00:00")
    assert found["cores"] >= 1


def test_record_of_a_run_names_every_table(tmp_path):
    write_csv(tmp_path / "tables" / "claims.csv", pd.DataFrame({"x": [1]}))
    write_facts(tmp_path / "manifest.json", {"name": "mnist5k"})
    record_run(tmp_path / "provenance.json", {"run": "tiny"}, "code", tmp_path / "manifest.json", tmp_path / "tables")
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["run"] == "tiny"
    assert list(record["tables"]) == ["claims.csv"]
    assert record["data"] == {"name": "mnist5k"}


def test_marks_are_those_of_the_whole_configuration_with_its_defaults():
    given = {"run": "tiny", "seeds": 2}
    whole = load_config(given).model_dump(mode="json")
    assert made_by(given, "c0de", 2, "cuda") == {
        "run": "tiny",
        "config_digest": digest(whole),
        "device": "cuda",
        "threads": 2,
        "code_digest": "c0de",
    }
    assert made_by(given) == made_by(whole)
    assert made_by(given)["config_digest"] != made_by({"run": "tiny", "seeds": 3})["config_digest"]
    with pytest.raises(UserError, match="seeds: 0"):
        made_by({"run": "tiny", "seeds": 0})


def unmarked(source: str) -> list[str]:
    """The calls in a script that write a table and do not say what made it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WRITERS:
            keys = {key.arg: key for key in node.keywords if key.arg}
            given = inspect.signature(WRITERS[node.func.id]).bind(*node.args, **keys).arguments
            found += [] if "made_by" in given else [f"{node.lineno}: {node.func.id}"]
    return found


def test_every_script_that_writes_a_table_says_what_made_it():
    sources = {path.name: path.read_text(encoding="utf-8") for path in sorted(SCRIPTS.glob("*.py"))}
    assert {name: calls for name, source in sources.items() if (calls := unmarked(source))} == {}
    writing = {name for name, source in sources.items() if any(f"{writer}(" in source for writer in WRITERS)}
    wanted = {
        "collect_packs.py",
        "collect_tables.py",
        "estimate_optima.py",
        "fit_linear.py",
        "judge_claims.py",
        "plot_figure.py",
    }
    assert wanted <= writing
    assert unmarked("write_csv(path, table, LINEAR)") == ["1: write_csv"]
