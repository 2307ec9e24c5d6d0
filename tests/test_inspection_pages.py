"""What a person reads at the terminal about checkpoints."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from written_checkpoints import damage_record, set_aside, write

from keras_estimator.checkpoints import Checkpoints
from keras_estimator.checkpoints_seen import all_checkpoints_in
from keras_estimator.inspection import pages
from keras_estimator.inspection.array_facts import facts_of
from keras_estimator.inspection.comparing import compare
from keras_estimator.inspection.opened import Opened, open_checkpoint
from keras_estimator.inspection.pruning import choose


def opened(folder: Path, which: str | None = None) -> Opened:
    return open_checkpoint(folder, which, lambda text: None)


def show(folder: Path) -> list[str]:
    found = opened(folder)
    return list(pages.shown(found, {name: facts_of(found.read(name)) for name in found.names}))


def test_a_list_says_what_is_damaged_and_why(tmp_path: Path):
    write(tmp_path, 1, 20, 300)
    damage_record(tmp_path, 1)
    set_aside(tmp_path, 300)
    heads, aside, damaged, whole, last = pages.listed(tmp_path, all_checkpoints_in(tmp_path))
    assert heads.split() == ["step", "written", "size", "loss", "accuracy", "state"]
    assert aside.endswith("damaged: set aside: its state is not what was written")
    assert damaged.split()[:2] == ["1", "unknown"]
    assert damaged.endswith("  -         -  damaged: run.json does not end with the SHA-256 of what stands before it")
    assert whole.endswith("0.04762      0.02  whole")
    assert last.startswith("3 checkpoints, ")
    assert last.endswith(f"keras-estimator checkpoints {tmp_path} verify")


def test_a_record_of_a_stranger_is_neither_obeyed_nor_shown_whole(tmp_path: Path):
    metrics = {f"\x1b[2J{'x' * 10**5}{number}": float(number) for number in range(50)}
    run = {"note": "\x1b]0;title\x07" * 10**5, "metrics": {"\x1b[7m": 1.0, **metrics}}
    Checkpoints(tmp_path).write(1, {"\x1b[31m": np.ones(1), "y" * 1000: np.ones(1)}, run)
    lines = [*pages.listed(tmp_path, all_checkpoints_in(tmp_path)), *show(tmp_path)]
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) < 350
    assert "  and 22 more: --format json" in lines


def test_show_tells_what_is_in_each_array_and_in_all(tmp_path: Path):
    state = {"kernel": np.float32([[3, 4], [math.nan, math.inf]]), "words": np.array(["ab"], object)}
    Checkpoints(tmp_path).write(7, state, {"plan": "graph", "hooks": {}})
    heads, kernel, words, total, recorded = show(tmp_path)
    assert heads.split() == ["array", "shape", "type", "size", "norm", "min", "max", "NaN", "inf"]
    assert kernel.split() == "kernel (2, 2) float32 16 bytes 5 3 4 1 1".split()
    assert words.split() == "words (1,) text 2 bytes - - - 0 0".split()
    assert total == "step 7: 2 arrays, 5 items, 18 bytes"
    assert recorded == "  plan: graph"


def test_a_comparison_is_a_table_of_what_differs_and_by_how_much(tmp_path: Path):
    write(tmp_path, 10, 20)
    Checkpoints(tmp_path / "other").write(10, {"kernel": np.zeros(2, np.int8), "bias": np.zeros(1)}, {})
    a, b = opened(tmp_path, "10"), opened(tmp_path, "20")
    _, _, heads, kernel, step, total, *recorded = pages.compared(a, b, compare(a, b))
    assert heads.split("  ")[0] == "array"
    assert kernel.split() == "kernel other values 24.49 50 % 10 0.5 6".split()
    assert step.split() == "step other values 10 50 % 10 0.5 1".split()
    assert total == "1 array the same, 2 arrays not"
    assert recorded[:2] == ["  step: 10 -> 20", "  data.batches: 10 -> 20"]
    other = opened(tmp_path / "other")
    rows = [line.split("  ") for line in pages.compared(a, other, compare(a, other))]
    assert [cell.strip() for row in rows for cell in row if "->" in cell][:1] == ["float32 (2, 3) -> int8 (2,)"]
    assert [cell.strip() for row in rows for cell in row if "only in B" in cell] == ["only in B: float64 (1,)"]


def test_equal_ones_need_two_names_and_a_line(tmp_path: Path):
    write(tmp_path, 1)
    a = opened(tmp_path)
    assert list(pages.compared(a, a, compare(a, a))) == [
        f"A: {a.path}",
        f"B: {a.path}",
        "3 arrays the same, 0 arrays not",
    ]


def test_pruning_says_what_goes_what_stays_and_what_that_frees(tmp_path: Path):
    write(tmp_path, 1, 2, 3)
    damage_record(tmp_path, 2)
    pruning = choose(tmp_path, 1, None, damaged=False, note=lambda text: None)
    removed, left, total = pages.pruned(pruning, is_dry=True)
    assert removed.startswith("would remove step-1 (")
    assert left.endswith("run.json does not end with the SHA-256 of what stands before it; --damaged removes it, too")
    assert total.startswith("would remove 1 checkpoint, ")
    assert total.endswith(" bytes; kept: 3")
