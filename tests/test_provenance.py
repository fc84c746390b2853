"""Digests: of code, changed by what code does and by nothing else."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from bayes_sgd import provenance
from bayes_sgd.provenance import code_digest, digest, environment, record_run
from bayes_sgd.tables import write_csv, write_facts


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
