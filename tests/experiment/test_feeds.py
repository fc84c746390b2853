"""What experiments feed: as they say it, as the old names said it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import CONFIGURATIONS, ROOT

from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.config import Config, load_config
from bayes_sgd.experiment.feeds import feed_notes, feeds

RATES = {"axis": "learning_rate", "grid": [{"learning_rate": [0.1, 0.2], "batch_size": [4, 8]}]}
LAMBDAS = {"axis": "l2", "cell": {"n_train": 50}, "grid": [{"l2": [0.0, 5.0], "batch_size": 4}]}


def config(**experiments: Any) -> Config:
    return load_config({"run": "mine", "experiments": experiments})


def test_an_experiment_says_what_it_feeds_and_its_name_is_free() -> None:
    mine = config(a=RATES | {"feeds": ["fig5"]}, b=LAMBDAS | {"feeds": ["fig8", "fig3"]}, c=RATES | {"feeds": []})
    assert feeds(mine) == {"fig3": "b", "fig5": "a", "fig8": "b"}
    assert feed_notes(mine) == []


def test_one_that_says_it_ends_the_rule_of_names() -> None:
    mine = config(learning_rate=RATES, rates=RATES | {"feeds": ["fig5"]})
    assert feeds(mine) == {"fig5": "rates"}
    (note,) = feed_notes(mine)
    assert note.startswith("note: no figure or claim is made of learning_rate; ")


def test_without_the_key_the_old_names_count_where_the_axis_is_theirs() -> None:
    assert feeds(config(learning_rate=RATES, momentum=RATES, l2=LAMBDAS, random_labels=RATES)) == {
        "fig3": "l2", "fig5": "learning_rate", "fig8": "l2", "random_labels": "random_labels",
    }  # fmt: skip
    (note,) = feed_notes(config(learning_rat=RATES))
    assert "no figure or claim is made of learning_rat; `feeds` says which (allowed: fig3, " in note


@pytest.mark.parametrize(
    ("experiments", "message"),
    [
        ({"a": RATES | {"feeds": ["fig55"]}}, "experiments.a.feeds[0]: 'fig55': Input should be 'fig3', 'fig4', "),
        ({"a": RATES | {"feeds": "fig5"}}, "experiments.a.feeds: 'fig5': Input should be a valid list"),
        ({"a": RATES | {"feeds": ["fig6"]}}, "experiments.a.feeds: fig6 follows n_train, and the axis is learning_rate"),
        (
            {"a": RATES | {"feeds": ["fig5"]}, "b": RATES | {"feeds": ["fig4", "fig5"]}},
            "experiments.b.feeds: fig5 is fed by a already; allowed: one experiment for each",
        ),
        ({"a": RATES | {"feeds": ["fig5", "fig5"]}}, "experiments.a.feeds: fig5 is fed by a already"),
        (
            {"a": LAMBDAS | {"grid": [{"l2": [0.0, 7.0], "batch_size": 4}], "feeds": ["fig8"]}},
            "experiments.a.feeds: fig8 shows l2 0.1 or 0.1 n_train, and no cell has that",
        ),
        ({"dampening": RATES | {"feeds": ["fig5"]}}, "experiments.dampening: is called as what it does not feed"),
    ],
)
def test_what_cannot_be_fed_is_refused_in_one_line(experiments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        config(**experiments)
    assert str(error.value).startswith(f"config: {message}")


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.name)
def test_the_files_that_we_ship_feed_what_their_names_fed(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    by_key = feeds(load_config(content))
    for experiment in content["experiments"].values():
        experiment.pop("feeds", None)
    by_name = feeds(load_config(content))
    if path.name == "paper.yaml":  # figure 8 wants a full batch with λ, which it leaves out
        assert by_name.pop("fig8") == "l2"
    assert by_name == by_key
    assert feed_notes(load_config(path)) == []


@pytest.mark.parametrize("run", ["quick", "extended"])
def test_published_runs_feed_the_same_as_their_configurations(run: str) -> None:
    published = json.loads((ROOT / "results/published" / run / "provenance.json").read_text(encoding="utf-8"))["config"]
    file = ROOT / "config" / {"quick": "config.yaml", "extended": "extended.yaml"}[run]
    assert feeds(load_config(published)).items() <= feeds(load_config(file)).items(), "a later configuration may feed more"
