"""Files that are cut short, altered in one byte, or gone: each kind that the workflow reads."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from bench.faults.stage import Case, Row, Stage, judged
from bench.faults.workflow import obey

from bayes_sgd.claims.claims import load_claims
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import read_csv, read_parquet
from bayes_sgd.core.tensors import read_tensors
from bayes_sgd.data.datasets import load_prepared
from bayes_sgd.data.labels import load_labels
from bayes_sgd.data.sources import read_idx_set
from bayes_sgd.data.user_npz import read_user_file
from bayes_sgd.experiment.config import load_config

OTHER_TYPES = (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, b"PK\x03\x04" + bytes(200))
DAMAGES = ("cut short", "one byte flipped", "missing")
CUTS = 10
_TABLES = "results/tiny/tables/*"
_UNTRAINED = ("results/tiny/cells/*.parquet", "results/tiny/weights/*", "logs/tiny/train/*", _TABLES)


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        file: pattern of its path.
        read: its reader, given the path.
        stage: the configuration whose run has such a file.
        remove: patterns of what is made from it, removed so that it has to be read again.
        mine: a file of the user's, which is put back, for no producer can make it again.
        held: it holds trained cells, which are trained again where it is damaged.
        rename: files that get another name before (a finished pack turned into an unfinished one).
        again: keys that are added to the configuration, so that the job that reads the file runs.
        goes: that the file is gone is tried as well.
    """

    file: str
    read: Callable[[Path], object]
    stage: str = "plain"
    remove: tuple[str, ...] = ()
    mine: bool = False
    held: bool = False
    rename: tuple[tuple[str, str], ...] = ()
    again: tuple[tuple[str, object], ...] = ()
    goes: bool = False


_PARTIAL = (
    ("results/tiny/cells/*.parquet", ".partial.parquet"),
    ("results/tiny/weights/*.safetensors", ".partial.safetensors"),
)
_PREPARED = "data/prepared/*"
_RAW = "data/raw/MNIST/raw"
_MADE_AGAIN = (_PREPARED + "/*", *_UNTRAINED)
_OPTIMA = ("results/tiny/tables/optimum.csv",)
_CLAIMS = ("results/tiny/tables/claims.csv",)
_FIGURE = ("results/tiny/figures/fig4.*", "results/tiny/metrics.json")


def _labels(path: Path) -> object:
    return load_labels(path.parent, "real", 0)


KINDS = (
    Kind("data/prepared/*/data.safetensors", lambda path: load_prepared(path.parent), remove=_UNTRAINED, goes=True),
    Kind("data/prepared/*/manifest.json", lambda path: load_prepared(path.parent), remove=_UNTRAINED),
    Kind("data/prepared/*/labels_real.safetensors", _labels, remove=_UNTRAINED),
    Kind("data/prepared/*/labels_real.json", _labels, remove=_UNTRAINED, goes=True),
    Kind("results/tiny/cells/*.parquet", read_parquet, remove=(_TABLES,), held=True, goes=True),
    Kind("results/tiny/cells/*.partial.parquet", read_parquet, held=True, rename=_PARTIAL),
    Kind("results/tiny/weights/*.safetensors", read_tensors, held=True, again=(("stack", 3),)),
    Kind("results/tiny/weights/*.partial.safetensors", read_tensors, held=True, rename=_PARTIAL),
    Kind("results/tiny/linear/real.csv", read_csv, "full", (_TABLES,)),
    Kind("results/tiny/tables/linear.csv", read_csv, "full", _CLAIMS),
    Kind("results/tiny/tables/cells.csv", read_csv, remove=_OPTIMA, goes=True),
    Kind("results/tiny/tables/cells.json", lambda path: read_csv(path.with_suffix(".csv")), remove=_OPTIMA),
    Kind("results/tiny/tables/optimum.csv", read_csv, "full", _FIGURE),
    Kind("results/tiny/tables/scaling.csv", read_csv, remove=_CLAIMS),
    Kind("config/claims.yaml", load_claims, remove=_CLAIMS, mine=True, goes=True),
    Kind("config/tiny.yaml", load_config, mine=True),
    Kind("data/mine.npz", read_user_file, "file", _MADE_AGAIN, mine=True, goes=True),
    Kind(
        f"{_RAW}/train-images-idx3-ubyte.gz",
        lambda path: read_idx_set("mnist", path.parents[2]),
        "mnist",
        _MADE_AGAIN,
        mine=True,
        goes=True,
    ),
)


def write_images(path: Path) -> None:
    """A user's own images: 300 and 200 of 6 x 6 pixels, three classes."""
    draws = np.random.default_rng(0)
    x, y = draws.integers(0, 256, (500, 6, 6), dtype=np.uint8), np.arange(500) % 3
    x[np.arange(500), y, y] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x_train=x[:300], y_train=y[:300], x_test=x[300:], y_test=y[300:])


def damage(path: Path, how: str, draw: random.Random) -> str:
    """Damage a file; gives what was done to it. A flipped byte leaves the file's time as it was."""
    content, times = path.read_bytes(), path.stat()
    place = draw.randrange(1, len(content))
    if how == "missing":
        path.unlink()
    elif how == "one byte flipped":
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :])
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        return f"byte {place} of {len(content)}"
    else:
        path.write_bytes(content[:place])
        return f"at byte {place} of {len(content)}"
    return how


def _refused(kind: Kind, path: Path) -> int:
    """How many of ten cuts, the first of them to nothing, and of two other contents the reader refuses in one line."""
    content, refused = path.read_bytes(), 0
    for damaged in (*(content[: cut * len(content) // CUTS] for cut in range(CUTS)), *OTHER_TYPES):
        path.write_bytes(damaged)
        try:
            kind.read(path)
        except UserError:
            refused += 1
    path.write_bytes(content)
    return refused


def _damaged(case: Case, stage: Stage, folder: Path) -> Row:
    kind, how = case.more["kind"], case.more["how"]
    workflow = stage.finished.clone(folder)
    for pattern, suffix in kind.rename:
        path = workflow.path(pattern)
        path.rename(path.with_suffix(suffix))
    for path in (path for pattern in (*kind.remove, *[_TABLES] * bool(kind.rename)) for path in folder.glob(pattern)):
        path.unlink()
    workflow.configure(stage.config | dict(kind.again))
    path = workflow.path(kind.file)
    content = path.read_bytes()
    moment = ""
    if how == "cut short":
        moment = f"; its reader refuses {_refused(kind, path)} of {CUTS + len(OTHER_TYPES)} other cuts and types"
    moment = damage(path, how, random.Random(f"{kind.file} {how}")) + moment
    ended = workflow.run()
    deletions = [(f"delete {name}", lambda: None) for name in obey(workflow, ended.output)] if not kind.mine else []
    back = [(f"put {path.name} back", lambda: _put_back(path, content))] if kind.mine else []
    row = judged(case, stage, workflow, ended, deletions + back, moment=moment)
    if kind.mine and row.lost != "nothing":
        return replace(row, lost="nothing (what was made from the damaged file is made again)")
    return replace(row, lost=f"what the damaged file held ({row.lost})") if kind.held and "stacks" in row.lost else row


def _put_back(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _name(kind: Kind) -> str:
    return kind.file.replace("results/tiny/", "").replace("data/prepared/*/", "").replace(_RAW + "/", "")


def cases() -> list[Case]:
    """Every kind of file with every damage."""
    pairs = [(kind, how) for kind in KINDS for how in DAMAGES if kind.goes or how != "missing"]
    return [Case(f"{_name(kind)}: {how}", how, kind.stage, _damaged, {"kind": kind, "how": how}) for kind, how in pairs]
