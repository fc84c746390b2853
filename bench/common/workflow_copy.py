"""A copy of the workflow in a folder of its own: takes a folder, gives it the rules, the library and the configurations."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "workflow", "config", "profiles", "src", "docs", "requirements.lock")


def copy_workflow(folder: Path) -> Path:
    """Copy what a run needs, compiled modules too, without results and without the environment; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("*.egg-info"))
        else:
            shutil.copyfile(source, folder / name)
    return folder
