"""Snakemake in a process of its own, which says its peak memory: planning is all that a dry run does.

    python -m bench.workflow.one_plan ARGUMENTS

ARGUMENTS are those of `snakemake`. Prints, last, a line of JSON: `peak_mb`.
"""

import json
import sys

from bench.common.memory import memory_mb
from snakemake.cli import main as snakemake


def main(arguments: list[str]) -> None:
    """Call Snakemake; it ends the process itself, with an error, if it fails."""
    try:
        snakemake(arguments)
    except SystemExit as end:
        if end.code:
            raise
    print(json.dumps({"peak_mb": memory_mb("VmHWM")}))


if __name__ == "__main__":
    main(sys.argv[1:])
