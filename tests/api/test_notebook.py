"""The notebook: its cells run in order, what they say holds, and what is stored with it is small and whole."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from project import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "batch_size.ipynb"


@pytest.fixture(scope="module")
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_its_cells_run_in_order_and_random_labels_have_the_worse_evidence(notebook, capsys) -> None:
    found: dict[str, Any] = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            exec(cell.source, found)
    assert set(found["sweep"].optimum()["learning_rate"]) == {0.05, 0.1, 0.2}
    ratios = [float(line.split("E = ")[1].split()[0]) for line in capsys.readouterr().out.splitlines() if "E = " in line]
    assert max(ratios[:2]) < 0 < min(ratios[2:])


def test_what_is_stored_was_run_in_order_and_is_small(notebook) -> None:
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert NOTEBOOK.stat().st_size < 200_000
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
