from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT

from bayes_sgd.core.errors import UserError
from bayes_sgd.data import sources as raw_files
from bayes_sgd.data.datasets import check_source, data_sizes, load_prepared, prepare
from bayes_sgd.data.sources import parse_idx
from bayes_sgd.experiment.config import DataConfig

RAW = Path(os.environ.get("BAYES_SGD_DATA") or ROOT / "data" / "raw")
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
needs_mnist = pytest.mark.skipif(
    not all((RAW / "MNIST" / "raw" / f"{file}.gz").is_file() for file in FILES),
    reason=f"the four .gz files of MNIST are not in {RAW}/MNIST/raw: set BAYES_SGD_DATA to the folder that holds MNIST/raw",
)


def fails(data: DataConfig, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        prepare(data, folder)
    message = str(caught.value)
    assert "\n" not in message
    assert not folder.exists(), "bad input must write nothing"
    return message


def lay_out(raw: Path, how: str, name: str = "MNIST") -> Path:
    folder = raw / name / "raw"
    folder.mkdir(parents=True)
    for file in FILES:
        source = RAW / "MNIST" / "raw" / f"{file}.gz"
        if how == "gz":
            (folder / source.name).symlink_to(source)
        else:
            (folder / file).write_bytes(gzip.decompress(source.read_bytes()))
    return folder


@pytest.fixture(scope="module")
def gunzipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("gunzipped"), "plain")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", unreachable)


@needs_mnist
def test_mnist(tmp_path: Path, gunzipped: Path) -> None:
    lay_out(tmp_path / "raw", "gz")
    config = DataConfig(name="mnist", raw=str(tmp_path / "raw"))
    check_source(config)
    assert data_sizes(config).pool == 60_000
    prepare(config, tmp_path / "gz")
    prepare(DataConfig(name="mnist", raw=str(gunzipped.parents[1])), tmp_path / "plain")
    gz, plain = ((tmp_path / how / "data.safetensors").read_bytes() for how in ("gz", "plain"))
    assert gz == plain
    data = load_prepared(tmp_path / "gz", config)
    assert (data.x_train.shape, data.x_test.shape, data.classes) == ((60_000, 784), (10_000, 784), 10)
    everything, known = np.concatenate([data.y_train, data.y_test]), data_sizes(config)
    assert known.digits == ((everything == 0).sum(), (everything == 1).sum())
    assert known.train_digits == (data.y_train < 2).sum()
    # The mean and the class counts of MNIST are known from elsewhere.
    assert data.x_train.mean(dtype=float) == pytest.approx(0.1307, abs=5e-5)
    assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (tmp_path / "raw").exists()


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None, offline: None, file: str, packed: bool
) -> None:
    files = drawn_files()
    monkeypatch.setitem(raw_files._CONTENT_MD5, "mnist", tuple(hashlib.md5(files[name]).hexdigest() for name in FILES))
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in files.items():
        (raw / f"{name}.gz" if packed else raw / name).write_bytes(gzip.compress(content) if packed else content)
    target = raw / f"{file}.gz" if packed else raw / file
    whole = target.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    config = DataConfig(name="mnist", raw=str(tmp_path))
    for content in (whole[:middle], whole[:-1], flipped, b"", b"not an idx file"):
        target.write_bytes(content)
        message = fails(config, tmp_path / "out")
        assert str(target) in message
        assert "damaged" in message
    target.unlink()
    message = fails(config, tmp_path / "out")
    assert str(raw) in message
    assert "download failed" in message
    target.write_bytes(whole)
    prepare(config, tmp_path / "out")


def test_no_files_and_no_network(tmp_path: Path, offline: None) -> None:
    for name, folder in (("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")):
        message = fails(DataConfig(name=name, raw=str(tmp_path / "raw")), tmp_path / "out")
        assert f"into {tmp_path / 'raw' / folder / 'raw'}" in message
        assert "no route to host" in message
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets of 600 and 100 images: nothing that is tested with them depends on how many there are."""
    shapes = ((600, 28, 28), (600,), (100, 28, 28), (100,))
    monkeypatch.setattr(raw_files, "_FILES", dict(zip(FILES, shapes, strict=True)))


def drawn_files(top_label: int = 9) -> dict[str, bytes]:
    """The files of a set: images of noise, and labels from 0 to `top_label`."""
    draws = np.random.default_rng(0)
    files = {}
    for file, shape in raw_files._FILES.items():
        header = bytes([0, 0, 8, len(shape)]) + np.array(shape, dtype=">u4").tobytes()
        body = draws.integers(0, 256, shape) if len(shape) == 3 else np.arange(shape[0]) % (top_label + 1)
        files[file] = header + body.astype(np.uint8).tobytes()
    return files


def test_kmnist_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None) -> None:
    raw = tmp_path / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    config = DataConfig(name="kmnist", raw=str(tmp_path))
    for file, content in drawn_files(top_label=10).items():
        (raw / file).write_bytes(content)
    assert "label 10" in fails(config, tmp_path / "out")
    files = drawn_files()
    for file, content in files.items():
        (raw / file).write_bytes(content)
    prepare(config, tmp_path / "plain")
    assert load_prepared(tmp_path / "plain", config).x_test.shape == (100, 784)
    packed = {file: gzip.compress(content, 1) for file, content in files.items()}
    for file, content in packed.items():
        (raw / f"{file}.gz").write_bytes(content)
    assert "MD5" in fails(config, tmp_path / "out"), "a .gz that is not the published one"
    md5s = tuple(hashlib.md5(packed[file]).hexdigest() for file in FILES)
    monkeypatch.setitem(raw_files._GZ_MD5, "kmnist", md5s)
    prepare(config, tmp_path / "gz")


HOW_FILES_LIE = {
    "as torchvision has them": "KMNIST/raw/{}",
    "one folder up": "KMNIST/{}",
    "in data.raw itself": "{}",
    "a folder for each file": "KMNIST/raw/{0}/{0}",
    "named .gz, gunzipped by a browser": "KMNIST/raw/{}.gz",
}


@pytest.mark.parametrize("how", HOW_FILES_LIE)
@pytest.mark.parametrize("dotted", [False, True])
def test_files_are_found_as_people_have_them(tmp_path: Path, small: None, offline: None, how: str, dotted: bool) -> None:
    for file, content in drawn_files().items():
        path = tmp_path / "raw" / HOW_FILES_LIE[how].format(file.replace("-idx", ".idx") if dotted else file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    before = sorted((tmp_path / "raw").rglob("*"))
    prepare(DataConfig(name="kmnist", raw=str(tmp_path / "raw")), tmp_path / "out")
    assert load_prepared(tmp_path / "out").x_train.shape == (600, 784)
    assert sorted((tmp_path / "raw").rglob("*")) == before


@pytest.mark.parametrize("packed", [False, True])
def test_files_of_another_set_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None, packed: bool) -> None:
    files = drawn_files()
    md5s = tuple(hashlib.md5(files[file]).hexdigest() for file in FILES)
    monkeypatch.setitem(raw_files._CONTENT_MD5, "mnist", md5s)
    for file, content in files.items():
        (tmp_path / f"{file}.gz" if packed else tmp_path / file).write_bytes(gzip.compress(content, 1) if packed else content)
    for name in ("kmnist", "fashion_mnist"):
        told = fails(DataConfig(name=name, raw=str(tmp_path)), tmp_path / "out")
        assert f"this is train-images-idx3-ubyte of mnist, wanted: train-images-idx3-ubyte of {name}" in told
        assert "delete" not in told
    prepare(DataConfig(name="mnist", raw=str(tmp_path)), tmp_path / "out")


def test_what_lies_in_the_folder_is_named(tmp_path: Path, offline: None) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "TRAIN-IMAGES").touch()
    assert "(found there: TRAIN-IMAGES)" in fails(DataConfig(name="mnist", raw=str(tmp_path)), tmp_path / "out")


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_as_debian_packs_it(tmp_path: Path, offline: None) -> None:
    told: list[str] = []
    prepare(DataConfig(name="fashion_mnist", raw=str(DEBIAN)), tmp_path / "out", told.append)
    counts = json.loads((tmp_path / "out" / "manifest.json").read_text())["counts"]
    assert (set(counts.values()), told) == ({0}, []), "no image occurs twice bit for bit"
    told_of_mnist = fails(DataConfig(name="mnist", raw=str(DEBIAN)), tmp_path / "none")
    assert "this is train-images-idx3-ubyte of fashion_mnist" in told_of_mnist


def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None) -> None:
    packed = {f"{file}.gz": gzip.compress(content, 1) for file, content in drawn_files().items()}
    asked = []

    def serve(url: str, root: str, filename: str, md5: str) -> None:
        asked.append((url, md5))
        if len(asked) == 2:
            (Path(root) / filename).write_bytes(b"half a fi")
            raise RuntimeError("File not found or corrupted.")
        (Path(root) / filename).write_bytes(packed[filename])

    monkeypatch.setattr("torchvision.datasets.utils.download_url", serve)
    md5s = tuple(hashlib.md5(packed[f"{file}.gz"]).hexdigest() for file in FILES)
    monkeypatch.setitem(raw_files._GZ_MD5, "kmnist", md5s)
    config = DataConfig(name="kmnist", raw=str(tmp_path / "raw"))
    assert "train-labels-idx1-ubyte.gz" in fails(config, tmp_path / "out")
    raw = tmp_path / "raw" / "KMNIST" / "raw"
    assert [path.name for path in raw.iterdir()] == ["train-images-idx3-ubyte.gz"], "no half file stays"
    prepare(config, tmp_path / "out")
    assert len(asked) == 5, "what lies there is not fetched again"
    assert asked[0][1] == "bdb82020997e1d708af4cf47b453dcf7"


@given(st.binary(max_size=40))
def test_idx_of_any_bytes(content: bytes) -> None:
    header = bytes([0, 0, 8, 1, 0, 0, 0, 3])
    for candidate in (content, header + content):
        try:
            assert parse_idx(candidate, (3,)).tolist() == list(candidate[8:])
            assert candidate[:8] == header
            assert len(candidate) == 11
        except ValueError:
            assert len(candidate) != 11 or candidate[:8] != header
