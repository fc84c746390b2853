"""Where what is made again lies."""

from __future__ import annotations

import tempfile

from bayes_sgd.core.cache import cache_folder


def test_the_cache_is_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("loops") == tmp_path / "bayes-sgd" / "loops"
    assert cache_folder("loops").is_dir()


def test_where_that_cannot_be_written_to_it_is_a_temporary_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = cache_folder("loops")
    assert folder.is_dir()
    assert folder.is_relative_to(tmp_path)
