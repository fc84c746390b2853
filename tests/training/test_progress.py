"""What a run says of itself: a job's line, the share that is done, parameters in a few words."""

from __future__ import annotations

import os
import pickle
import re
import time
from pathlib import Path

import pytest
from project import ROOT

from bayes_sgd.experiment.cell import Cell, Plan
from bayes_sgd.training import progress
from bayes_sgd.training.progress import BriefDict, BriefList, Progress, duration, summary


def plan(seeds: int = 4, **fields: object) -> Plan:
    usual = {"labels": "real", "hidden_sizes": (9,), "n_train": 1000, "batch_size": 20, "learning_rate": 0.1, "momentum": 0.9}
    rest = {"dampening": 0.0, "l2": 0.0, "sampling": "independent", "updates": 10}
    return Plan(Cell(**(usual | rest | fields)), tuple(range(seeds)), (10,))


@pytest.mark.parametrize(
    ("plans", "said"),
    [
        ([plan()], "N 1000, B 20, learning rate 0.1: 1 cell x 4 seeds"),
        ([plan(), plan(1, learning_rate=0.4)], "N 1000, B 20, learning rate 0.1 to 0.4: 2 cells x 4 seeds"),
        ([plan(1, labels="random", l2=1.0)], "random labels, N 1000, B 20, learning rate 0.1: 1 cell x 1 seed"),
        ([plan(l2=x) for x in (0, 0.5)], "N 1000, B 20, learning rate 0.1, λ 0 to 0.5: 2 cells x 4 seeds"),
        ([plan(n_train=n, batch_size=n // 10) for n in (500, 60000)],
         "N 500 to 60000, B 50 to 6000, learning rate 0.1: 2 cells x 4 seeds"),
    ],
)  # fmt: skip
def test_a_job_is_one_line(plans: list[Plan], said: str) -> None:
    assert summary(plans) == said


def test_done_of_how_many_and_the_time_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {tmp_path / name: [plan(), plan(learning_rate=0.2)] for name in ("a", "b", "c", "old")}
    for path in files:
        path.touch()
        os.utime(path, (0, 0))
    of = Progress(files)
    assert str(of) == "", "before the run begins"
    a, b, c, _ = files
    of.start([a, b, c])
    assert str(of) == " (0 of 6 cells done)"
    a.touch()
    began = time.time()
    monkeypatch.setattr(progress.time, "time", lambda: began + 120)
    assert str(of) == " (2 of 6 cells done, about 4 min left)"


def test_no_time_is_told_before_a_tenth_of_the_work(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    of = Progress({small: [plan(updates=10)], large: [plan(updates=1000)]})
    of.start([small, large])
    small.touch()
    assert str(of) == " (1 of 2 cells done)"


def test_durations() -> None:
    assert [duration(seconds) for seconds in (4, 89, 120, 3000, 12600)] == ["4 s", "89 s", "2 min", "50 min", "3.5 h"]


def test_parameters_are_shown_in_a_few_words_and_stay_what_they_are() -> None:
    settings = {"seeds": 3, "cell": {"hidden_sizes": [100], "n_train": 1000}}
    brief, plans = BriefDict(settings), BriefList([plan().to_dict()], "1 cell")
    assert brief == settings
    assert re.fullmatch(r"seeds, cell [0-9a-f]{12}", repr(brief))
    assert re.fullmatch(r"1 cell [0-9a-f]{12}", repr(plans))
    for value in (brief, plans):
        again = pickle.loads(pickle.dumps(value))
        assert (again, repr(again)) == (value, repr(value)), "a script gets its parameters by pickle"
    assert repr(BriefDict(settings | {"seeds": 4})) != repr(brief), "what changes runs again"
    assert repr(BriefList([plan(5).to_dict()], "1 cell")) != repr(plans)


@pytest.mark.parametrize(
    "path", [ROOT / "Snakefile", *sorted((ROOT / "workflow" / "rules").glob("*.smk"))], ids=lambda p: p.name
)
def test_every_rule_says_what_it_does(path: Path) -> None:
    rules = re.split(r"^ *rule\b.*:$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert all(re.search(r"^ +message:$", rule, re.MULTILINE) for rule in rules)


def test_what_all_training_waits_for_comes_first() -> None:
    text = (ROOT / "workflow" / "rules" / "data.smk").read_text(encoding="utf-8")
    assert text.count("    priority: 2") == text.count("\nrule ") == 2
