"""Writes what was found in checkpoints as lines of text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from keras_estimator.checkpoints_seen import CheckpointSeen
from keras_estimator.inspection.array_facts import ArrayFacts
from keras_estimator.inspection.comparing import ComparedArray, Comparison, leaves
from keras_estimator.inspection.opened import Opened
from keras_estimator.inspection.pruning import Pruning
from keras_estimator.inspection.text import NOTHING, shortened, table, value_text
from keras_estimator.report.elements import counted, moment, size

_MOST_METRICS = 4
_MOST_RECORDED = 30


def listed(folder: Path, seen: list[CheckpointSeen]) -> Iterator[str]:
    """Yield the lines of `list`: the newest last."""
    metrics = list(dict.fromkeys(name for one in reversed(seen) for name in one.metrics))
    metrics = sorted(metrics, key=lambda name: name != "loss")[:_MOST_METRICS]
    rows = [
        [
            value_text(one.step),
            "unknown" if one.written_at is None else moment(one.written_at),
            size(one.num_bytes),
            *(value_text(one.metrics.get(name)) for name in metrics),
            _state(one),
        ]
        for one in seen
    ]
    heads = ["step", "written", "size", *(shortened(name, 20) for name in metrics), "state"]
    yield from table(heads, rows, to_the_left=[1, len(heads) - 1])
    total = size(sum(one.num_bytes for one in seen))
    yield f"{counted(len(seen), 'checkpoint')}, {total}. To read all of it: keras-estimator checkpoints {folder} verify"


def _state(one: CheckpointSeen) -> str:
    state = f"damaged: {shortened(one.problem)}" if one.problem else "whole"
    return f"{state} ({shortened(one.path.name, 40)}, TensorFlow's)" if one.is_tensorflows else state


def shown(opened: Opened, facts: Mapping[str, ArrayFacts]) -> Iterator[str]:
    """Yield the lines of `show`: each array, what they are together, and what the run recorded."""
    rows = [
        [
            shortened(name),
            *([shortened(opened.full_names[name])] if opened.full_names else []),
            str(fact.shape),
            fact.dtype,
            size(fact.num_bytes),
            *(
                value_text(number)
                for number in (fact.norm, fact.lowest, fact.highest, fact.num_nans, fact.num_infinite)
            ),
        ]
        for name, fact in facts.items()
    ]
    names = ["array", *(["known as"] if opened.full_names else [])]
    heads = [*names, "shape", "type", "size", "norm", "min", "max", "NaN", "inf"]
    yield from table(heads, rows, to_the_left=range(len(names) + 2))
    num_bytes = size(sum(fact.num_bytes for fact in facts.values()))
    num_items = sum(math.prod(fact.shape) for fact in facts.values())
    yield f"step {value_text(opened.step)}: {counted(len(facts), 'array')}, {counted(num_items, 'item')}, {num_bytes}"
    yield from _bounded([f"  {shortened(place)}: {value_text(value)}" for place, value in leaves(opened.recorded)])


def compared(a: Opened, b: Opened, found: Comparison) -> Iterator[str]:
    """Yield the lines of `diff`: arrays by how they differ, the most first; then what was recorded otherwise."""
    yield f"A: {a.path}"
    yield f"B: {b.path}"
    if found.arrays:
        heads = ["array", "differs by", "norm of A-B", "of the norm", "largest", "relative", "items"]
        yield from table(heads, map(_compared_row, found.arrays), to_the_left=[0, 1])
    yield f"{counted(found.num_equal, 'array')} the same, {counted(len(found.arrays), 'array')} not"
    yield from _bounded(
        [
            f"  {shortened(place)}: {value_text(one)} -> {value_text(other)}"
            for place, (one, other) in found.recorded.items()
        ]
    )


def _compared_row(one: ComparedArray) -> list[str]:
    how, values = one.how, one.values
    if one.kind_a and one.kind_b and values is None:
        how = f"{one.kind_a} -> {one.kind_b}"
    elif values is None:
        how = f"{how}: {one.kind_a or one.kind_b}"
    if values is None:
        return [shortened(one.name), how, *[NOTHING] * 5]
    share = NOTHING if values.relative_norm is None else f"{100 * values.relative_norm:.3g} %"
    numbers = (values.largest, values.largest_relative, values.num_items)
    return [shortened(one.name), how, value_text(values.norm), share, *map(value_text, numbers)]


def verified(path: Path | str, problem: str, secs: float) -> str:
    """Return the line of `verify` about one checkpoint."""
    return f"{shortened(str(path))}: " + (f"damaged: {shortened(problem)}" if problem else f"whole ({secs:.2f} s)")


def verified_all(num_all: int, num_damaged: int) -> str:
    """Return the last line of `verify`."""
    return f"{counted(num_all, 'checkpoint')} read, {num_damaged or 'none'} damaged"


def pruned(pruning: Pruning, *, is_dry: bool) -> Iterator[str]:
    """Yield the lines of `prune`: what goes, what stays, and what that frees."""
    verb = "would remove" if is_dry else "removed"
    for one in pruning.removed:
        why = f", damaged: {shortened(one.problem)}" if one.problem else ""
        yield f"{verb} {one.path.name} ({size(one.num_bytes)}, written {moment(one.written_at)}{why})"
    for one in pruning.kept:
        if one.problem:
            yield f"left {one.path.name}, damaged: {shortened(one.problem)}; --damaged removes it, too"
    stays = ", ".join(value_text(one.step) for one in pruning.kept if not one.problem)
    freed = size(sum(one.num_bytes for one in pruning.removed))
    yield f"{verb} {counted(len(pruning.removed), 'checkpoint')}, {freed}; kept: {stays}"


def _bounded(lines: list[str]) -> list[str]:
    rest = len(lines) - _MOST_RECORDED
    return [*lines[:_MOST_RECORDED], f"  and {rest:,} more: --format json"] if rest > 0 else lines
