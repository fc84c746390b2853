"""A training job as the workflow's script runs it, in a process of its own, which says how long what took and its peak memory.

    python -m bench.workflow.one_job start|whole FOLDER CELLS UPDATES SEEDS

FOLDER has the prepared data. `start` ends with the first update, `whole` trains the pack and writes its files there. Prints a
line of JSON: seconds since the process began (`imported`, `loaded`, `first_update`, `ended`) and `peak_mb`.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from bench.common.memory import memory_mb


def main(how: str, folder: Path, cells: int, updates: int, seeds: int) -> None:
    """Time one job; the library is imported here, for its import is part of what is timed."""
    begun = time.perf_counter()
    import torch

    from bayes_sgd.experiment.cell import Cell, Plan
    from bayes_sgd.experiment.config import DataConfig
    from bayes_sgd.training.runner import RunSettings, load_labelled, train_pack
    from bayes_sgd.training.sgd import NetworkStack

    said = {"imported": time.perf_counter() - begun}
    cell = Cell("real", (200,), 1000, 32, 0.01, 0.9, 0.0, 0.0, "independent", updates)
    plans = [Plan(replace(cell, learning_rate=0.01 * (i + 1)), tuple(range(seeds)), (updates,)) for i in range(cells)]
    run = RunSettings(DataConfig(), device="cpu")
    if how == "start":
        torch.set_num_threads(1)
        data = load_labelled(folder, run.data, "real", range(seeds), run.torch_device)
        said["loaded"] = time.perf_counter() - begun
        NetworkStack([(plan.cell, seed) for plan in plans for seed in range(seeds)], data).run(1)
        said["first_update"] = time.perf_counter() - begun
    else:
        files = [folder / f"job.{kind}" for kind in ("parquet", "safetensors")]
        for file in files:
            file.unlink(missing_ok=True)
        train_pack(plans, folder, run, *files, log=lambda line: None)
    print(json.dumps(said | {"ended": time.perf_counter() - begun, "peak_mb": memory_mb("VmHWM")}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
