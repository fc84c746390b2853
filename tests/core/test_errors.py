"""How a program ends when it is told what it needs no longer."""

from __future__ import annotations

import os
import subprocess
import sys

PRINTING = """
from bayes_sgd.core.errors import one_line
with one_line():
    for _ in range(100_000):
        print("a line of a long table")
"""


def test_a_reader_that_leaves_early_is_no_fault() -> None:
    reading, writing = os.pipe()
    with subprocess.Popen([sys.executable, "-c", PRINTING], stdout=writing, stderr=subprocess.PIPE) as program:
        os.close(writing)
        assert os.read(reading, 10) == b"a line of "
        os.close(reading)
        _, complaint = program.communicate(timeout=600)
    assert complaint == b""
    assert program.returncode == 1
