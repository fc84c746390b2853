"""Memory of this process, as Linux tells it."""

import math
from pathlib import Path


def memory_mb(name: str) -> float:
    """VmRSS (now) or VmHWM (its peak) in MB; NaN where the system does not tell.

    Not `getrusage`, whose peak is the parent's if that was larger.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return math.nan
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024
