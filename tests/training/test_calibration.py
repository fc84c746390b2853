"""The speed of a machine: interpolation, what is kept, and what is measured."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bayes_sgd.training import calibration, timing
from bayes_sgd.training.calibration import Calibration, keep, stored_calibration

WEIGHTS, SIZES, NETWORKS = (10_000, 100_000, 1_000_000), (1, 8, 64), (1, 8)


def law(weights: float, batch_size: float, networks: float) -> float:
    """A power law, which is a line in logarithms, and linear in the networks with something that each update costs."""
    return 1e-9 * weights**0.7 * batch_size**0.9 * (3 + networks)


SPEED = Calibration(
    1.5, 4e10, WEIGHTS, SIZES, NETWORKS, tuple(tuple(tuple(law(w, b, n) for n in NETWORKS) for b in SIZES) for w in WEIGHTS)
)


@pytest.mark.parametrize("weights", [2000, 10_000, 50_000, 5_000_000])
@pytest.mark.parametrize("batch_size", [1, 3, 64, 1000])
@pytest.mark.parametrize("networks", [1, 3, 8])
def test_an_update_is_interpolated_in_logarithms_and_goes_on_beyond(weights: int, batch_size: int, networks: int) -> None:
    expected = law(weights, batch_size, networks)
    assert SPEED.update_seconds(weights, batch_size, networks) == pytest.approx(expected, rel=1e-9)


def test_stacks_beyond_the_largest_take_its_time_for_each_network() -> None:
    assert SPEED.update_seconds(10_000, 8, 40) == pytest.approx(40 / 8 * law(10_000, 8, 8), rel=1e-9)
    assert SPEED.forward_seconds(10_000, 128) == pytest.approx(law(10_000, 64, 8) / 8 * 2 / 3, rel=1e-9)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "bayes-sgd" / "calibration"


def test_it_is_kept_for_a_processor_a_torch_and_a_trainer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured_again(*_: object, **__: object) -> None:
        raise AssertionError("what is kept is measured again")

    assert stored_calibration() is None
    keep(SPEED)
    monkeypatch.setattr(subprocess, "run", measured_again)
    assert stored_calibration() == calibration.calibration() == SPEED
    file = folder / "training.json"
    other = json.loads(file.read_text())
    for name in ("processor", "torch", "code"):
        file.write_text(json.dumps(other | {"key": other["key"] | {name: "another"}}))
        assert stored_calibration() is None, name
    for damaged in (
        "",
        "{",
        "[]",
        json.dumps(other | {"calibration": {"start": 1.0}}),
        json.dumps(other | {"calibration": None}),
    ):
        file.write_text(damaged)
        assert stored_calibration() is None, damaged


def test_what_cannot_be_measured_or_kept_stops_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "training.json").mkdir(parents=True)
    keep(SPEED)
    assert stored_calibration() is None
    for error in (OSError(), subprocess.CalledProcessError(1, "python"), subprocess.TimeoutExpired("python", 1.0)):

        def fails(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(subprocess, "run", fails)
        assert calibration.calibration() is None


def test_the_trainer_itself_is_timed(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, few in (("HIDDEN", (4, 8)), ("BATCH_SIZES", (2, 5)), ("_AT_LEAST", 1e-4), ("PIXELS", 20)):
        monkeypatch.setattr(timing, name, few)
    assert timing.main() == 0
    found = Calibration.from_dict(json.loads(capsys.readouterr().out))
    assert found == stored_calibration()
    assert found.weights == (21 * 4 + 5 * 10, 21 * 8 + 9 * 10)
    seconds = [time for sizes in found.seconds for stack in sizes for time in stack]
    assert len(seconds) == 8
    assert min(seconds) > 0
    assert found.flops > 0
    assert Calibration.from_dict(json.loads(json.dumps(asdict(replace(found, start=2.0))))).start == 2.0
