"""YAML that two readers would read differently is refused; all else is read as before."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from project import CONFIGURATIONS, ROOT

from bayes_sgd.claims.claims import load_claims
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.strict_yaml import read_yaml
from bayes_sgd.experiment.config import load_config


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", [*CONFIGURATIONS, ROOT / "config" / "claims.yaml"], ids=lambda path: path.stem)
def test_what_we_ship_is_read_as_pyyaml_reads_it(path):
    assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}\ne: *x", {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}, "e": {"b": 1, "c": 2}}),
        ("a: &x {b: 1}\nc: &y {d: 2}\ne: {<<: [*x, *y]}", {"a": {"b": 1}, "c": {"d": 2}, "e": {"b": 1, "d": 2}}),
        ("a: [{b: 1}, {b: 2}]", {"a": [{"b": 1}, {"b": 2}]}),
        ("a: 0\nb: 0.5\nc: -3\nd: 1_000\ne: 1.0e-3\nf: '0040'\ng: '1:30'", None),
        ('{"a": 1, "b": [0.1, 2]}', {"a": 1, "b": [0.1, 2]}),
    ],
)
def test_anchors_merge_keys_lists_and_numbers_work(tmp_path, text, content):
    assert read_yaml(written(tmp_path, text)) == (yaml.safe_load(text) if content is None else content)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("run: a\nseeds: 8\nseeds: 2", "key 'seeds' stands twice (lines 2 and 3)"),
        ("run: a\nexperiments:\n  b:\n    axis: l2\n  c: {}\n  b: {}", "key 'b' stands twice (lines 3 and 6)"),
        ("run: a\ncell: {l2: 0, 'l2': 1}", "key 'l2' stands twice (lines 2 and 2)"),
        ('{"run": "a",\n "run": "b"}', "key 'run' stands twice (lines 1 and 2)"),
        ("a: &x {l2: 1}\nb: {<<: *x, <<: *x}", "key '<<' stands twice"),
        ("run: a\ncell: {n_train: 0040}", "line 2: 0040 is 32 to some readers (octal)"),
        ("seeds: 00", "line 1: 00 is 0"),
        ("cell: {updates: 1:30}", "line 1: 1:30 is 90 to some readers (base 60)"),
        ("cell: {learning_rate: 1:30.5}", "1:30.5 is 90.5"),
        ("a: 0x_", "not readable as YAML"),
        ("a: [", "not readable as YAML"),
        ("a: !!python/object:os.system {}", "not readable as YAML"),
    ],
)
def test_what_readers_disagree_about_is_refused_in_one_line(tmp_path, text, told):
    path = written(tmp_path, text)
    for reader in (read_yaml, load_config, load_claims):
        with pytest.raises(UserError) as error:
            reader(path)
        assert str(error.value).startswith(f"{path}: ")
        assert told in str(error.value)
