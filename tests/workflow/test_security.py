"""Nothing is unpickled, evaluated or given to a shell; nothing in a configuration leaves the project's folders."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest
from project import ROOT

from bayes_sgd.core.errors import UserError
from bayes_sgd.data import sources as raw_files
from bayes_sgd.data.datasets import prepared_name
from bayes_sgd.data.sources import read_idx_set
from bayes_sgd.data.user_npz import read_headers, read_user_file
from bayes_sgd.experiment.config import Config, DataConfig, load_config
from bayes_sgd.experiment.packs import packs
from bayes_sgd.report.publish import folder_of

PYTHON = sorted(path for part in ("src", "workflow", "bench") for path in (ROOT / part).rglob("*.py"))
RULES = [ROOT / "Snakefile", ROOT / "workflow" / "Snakefile", *sorted((ROOT / "workflow").rglob("*.smk"))]
ESCAPES = [
    "..",
    "../x",
    "../../etc",
    "/etc",
    "a/b",
    "a\\b",
    "a\x00b",
    "a b",
    "~",
    "~root",
    "$HOME",
    "{x}",
    "a/../../b",
    ".",
    "",
    "-x/..",
]

# modules that unpickle or run what they are given
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle", "code", "pty"}
# what may be taken from them: processes that exchange what this program itself made, and read no file
HARMLESS = {("joblib", "Parallel"), ("joblib", "delayed")}
BUILTINS = {"eval", "exec", "compile", "__import__", "breakpoint"}
CALLS = {
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("torch.load", "torch.save", "torch.hub.load", "torch.jit.load", "pandas.read_pickle", "pd.read_pickle"),
    *(
        "yaml.load",
        "yaml.load_all",
        "yaml.full_load",
        "yaml.unsafe_load",
        "yaml.dump_all",
        "tarfile.open",
        "shutil.unpack_archive",
    ),
    *("extractall", "to_pickle", "read_pickle", "set_weights_only"),
}


def dotted(node: ast.expr) -> str:
    """The name that is called, as "torch.load"; of a method of anything else, its last part."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else node.attr
    return ""


def complaints(source: str) -> list[str]:
    """What a module must not do, with its lines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [] if {(node.module, name) for name in names} <= HARMLESS else [node.module or ""]
            found += [f"{node.lineno}: imports {name}" for name in names if name.split(".")[0] in MODULES]
        if not isinstance(node, ast.Call):
            continue
        name, keys = dotted(node.func), {key.arg: key.value for key in node.keywords}
        if name in BUILTINS | CALLS or name.split(".")[-1] in ("extractall", "to_pickle", "read_pickle"):
            found.append(f"{node.lineno}: calls {name}")
        if name in ("np.load", "numpy.load", "np.lib.format.read_array", "numpy.lib.format.read_array"):
            allow = keys.get("allow_pickle")
            if not (isinstance(allow, ast.Constant) and allow.value is False):
                found.append(f"{node.lineno}: {name} without allow_pickle=False")
        shell = keys.get("shell")
        if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
            found.append(f"{node.lineno}: {name} with a shell")
    return found


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_evaluated_or_given_to_a_shell(path):
    assert complaints(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "bad",
    [
        *(
            "import pickle",
            "from joblib import load",
            "from joblib import Parallel, load",
            "import joblib",
            "eval('1')",
            "exec(x)",
            "os.system('ls')",
            "torch.load(x)",
        ),
        *("np.load(x)", "np.load(x, allow_pickle=True)", "yaml.load(x)", "subprocess.run('ls', shell=True)"),
        *("pd.read_pickle(x)", "frame.to_pickle(x)", "zipfile.ZipFile(x).extractall()", "subprocess.run(x, shell=y)"),
    ],
)
def test_the_test_above_finds_what_it_looks_for(bad):
    assert len(complaints(bad)) == 1


@pytest.mark.parametrize("path", RULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rules_give_nothing_to_a_shell(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^\s*shell\s*:|\bshell\(|\bos\.system\b|\bsubprocess\b|\beval\(|\bexec\(", text, re.MULTILINE)
    assert re.search(r"^\s*run\s*:", text, re.MULTILINE) is None, "a rule calls a script, it is none"


def test_shell_scripts_of_the_benchmarks_take_no_configuration():
    for path in (path for path in PYTHON if path.is_relative_to(ROOT / "bench")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert "yaml.load(" not in node.value


# names and paths


@pytest.mark.parametrize("name", ESCAPES)
def test_no_name_leaves_the_folders(name):
    grid = {"axis": "learning_rate", "grid": [{"batch_size": 4}]}
    for config in (
        {"run": name},
        {"run": "tiny", "data": {"name": name}},
        {"run": "tiny", "experiments": {name: grid}},
        {"run": "tiny", "experiments": {"a": grid | {"cell": {"labels": name}}}},
        {"run": "tiny", "experiments": {"a": grid | {"cell": {"sampling": name}}}},
        {"run": "tiny", "initialization": name},
        {"run": "tiny", "device": name},
    ):
        with pytest.raises(UserError):
            load_config(config)
    with pytest.raises(UserError):
        folder_of(name)


@pytest.mark.parametrize(
    "path", ["../mine.npz", "/etc/passwd", "a/../../b.npz", "~/x.npz", "$HOME/x.npz", "{run}.npz", "x y.npz"]
)
def test_a_users_file_lies_anywhere_and_what_is_made_of_it_in_the_project(path, monkeypatch):
    """`data.path` is the one declared way out: it is read, never written, and its name becomes no path."""
    monkeypatch.setattr("bayes_sgd.data.datasets.file_digest", lambda path: "0" * 64)
    name = prepared_name(DataConfig(name="file", path=path))
    assert re.fullmatch(r"file/[0-9a-f]{12}", name)


def test_data_raw_is_a_declared_folder_and_holds_known_names_only(tmp_path):
    """`data.raw` may be absolute (a shared folder of data sets): only the published files of a set are read or made there."""
    assert DataConfig(raw="/data/sets").raw == "/data/sets"
    for name in ("mnist", "fashion_mnist", "kmnist"):
        assert set(raw_files._FOLDERS[name]) <= set("MNISTFashionKMNIST")
    assert all(re.fullmatch(r"[a-z0-9-]+", file) for file in raw_files._FILES)


def test_names_of_packs_are_names_of_files():
    grid = [{"labels": ["real", "random", "random-0.25"], "hidden_sizes": [[9], [9, 8]], "batch_size": [1, 2], "l2": [0, 1e-7]}]
    for pack in ([], ["learning_rate"], ["batch_size", "n_train", "l2"]):
        config = Config.model_validate({"run": "a", "pack": pack, "experiments": {"e": {"axis": "labels", "grid": grid}}})
        for name in packs(config):
            assert re.fullmatch(r"[A-Za-z0-9_.+-]+", name)
            assert ".." not in name
            assert len(name) < 200


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(tmp_path):
    from bayes_sgd.core.io import write_text

    (tmp_path / "outside").write_text("precious")
    (tmp_path / "inside").symlink_to(tmp_path / "outside")
    write_text(tmp_path / "inside", "new")
    assert (tmp_path / "outside").read_text() == "precious"
    assert not (tmp_path / "inside").is_symlink()


def test_an_npz_with_objects_or_strange_names_is_refused(tmp_path):
    path = tmp_path / "mine.npz"
    y = np.arange(4) % 2
    x = np.empty((4, 4), dtype=object)
    x[:] = [[print]]
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    for read in (read_headers, read_user_file):
        with pytest.raises(UserError, match="x_train"):
            read(path)
    np.savez(path, **{"../x_train": y, "y_train": y, "x_test": y, "y_test": y})
    with pytest.raises(UserError, match="x_train is missing"):
        read_headers(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.npz"], "nothing is unpacked to the disk"


# downloads


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_downloads_go_over_tls_and_are_checked(name, tmp_path, monkeypatch):
    from torchvision import datasets
    from torchvision.datasets import utils

    asked: list[tuple[str, str | None]] = []

    def download(url: str, root: str, filename: str, md5: str | None = None) -> None:
        asked.append((url, md5))
        raise OSError("no network in a test")

    monkeypatch.setattr(utils, "download_url", download)
    with pytest.raises(UserError, match="not there, and the download failed"):
        read_idx_set(name, tmp_path)
    assert asked
    assert all(url.startswith("https://") for url, _ in asked)
    checksums = dict(getattr(datasets, raw_files._FOLDERS[name]).resources)
    assert all(md5 == checksums[url.rsplit("/", 1)[1]] for url, md5 in asked)


def test_no_address_without_tls_in_the_product():
    for path in [*PYTHON, *RULES, *sorted((ROOT / "config").glob("*.yaml"))]:
        assert "http://" not in path.read_text(encoding="utf-8"), path
