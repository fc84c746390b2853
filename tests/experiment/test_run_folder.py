"""The folder of a run knows which configuration made it, and no other adds to it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.run_folder import RECORD, check_owner, record_owner


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working folder with two configurations, the first of which has made results/mine."""
    (tmp_path / "config").mkdir()
    for name in ("a", "b"):
        (tmp_path / "config" / f"{name}.yaml").write_text("run: mine\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    record_owner(Path("results/mine"), ["config/a.yaml"])
    return tmp_path


def test_another_configuration_of_the_same_run_is_refused_in_one_line(here):
    with pytest.raises(UserError, match=r"config/b.yaml: run: mine: results/mine was made from config/a.yaml.* another name"):
        check_owner(Path("results/mine"), ["config/b.yaml"])
    with pytest.raises(UserError, match=r"config/a.yaml \+ config/b.yaml: run: mine"):
        check_owner(Path("results/mine"), ["config/a.yaml", "config/b.yaml"])


@pytest.mark.parametrize("name", ["config/a.yaml", "./config/a.yaml", "config/../config/a.yaml"])
def test_the_same_file_goes_on_edited_and_however_it_is_named(here, name):
    Path("config/a.yaml").write_text("run: mine\nseeds: 3\n", encoding="utf-8")
    check_owner(Path("results/mine"), [name])
    check_owner(Path("results/mine"), [here / name])
    Path("config/link.yaml").symlink_to("a.yaml")
    check_owner(Path("results/mine"), ["config/link.yaml"])


def test_a_renamed_configuration_takes_the_folder_over(here):
    Path("config/a.yaml").rename("config/c.yaml")
    check_owner(Path("results/mine"), ["config/c.yaml"])
    record_owner(Path("results/mine"), ["config/c.yaml"])
    with pytest.raises(UserError):
        check_owner(Path("results/mine"), ["config/b.yaml"])


def test_the_whole_can_be_copied_elsewhere(here, tmp_path_factory, monkeypatch):
    copy = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(here, copy)
    monkeypatch.chdir(copy)
    check_owner(Path("results/mine"), [copy / "config" / "a.yaml"])
    with pytest.raises(UserError):
        check_owner(Path("results/mine"), ["config/b.yaml"])


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"\n\n"])
def test_a_folder_without_a_readable_record_is_anybodys(here, content):
    record = Path("results/mine") / RECORD
    record.unlink() if content is None else record.write_bytes(content)
    check_owner(Path("results/mine"), ["config/b.yaml"])
    record_owner(Path("results/mine"), ["config/b.yaml"])
    assert record.read_text(encoding="utf-8") == "config/b.yaml\n"


def test_the_record_is_written_once(here):
    record = Path("results/mine") / RECORD
    before = record.stat().st_mtime_ns
    record_owner(Path("results/mine"), ["config/a.yaml"])
    assert record.stat().st_mtime_ns == before
