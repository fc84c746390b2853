"""How many networks train in lock-step: read off the machine, at least one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training import CELL

from bayes_sgd.training.hardware import cache_share, stack_bytes, stack_size


def caches(folder: Path, size: str, shared: str) -> Path:
    for level, content in (("0", "32K"), ("3", size)):
        index = folder / f"index{level}"
        index.mkdir(parents=True)
        (index / "level").write_text(level + "\n")
        (index / "size").write_text(content + "\n")
        (index / "shared_cpu_list").write_text((shared if level == "3" else "0") + "\n")
    return folder


@pytest.mark.parametrize(
    ("size", "shared", "share"),
    [("32768K", "0-1", 2**24), ("32768K", "0-7,16-23", 2**21), ("8192K", "0", 2**23), ("8M", "0", 2**24), ("1K", "x", 2**24)],
)
def test_share_of_the_last_cache(tmp_path, size, shared, share):
    assert cache_share(caches(tmp_path / "cache", size, shared)) == share


def test_no_cache_told(tmp_path):
    assert cache_share(tmp_path / "none") == 2**24


def test_a_stack_is_what_half_the_share_holds_and_at_least_one():
    cpu, share = torch.device("cpu"), cache_share()
    assert stack_size(share // 16, 1, cpu) == 8
    assert stack_size(share, 1, cpu) == 1
    assert stack_size(10 * share, 1, cpu) == 1


def test_bytes_of_a_network(data):
    kept, used = stack_bytes(replace(CELL, hidden_sizes=(7, 5)), data)
    assert kept == 4 * 2 * (11 * 7 + 8 * 5 + 6 * 3)
    assert used > kept + 4 * 13 * 7


@pytest.mark.parametrize(("free", "networks"), [(80 * 10**9, 64), (10**9, 1), (0, 1), (125 * 10**8, 10)])
def test_a_stack_on_a_gpu_fills_four_fifths_of_the_free_memory_and_is_at_least_one(monkeypatch, free, networks):
    asked = []

    def mem_get_info(device: torch.device) -> tuple[int, int]:
        asked.append(device)
        return free, 90 * 10**9

    monkeypatch.setattr(torch.cuda, "mem_get_info", mem_get_info)
    gpu = torch.device("cuda", 1)
    assert stack_size(1, 10**9, gpu) == networks
    assert asked == [gpu]
