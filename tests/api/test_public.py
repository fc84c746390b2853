"""What `import bayes_sgd` offers, what it costs, and that the examples in its docstrings hold."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from operator import attrgetter

import pytest
from project import ROOT

import bayes_sgd as bs
from bayes_sgd.api import advice, data, networks, sweeps
from bayes_sgd.api.settings import OF_RUN, OF_STATISTICS
from bayes_sgd.experiment.cell import CELL_FIELDS, CellDefaults


def test_the_import_costs_no_torch_and_no_numpy() -> None:
    code = "import sys, bayes_sgd; dir(bayes_sgd); sys.exit(bool({'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_all_public_names_are_there_and_no_other() -> None:
    for name in bs.__all__:
        assert getattr(bs, name).__name__ == name
        assert name in dir(bs)
    with pytest.raises(AttributeError, match="no attribute 'sweeps_of'"):
        attrgetter("sweeps_of")(bs)


def test_the_signature_of_a_sweep_has_every_field_of_a_cell() -> None:
    parameters = inspect.signature(bs.sweep).parameters
    assert all(parameters[name].default == getattr(CellDefaults(), name) for name in CELL_FIELDS)
    assert {*OF_RUN, *OF_STATISTICS, "seeds", "n_jobs"} <= set(parameters)
    assert "settings" not in parameters


@pytest.mark.parametrize("module", [advice, data, networks, sweeps], ids=lambda module: module.__name__)
def test_the_examples_of_the_docstrings_hold(module) -> None:
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.attempted
    assert not result.failed


def test_every_example_in_the_library_is_run() -> None:
    found = {p for p in (ROOT / "src" / "bayes_sgd").rglob("*.py") if "    >>> " in p.read_text(encoding="utf-8")}
    assert {p.name for p in found} == {"advice.py", "data.py", "networks.py", "sweeps.py"}
    assert {p.parent.name for p in found} == {"api"}
