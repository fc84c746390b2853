"""The one exception that a person is meant to read, and how a program ends with it."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# what a person can mend at the disk, with what to do about it; any other OSError is a fault of ours and keeps its traceback
_AT_THE_DISK = {
    errno.ENOSPC: "free some space and run again",
    errno.EDQUOT: "free some of your quota and run again",
    errno.EFBIG: "allow larger files and run again",
    errno.EROFS: "make the folder writable and run again",
    errno.EACCES: "allow reading and writing there and run again",
    errno.EPERM: "allow reading and writing there and run again",
    errno.EIO: "check the disk and run again",
    errno.ENAMETOOLONG: "shorten the setting that it is named after",
}
_NO_MEMORY = (
    *("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "alloc_failed"),
    *("failed to map segment", "can't start new thread"),
)
INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended


class UserError(Exception):
    """Bad input, reported in one line: file, key, value, what is allowed."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


@contextmanager
def one_line(log: str | Path | None = None) -> Iterator[None]:
    """Inside, what a person can mend becomes one line in the file `log`, else on standard error, and exit status 1.

    Of a job that fails Snakemake shows the log, as our profiles ask for; on standard error too, the line would be read twice.
    What a person can mend is a `UserError`, a disk that is full or not writable, too little memory, and Ctrl-C
    (exit status 130, always on standard error). A letter that the terminal's encoding lacks is printed as its code, so that no
    print fails.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a test's or a notebook's may be another
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except BrokenPipeError:  # who read the output, as `head`, wants no more; what is still to be flushed goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except (UserError, OSError, ImportError, MemoryError, RuntimeError, KeyboardInterrupt) as error:
        message = _message(error)
        if message is None:
            raise
        line = f"error: {message}"
        logged = log is not None and _appended(line, Path(log))
        if not logged or isinstance(error, KeyboardInterrupt):
            print(line, file=sys.stderr)
        raise SystemExit(INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1) from None


def _appended(line: str, file: Path) -> bool:
    """Whether the line could be added to the file: the disk may be what is full."""
    try:
        with file.open("a", encoding="utf-8") as stream:
            print(line, file=stream)
    except OSError:
        return False
    return True


def warn_into(log: str | Path) -> Callable[[str], None]:
    """Give a function that tells a line of warning, on standard error and in the file `log`."""

    def warn(line: str) -> None:
        with Path(log).open("a", encoding="utf-8") as file:
            print(f"warning: {line}", file=file)
        print(f"warning: {line}", file=sys.stderr)

    return warn


def _message(error: BaseException) -> str | None:
    """What to tell of an error, in one line; None of one that is a fault of ours."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; what is complete is kept, and the same command goes on from there"
    if isinstance(error, OSError) and error.errno in _AT_THE_DISK:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; {_AT_THE_DISK[error.errno]}"
    if is_out_of_memory(error):
        first = " ".join(str(error).split(". ")[0].split()) or type(error).__name__
        return f"out of memory ({first}); give the job more memory and run again"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, NumPy's, torch's, of a GPU or not, or that of a library while it was loaded."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError | ImportError | OSError) and any(word in str(error).lower() for word in _NO_MEMORY)
