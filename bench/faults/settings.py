"""Faults that no process and no disk has: numbers that diverge, a GPU's memory, clocks, a library that changes in between."""

from __future__ import annotations

import io
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from bench.faults.stage import Case, Row, Stage, judged

YEAR = 365 * 24 * 3600.0


def _diverges(case: Case, stage: Stage, folder: Path) -> Row:
    """A learning rate at which every network diverges, beside those of the reference."""
    workflow = stage.prepared.clone(folder)
    rates = stage.config["experiments"]["rates"]
    grid = [{"learning_rate": [0.05, 0.1, case.more["rate"]], "batch_size": rates["grid"][0]["batch_size"]}]
    workflow.configure(stage.config | {"experiments": {"rates": rates | {"grid": grid}}})
    ended = workflow.run()
    cells, before = (pd.read_csv(io.BytesIO(tables["cells.csv"])) for tables in (workflow.tables(), stage.tables))
    bad = cells["learning_rate"] == case.more["rate"]
    finite = bool(np.isfinite(cells.select_dtypes("number").to_numpy()).all())
    others = cells[~bad].reset_index(drop=True).equals(before)
    seen = f"{ended.seen}; {int(cells.loc[bad, 'diverged'].sum())} of {bad.sum()} rows diverged, all columns finite: {finite}"
    row = judged(case, stage, workflow, ended, seen=seen)
    return replace(row, tables_equal=others and finite and ended.code == 0, remedy="none needed (the other cells are compared)")


def _gpu_memory(case: Case, stage: Stage, folder: Path) -> Row:
    """The error that torch raises at a full GPU, where more than two networks train; then `stack` is lowered, as told."""
    workflow = stage.prepared.clone(folder)
    training = folder / "src" / "bayes_sgd" / "training" / "sgd.py"
    text = training.read_text(encoding="utf-8")
    head = '        """Train on to update `until`."""\n'
    error = "torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB.')"
    if head not in text:
        raise RuntimeError(f"{training}: the place to break is not there")
    training.write_text(text.replace(head, f"{head}        if len(self.networks) > 2:\n            raise {error}\n"))
    ended = workflow.run()
    lower = ("`stack: 2` in the configuration", lambda: workflow.configure(stage.config | {"stack": 2}))
    return judged(case, stage, workflow, ended, [lower])


def _clock(case: Case, stage: Stage, folder: Path) -> Row:
    """Files that seem to come from the future or from the past."""
    workflow = (stage.prepared if case.more["prepared"] else stage.finished).clone(folder)
    for path in sorted(folder.glob(case.more["files"])):
        if path.is_file():
            moment = time.time() + case.more["years"] * YEAR
            os.utime(path, (moment, moment))
    mend = ("touch the files", lambda: [path.touch() for path in folder.glob(case.more["files"])])
    ended = workflow.run()
    return judged(case, stage, workflow, ended, [mend] if ended.code else [("nothing", lambda: None)])


def _library_changes(case: Case, stage: Stage, folder: Path) -> Row:
    """A module of the library is edited while a job that has read it goes on."""
    workflow = stage.prepared.clone(folder)
    started = time.monotonic()
    process = workflow.start()
    workflow.wait_for(".train.py")
    time.sleep(1)
    training = folder / "src" / "bayes_sgd" / "training" / "sgd.py"
    training.write_text(training.read_text(encoding="utf-8") + "\nMORE = 1\n", encoding="utf-8")
    ended = workflow.end(process, started)
    return judged(case, stage, workflow, ended, [("nothing", lambda: None)], lost="nothing (the edited rules run again)")


def cases() -> list[Case]:
    """All of them."""
    planned = [Case("a cell that diverges", "learning rate 1e30", "plain", _diverges, {"rate": 1e30})]
    planned.append(Case("a GPU out of memory (simulated)", "in the first update", "plain", _gpu_memory))
    planned.append(Case("the library is edited while the run goes on", "during train", "plain", _library_changes))
    for files, years, prepared in (
        ("data/prepared/**/*", 3, False),
        ("data/prepared/**/*", 3, True),
        ("results/**/*", -30, False),
        ("results/**/*", 3, False),
        ("**/*", -30, False),
    ):
        about = f"{files} {abs(years)} years {'ahead' if years > 0 else 'back'}, {'before' if prepared else 'after'} training"
        more = {"files": files, "years": years, "prepared": prepared}
        planned.append(Case("a clock that jumps", about, "plain", _clock, more))
    return planned
