"""The command `keras-estimator checkpoints`: do what it asks for, and say it as text or as JSON."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_estimator.checkpoints_seen import CheckpointSeen, all_checkpoints_in
from keras_estimator.errors import ConfigError, CorruptCheckpointError, NoCheckpointError
from keras_estimator.inspection import pages
from keras_estimator.inspection.array_facts import facts_of
from keras_estimator.inspection.comparing import compare
from keras_estimator.inspection.opened import Opened, open_checkpoint, open_seen
from keras_estimator.inspection.pruning import choose, remove
from keras_estimator.inspection.text import as_json, printable

# How many checkpoints may be named, least and most, and an example.
_USES = {
    "list": (0, 0, "list"),
    "show": (0, 1, "show 300"),
    "diff": (2, 2, "diff 200 300"),
    "verify": (0, sys.maxsize, "verify"),
    "prune": (0, 0, "prune --keep 5 --dry-run"),
}
FORMATS = ("text", "json")


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the command line asks for.

    Attributes:
        folder: A model_dir, or a folder with checkpoints of TensorFlow.
        action: `list`, `show`, `diff`, `verify` or `prune`.
        which: The checkpoints that it is done with (see `open_checkpoint`).
        format: One of `FORMATS`.
        keep: How many of the newest `prune` keeps; None: all.
        keep_every_n_hours: Besides those, one every so many hours; None: none.
        damaged: Whether `prune` removes those that are damaged.
        dry_run: Whether `prune` only says what it would do.
    """

    folder: Path
    action: str = "list"
    which: tuple[str, ...] = ()
    format: str = "text"
    keep: int | None = None
    keep_every_n_hours: float | None = None
    damaged: bool = False
    dry_run: bool = False


def run_checkpoints(asked: Asked, say: Callable[[str], None], note: Callable[[str], None]) -> int:
    """Do what the command line asks for.

    Args:
        asked: What that is.
        say: Takes what is found, line by line, with nothing in it that a terminal would obey.
        note: Takes what is said while it works, the same way.

    Returns:
        The exit status: 1 if `verify` finds damage or `diff` a difference; otherwise 0.

    Raises:
        ConfigError: it asks for what cannot be done, or there is no such folder.
        CheckpointError: there is no checkpoint, the one to show or compare is damaged, or one cannot be removed.
    """
    _check(asked)
    actions = {"list": _list, "show": _show, "diff": _diff, "verify": _verify, "prune": _prune}
    return actions[asked.action](asked, lambda line: say(printable(line)), lambda line: note(printable(line)))


def _list(asked: Asked, say: Callable[[str], None], note: Callable[[str], None]) -> int:
    seen = _all(asked.folder)
    data = {"model_dir": str(asked.folder), "checkpoints": [_plain(one) for one in seen]}
    _answer(asked, say, data, pages.listed(asked.folder, seen))
    return 0


def _show(asked: Asked, say: Callable[[str], None], note: Callable[[str], None]) -> int:
    opened = open_checkpoint(asked.folder, asked.which[0] if asked.which else None, note)
    facts = {name: facts_of(opened.read(name)) for name in opened.names}
    arrays = [
        {"name": name, "full_name": opened.full_names.get(name), **dataclasses.asdict(found)}
        for name, found in facts.items()
    ]
    data = {"path": str(opened.path), "step": opened.step, "recorded": opened.recorded, "arrays": arrays}
    _answer(asked, say, data, pages.shown(opened, facts))
    return 0


def _diff(asked: Asked, say: Callable[[str], None], note: Callable[[str], None]) -> int:
    a, b = (open_checkpoint(asked.folder, which, note) for which in asked.which)
    found = compare(a, b)
    data = {"a": str(a.path), "b": str(b.path), **dataclasses.asdict(found)}
    _answer(asked, say, data, pages.compared(a, b, found))
    return 0 if found.is_equal else 1


def _verify(asked: Asked, say: Callable[[str], None], note: Callable[[str], None]) -> int:
    """Read all that is there, or what is named; each is said when it was read."""
    verified: list[dict[str, Any]] = []
    for path, problem, secs in _verified(asked, note):
        verified.append({"path": str(path), "problem": problem})
        if asked.format == "text":
            say(pages.verified(path, problem, secs))
    num_damaged = sum(bool(one["problem"]) for one in verified)
    data = {"model_dir": str(asked.folder), "checkpoints": verified}
    _answer(asked, say, data, [pages.verified_all(len(verified), num_damaged)])
    return 1 if num_damaged else 0


def _verified(asked: Asked, note: Callable[[str], None]) -> Iterator[tuple[Path | str, str, float]]:
    """Yield what was read, why it cannot be trusted, and how many seconds that took."""
    named: list[tuple[Path | str, Callable[[], Opened]]] = [
        (which, functools.partial(open_checkpoint, asked.folder, which, note)) for which in asked.which
    ]
    for which, open_it in named or [(one.path, functools.partial(open_seen, one, note)) for one in _all(asked.folder)]:
        started, problem = time.perf_counter(), ""
        try:
            open_it().verify()
        except CorruptCheckpointError as error:
            problem = error.found
        except NoCheckpointError:
            if named:
                raise
            continue  # its run has removed it in the meantime
        yield which, problem, time.perf_counter() - started


def _prune(asked: Asked, say: Callable[[str], None], note: Callable[[str], None]) -> int:
    pruning = choose(asked.folder, asked.keep, asked.keep_every_n_hours, damaged=asked.damaged, note=note)
    if not asked.dry_run:
        remove(asked.folder, pruning)
    removed, kept = ([_plain(one) for one in ones] for ones in (pruning.removed, pruning.kept))
    data = {"model_dir": str(asked.folder), "dry_run": asked.dry_run, "removed": removed, "kept": kept}
    _answer(asked, say, data, pages.pruned(pruning, is_dry=asked.dry_run))
    return 0


def _answer(asked: Asked, say: Callable[[str], None], data: dict[str, Any], lines: Iterable[str]) -> None:
    for text in [as_json(data)] if asked.format == "json" else lines:
        say(text)


def _check(asked: Asked) -> None:
    """See that this can be done at all, before anything is read."""
    misuse = _misuse(asked)
    if misuse:
        found, expected, fix = misuse
        raise ConfigError(
            "this cannot be done with checkpoints",
            found=found,
            expected=expected,
            fix=f"keras-estimator checkpoints {asked.folder} {fix}",
        )
    if not asked.folder.is_dir():
        raise ConfigError(
            f"there is no folder {asked.folder}",
            found="a file" if asked.folder.exists() else "nothing of that name",
            expected="the model_dir of an Estimator, or a folder with checkpoints of TensorFlow",
            fix=f"keras-estimator checkpoints MODEL_DIR show {asked.folder}",
        )


def _misuse(asked: Asked) -> tuple[str, str, str] | None:
    """Return what was found, what was expected and what to do instead; None if all is well."""
    if asked.action not in _USES:
        return asked.action, ", ".join(_USES), f"show {asked.action}" if asked.action.isdecimal() else "list"
    least, most, example = _USES[asked.action]
    if asked.format not in FORMATS:
        return f"--format {asked.format}", " or ".join(FORMATS), f"{asked.action} --format {FORMATS[0]}"
    if not least <= len(asked.which) <= most:
        return " ".join((asked.action, *asked.which)), f"such as {example}", example
    removes = asked.keep is not None or asked.damaged
    if asked.action == "prune" and not removes:
        return "nothing that is to be removed", "--keep or --damaged", example
    if asked.keep_every_n_hours is not None and (asked.keep is None or not asked.keep_every_n_hours > 0):
        return f"--keep-every-n-hours {asked.keep_every_n_hours:g}", "a number above 0, beside --keep", example
    if asked.action != "prune" and (removes or asked.dry_run):
        return f"{asked.action} with an option of prune", "prune", example
    return None


def _all(folder: Path) -> list[CheckpointSeen]:
    """Look at all checkpoints of a folder.

    Raises:
        NoCheckpointError: there is none.
    """
    seen = all_checkpoints_in(folder)
    if not seen:
        names = sorted(path.name for path in itertools.islice(folder.iterdir(), 1000))
        is_inside = any(re.fullmatch(r"step-\d+", name) for name in names)
        raise NoCheckpointError(
            f"there is no checkpoint in {folder}",
            found=f"in it: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "an empty folder",
            expected="the model_dir of an Estimator, or a folder with checkpoints of TensorFlow",
            fix=f"keras-estimator checkpoints {folder.parent if is_inside else 'MODEL_DIR'}",
        )
    return seen


def _plain(one: CheckpointSeen) -> dict[str, Any]:
    return {**dataclasses.asdict(one), "path": str(one.path)}
