"""The recipe "an axis" of docs/architecture.md, followed in a copy of the library."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import preloaded
from project import ROOT

ASK = """
import json, sys
from bayes_sgd.core.schema import ADVICE, CELLS, NETWORK_EVIDENCE, SPECTRA
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.packs import packs
scaled = json.loads(sys.argv[1])
def plans(config): return {name: [plan.to_dict() for plan in members] for name, members in packs(load_config(config)).items()}
print(json.dumps({
    "shipped": [plans(f"config/{name}.yaml") for name in ("config", "standard", "extended", "paper")],
    "scaled": list(plans(scaled)) if scaled else [],
    "tables": ["init_bias" in table.names for table in (ADVICE, CELLS, NETWORK_EVIDENCE, SPECTRA)],
}))
"""


def asked(library: Path, config: dict[str, Any] | None) -> dict[str, Any]:
    command = [str(preloaded.programs() / "python"), "-c", ASK, json.dumps(config)]
    environment = os.environ | {"PYTHONPATH": str(library)}
    return json.loads(subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout)


def test_a_new_axis_reaches_all_by_itself_and_trains_nothing_again(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name, old, new in (
        ("experiment/cell.py", "    updates: int\n", "    updates: int\n    init_bias: float = 0.0\n"),
        (
            "experiment/cell.py",
            "\n\n@dataclass(frozen=True, order=True)",
            '    init_bias: float = 0.0\n    """Where biases start."""\n\n\n@dataclass(frozen=True, order=True)',
        ),
        ("core/columns.py", "\n)\nSEED", '\n    Column("init_bias", "1", "Where biases start.", 0.0),\n)\nSEED'),
    ):
        file = tmp_path / "src/bayes_sgd" / name
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name}: the recipe no longer fits"
        file.write_text(text.replace(old, new), encoding="utf-8")
    grid = [{"init_bias": [0.5, 0.0], "batch_size": 4}]
    before = asked(ROOT / "src", None)
    after = asked(tmp_path / "src", {"run": "scaled", "experiments": {"scales": {"axis": "init_bias", "grid": grid}}})
    assert after["shipped"] == before["shipped"]
    assert after["scaled"] == ["real_h200_n1000_b4_independent", "real_h200_n1000_b4_independent_init_bias0.5"]
    assert after["tables"] == [True] * 4
