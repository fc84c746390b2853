"""Digests: of code, changed by what code does and by nothing else."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from project import ROOT

from bayes_sgd.core import provenance
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import collect, write_csv, write_metadata, write_text
from bayes_sgd.core.provenance import NO_NUMBERS, code_digest, digest, environment, reached
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.metadata import recorded_tables, table_metadata, write_run_provenance
from bayes_sgd.figures.common import save

LIBRARY = ROOT / "src" / "bayes_sgd"
SCRIPTS = ROOT / "workflow" / "scripts"
ALL_SCRIPTS = sorted(path.stem for path in SCRIPTS.glob("*.py"))
WRITERS = {"write_csv": write_csv, "collect": collect, "save": save}

# reached through modules that make no number, and so not in every digest
BY_THE_WAY = {
    "core/cache.py": "digests are kept with it; what keeps compiled loops imports it itself",
    "experiment/grid.py": "config.py checks the grid with it; what makes cells and λ imports it itself",
    "experiment/feeds.py": "config.py checks what experiments feed with it; figures and claims import it themselves",
    "experiment/parts.py": "parts of the configuration; its values are parameters of the rules",
    "experiment/fields.py": "the types of its values",
    "experiment/cell.py": "config.py checks cells with it; what trains networks or reads them imports it itself",
    "experiment/noise_scale.py": "likewise, through cell.py",
}
OF_CELLS = (
    "train",
    "compute_evidence",
    "check_invariance",
    "compute_spectra",
    "measure_noise",
    "estimate_optima",
    "plot_figures",
)

A = """
from __future__ import annotations

import math
from collections.abc import Sequence
from bayes_sgd import style
from bayes_sgd.b import f, g as other


def a(values: Sequence[float], scale: float = 1.0) -> float:
    \'\'\'Doc.\'\'\'
    total: float = 0.0
    for value in values:
        total += scale * math.sqrt(value) + f(value)
    return other(total) + style.width  # a comment
"""
B = "def f(x):\n    return x\n\n\ndef g(x):\n    return 2 * x\n"
FILES = {"a.py": A, "b.py": B, "c.py": B.replace("2 * x", "3 * x"), "style.py": "width = 3\n", "core/errors.py": "word = 1\n"}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Gives a function that writes a package of these files and returns the digest of one of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def written(files: dict[str, str], of: str = "a.py") -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir()))) / "bayes_sgd"
        for name, text in files.items():
            write_text(folder / name, text)
        monkeypatch.setattr(provenance, "_PACKAGE", folder)
        return code_digest(folder / of)

    return written


SAME = {
    "a comment": {"a.py": A.replace("# a comment", "# another") + "\n# more\n"},
    "docstrings": {"a.py": A.replace("Doc.", "Other."), "b.py": '"""New."""\n' + B.replace("x):", 'x):\n    """New."""\n')},
    "annotations": {"a.py": A.replace(": Sequence[float]", "").replace(": float = 0.0", " = 0.0").replace(" -> float", "")},
    "the order of imports": {
        "a.py": A.replace("import math\n", "").replace("from bayes_sgd.b", "import math\nfrom bayes_sgd.b"),
    },
    "an import that is not used": {"a.py": A.replace("import math", "import math\nimport json")},
    "an import for annotations": {
        "a.py": A.replace(
            "from bayes_sgd import style",
            "from typing import TYPE_CHECKING\nfrom bayes_sgd import style\nif TYPE_CHECKING:\n    import bayes_sgd.c\n",
        ),
    },
    "the name of a local variable": {
        "a.py": A.replace("total", "result").replace("for value in", "for v in").replace("(value)", "(v)")
    },
    "a name that is imported by itself": {
        "a.py": A.replace("from bayes_sgd import style", "from bayes_sgd.style import width").replace("style.width", "width"),
    },
    "a module's full name": {
        "a.py": A.replace("from bayes_sgd import style", "import bayes_sgd.style").replace("style.w", "bayes_sgd.style.w")
    },
    "a relative import": {"a.py": A.replace("from bayes_sgd.b", "from .b")},
    "a module that makes no number": {
        "a.py": A.replace("import math", "import math\nimport bayes_sgd.core.errors"),
        "core/errors.py": "word = 2\n",
    },
    "a module that is not used": {"c.py": "y = 1\n"},
}
OTHER = {
    "a number in the module": {"a.py": A.replace("scale: float = 1.0", "scale: float = 2.0")},
    "a number in a module that it imports": {"b.py": B.replace("2 * x", "4 * x")},
    "a constant that nothing uses": {"b.py": B + "more = 1\n"},
    "where a name comes from": {
        "a.py": A.replace("bayes_sgd.b import f, g as other", "bayes_sgd.b import f\nfrom bayes_sgd.c import g as other")
    },
    "what a name stands for": {"a.py": A.replace("g as other", "f as other")},
    "a function of another package": {"a.py": A.replace("import math", "import cmath as math")},
    "the name of a parameter": {"a.py": A.replace("scale", "factor")},
}


@pytest.mark.parametrize("name", SAME)
def test_what_changes_no_number_changes_no_digest(package, name):
    assert package(FILES | SAME[name]) == package(FILES)


@pytest.mark.parametrize("name", OTHER)
def test_what_may_change_a_number_changes_the_digest(package, name):
    assert package(FILES | OTHER[name]) != package(FILES)


def test_a_swap_among_modules_that_are_all_reached_changes_the_digest(package):
    both = A.replace("from bayes_sgd.b import f, g as other", "from bayes_sgd.b import f\nfrom bayes_sgd.c import g as other")
    swapped = A.replace(
        "from bayes_sgd.b import f, g as other", "from bayes_sgd.c import f\nfrom bayes_sgd.b import g as other"
    )
    assert package(FILES | {"a.py": both}) != package(FILES | {"a.py": swapped})


def test_modules_that_move_into_packages_keep_the_digest(package):
    moved = A.replace("from bayes_sgd import style", "from bayes_sgd.figures import look as style")
    moved = moved.replace(
        "from bayes_sgd.b import f, g as other", "from ..core import f\nfrom bayes_sgd.core.functions import g as other"
    )
    files = {
        "__init__.py": '"""The package."""\n',
        "training/__init__.py": "from .sgd import a\n\n__all__ = ['a']\n",
        "training/sgd.py": moved,
        "core/__init__.py": '"""Core."""\n\nfrom .functions import f, g\n\n__all__ = ["f", "g"]\n',
        "core/functions.py": B,
        "figures/look.py": FILES["style.py"],
    }
    assert package(files, "training/sgd.py") == package(FILES)
    assert package(files | {"core/functions.py": B.replace("2 * x", "4 * x")}, "training/sgd.py") != package(FILES)


def test_a_module_is_named_by_its_file_or_in_the_package():
    assert code_digest("training/runner") == code_digest(LIBRARY / "training" / "runner.py")
    with pytest.raises(FileNotFoundError):
        code_digest("stores")


def test_an_edit_is_seen_in_one_process(package, tmp_path):
    before = package(FILES)
    file = next(tmp_path.rglob("b.py"))
    file.write_text(B + "# a longer file\nmore = 1\n")
    os.utime(file, ns=(1, 1))
    assert code_digest(file.with_name("a.py")) != before


def test_a_digest_is_kept_until_a_file_changes(tmp_path, monkeypatch, package):
    before = package(FILES)
    (kept,) = (tmp_path / "cache" / "bayes-sgd" / "code").iterdir()

    def made_again(*_):
        raise AssertionError("what is kept is made again")

    with monkeypatch.context() as patch:
        patch.setattr(provenance, "_content", made_again)
        assert package(FILES) == before, "in another folder, too"
        with pytest.raises(AssertionError, match="made again"):
            package(FILES | {"b.py": B.replace("2", "3")})
        patch.setattr(provenance, "NO_NUMBERS", {})
        with pytest.raises(AssertionError, match="made again"):
            package(FILES)
    assert package(FILES | {"b.py": B.replace("2", "3")}) != before
    for damaged in ("", "{", "[]", "{}", '{"made_of": 1}'):
        kept.write_text(damaged)
        assert package(FILES) == before
    kept.unlink()
    kept.mkdir()
    assert package(FILES) == before, "where nothing can be kept"


def test_the_digest_is_the_same_in_every_python(tmp_path):
    text = (
        "def f(x, *, w=3):\n"
        '    """Doc."""\n'
        '    return f"{x!r:>{w}}" f"a{{" "b" + f"{x:}{x}" + u"d" if x else {**x, 1: 1e-9, 2: None, 3: 1_000j}\n'
    )
    write_text(tmp_path / "text.py", text)
    assert code_digest(tmp_path / "text.py") == "c82772cb8dd888c718fb920f1018752c56a61ddc60d2645cacc571afe05e78b8"
    print_all = (
        "import sys; from pathlib import Path; from bayes_sgd.core.provenance import code_digest as c; "
        "print(*(c(p) for folder in sys.argv[1:] for p in sorted(Path(folder).rglob('*.py'))))"
    )
    others = [path for path in Path(sys.base_prefix).parent.glob("3.1[1-9]*/bin/python3") if path.stat().st_size]
    said = {
        subprocess.run(
            [str(python), "-c", print_all, str(SCRIPTS), str(tmp_path)],
            # a cache of its own, from which none reads the digests of another
            env=os.environ
            | {"PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1", "XDG_CACHE_HOME": str(tmp_path / f"{number}")},
            text=True,
            capture_output=True,
            check=True,
        ).stdout
        for number, python in enumerate([Path(sys.executable), *others])
    }
    assert len(said) == 1


def imported(file: Path) -> set[Path]:
    """The library's files that a file imports, by its words alone."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bayes_sgd"):
            place = LIBRARY.parent.joinpath(*str(node.module).split("."))
            if place.is_dir():
                modules = {place / f"{alias.name}.py" for alias in node.names}
                found |= {module if module.exists() else place / "__init__.py" for module in modules}
            else:
                found.add(place.with_suffix(".py"))
    return found


def test_every_module_that_a_script_reaches_is_in_the_digest_of_its_rule():
    rules = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    blocks = [block for block in re.split(r"(?m)^ *rule\b", rules) if "script:" in block]
    for block in blocks:
        (script,) = re.findall(r"\.\./scripts/(\w+)\.py", block)
        assert f'code=code("{script}")' in block or script == "record_provenance", block
    assert {re.findall(r"\.\./scripts/(\w+)\.py", block)[0] for block in blocks} == set(ALL_SCRIPTS)
    for script in ALL_SCRIPTS:
        seen, waiting = set(), [SCRIPTS / f"{script}.py"]
        while waiting:
            file = waiting.pop()
            if file not in seen:
                seen.add(file)
                waiting.extend(imported(file))
        left_out = {path.relative_to(LIBRARY).as_posix() for path in seen - reached(SCRIPTS / f"{script}.py")}
        assert left_out <= {*NO_NUMBERS, *BY_THE_WAY}, script
    assert all((LIBRARY / name).exists() for name in (*NO_NUMBERS, *BY_THE_WAY))
    for script in OF_CELLS:
        assert LIBRARY / "experiment/cell.py" in reached(SCRIPTS / f"{script}.py"), script


@pytest.mark.parametrize(
    ("script", "file", "old", "new"),
    [
        ("compute_evidence", "evidence/runner.py", "(seed, cell.n_train)", "(seed, cell.n_train // 2)"),
        ("check_invariance", "evidence/invariance.py", "EXAMPLES = 200", "EXAMPLES = 50"),
        ("compute_spectra", "curvature/spectrum.py", "(seed, plan.cell.n_train)", "(seed, plan.cell.n_train // 2)"),
        ("fit_linear", "experiment/grid.py", "* per_decade", "* 2 * per_decade"),
        ("plot_figures", "experiment/packs.py", "", "MORE = 1\n"),
        ("plot_figures", "experiment/grid.py", "product(*choices)", "zip(*choices)"),
        ("judge_claims", "claims/verdicts.py", "", "MORE = 1\n"),
        ("train", "core/rng.py", "", "MORE = 1\n"),
    ],
)
def test_an_edit_of_a_number_changes_the_digest_of_its_rule(tmp_path, monkeypatch, script, file, old, new):
    library = tmp_path / "bayes_sgd"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    monkeypatch.setattr(provenance, "_PACKAGE", library)
    before = {name: code_digest(tmp_path / "scripts" / f"{name}.py") for name in (script, "collect_tables")}
    text = (library / file).read_text(encoding="utf-8")
    assert old in text
    (library / file).write_text(text.replace(old, new) if old else text + new, encoding="utf-8")
    assert code_digest(tmp_path / "scripts" / f"{script}.py") != before[script]
    assert code_digest(tmp_path / "scripts" / "collect_tables.py") == before["collect_tables"]


def test_provenance_is_of_all_scripts_that_make_numbers():
    common = (ROOT / "workflow" / "rules" / "common.smk").read_text(encoding="utf-8")
    numbers = re.search(r"(?s)NUMBERS = \((.+?)\n\)", common)
    assert numbers is not None
    others = {"collect_evidence", "collect_tables", "collect_metrics", "record_provenance", "plot_figures", "report_html"}
    assert sorted(re.findall(r"\w+", numbers[1])) == sorted(set(ALL_SCRIPTS) - others)


def test_digest_is_of_content():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})


def test_environment_names_versions_and_machine():
    found = environment()
    assert found["versions"]["torch"].startswith("2.14.1")
    assert found["date_utc"].endswith("+00:00")
    assert found["cores"] >= 1


def test_record_of_a_run_names_its_tables(tmp_path):
    table = tmp_path / "tables" / "claims.csv"
    write_csv(table, pd.DataFrame({"x": [1]}))
    write_csv(table.with_name("of_an_earlier_configuration.csv"), pd.DataFrame({"x": [1]}))
    write_metadata(tmp_path / "manifest.json", {"name": "mnist5k"})
    write_run_provenance(tmp_path / "provenance.json", {"run": "tiny"}, "code", tmp_path / "manifest.json", [table])
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["run"] == "tiny"
    assert list(record["tables"]) == ["claims.csv"]
    assert record["data"] == {"name": "mnist5k"}
    assert "accepted" not in record
    assert recorded_tables(tmp_path, record) == [table]
    (tmp_path / "accepted.json").write_text('[{"files": {"c0de": 2}}]')
    write_run_provenance(tmp_path / "provenance.json", {"run": "tiny"}, "code", tmp_path / "manifest.json", [table])
    assert json.loads((tmp_path / "provenance.json").read_text())["accepted"] == [{"files": {"c0de": 2}}]
    write_csv(table, pd.DataFrame({"x": [2]}))
    with pytest.raises(
        UserError, match=r"tables/claims\.csv: is not the table that .*provenance\.json records; finish the run"
    ):
        recorded_tables(tmp_path, record)
    table.unlink()
    with pytest.raises(UserError, match=r"tables/claims\.csv: is missing, a table that"):
        recorded_tables(tmp_path, record)


def test_marks_are_those_of_the_whole_configuration_with_its_defaults():
    given = {"run": "tiny", "seeds": 2}
    whole = load_config(given).model_dump(mode="json")
    assert table_metadata(given, "c0de", 2, "cuda") == {
        "run": "tiny",
        "config_digest": digest(whole),
        "device": "cuda",
        "threads": 2,
        "code_digest": "c0de",
    }
    assert table_metadata(given) == table_metadata(whole)
    assert table_metadata(given)["config_digest"] != table_metadata({"run": "tiny", "seeds": 3})["config_digest"]
    with pytest.raises(UserError, match="seeds: 0"):
        table_metadata({"run": "tiny", "seeds": 0})


def unmarked(source: str) -> list[str]:
    """The calls in a script that write a table and do not say what made it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WRITERS:
            keys = {key.arg: key for key in node.keywords if key.arg}
            given = inspect.signature(WRITERS[node.func.id]).bind(*node.args, **keys).arguments
            found += [] if "metadata" in given else [f"{node.lineno}: {node.func.id}"]
    return found


def test_every_script_that_writes_a_table_says_what_made_it():
    sources = {path.name: path.read_text(encoding="utf-8") for path in sorted(SCRIPTS.glob("*.py"))}
    assert {name: calls for name, source in sources.items() if (calls := unmarked(source))} == {}
    writing = {name for name, source in sources.items() if any(f"{writer}(" in source for writer in WRITERS)}
    wanted = {
        "collect_tables.py",
        "estimate_optima.py",
        "fit_linear.py",
        "judge_claims.py",
        "plot_figures.py",
    }
    assert wanted <= writing
    assert unmarked("write_csv(path, table, LINEAR)") == ["1: write_csv"]
