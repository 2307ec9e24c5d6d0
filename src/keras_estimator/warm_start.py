"""Warm start: a model begins with weights that another one has saved."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_estimator.errors import CheckpointMismatchError, ConfigError
from keras_estimator.weight_files import open_weights
from keras_estimator.weight_matching import Array, Matching, ModelNames, Weight, match

_LOG = logging.getLogger("keras_estimator")
_SHOWN = 8


@dataclasses.dataclass(frozen=True)
class VocabInfo:
    """How the rows of a weight move when its vocabulary has changed: a row goes where its token is now.

    Rows of tokens that the old vocabulary did not have, and those behind the vocabulary, stay as the model has them.
    Both files hold a token in each line.

    Args:
        new_vocab: The file of this model.
        new_vocab_size: How many of its lines count.
        num_oov_buckets: How many rows follow for other tokens.
        old_vocab: The file of the model that has saved the weights.
        old_vocab_size: How many of its lines count; -1: all.
        backup_initializer: Given shape and dtype, returns the rows without an old one. None: those of the model.
        axis: Of the weight, along which the tokens lie: 0 or 1.

    Raises:
        ConfigError: a value cannot be used.
    """

    new_vocab: str | Path
    new_vocab_size: int
    num_oov_buckets: int
    old_vocab: str | Path
    old_vocab_size: int = -1
    backup_initializer: Callable[..., Any] | None = None
    axis: int = 0

    def __post_init__(self) -> None:
        sizes = (self.new_vocab_size, self.num_oov_buckets, self.old_vocab_size)
        are_whole = all(isinstance(size, int) for size in sizes)
        if not are_whole or self.new_vocab_size < 1 or self.num_oov_buckets < 0 or self.axis not in (0, 1):
            raise ConfigError(
                "VocabInfo cannot use these sizes",
                found=f"new_vocab_size, num_oov_buckets, old_vocab_size = {sizes}, axis={self.axis!r}",
                expected="whole numbers: new_vocab_size > 0, num_oov_buckets >= 0, axis 0 or 1",
                fix="VocabInfo('new.txt', 1000, 0, 'old.txt')",
            )

    def moved(self, value: Array, before: Array) -> Array:
        """Return the weight for the new vocabulary.

        Args:
            value: The stored weight: along `axis` one for each old token, and perhaps more.
            before: The weight as the model has it: along `axis` one for each new token, and the buckets.

        Raises:
            ConfigError: a vocabulary cannot be read, or is of another size than its weight.
        """
        new = _tokens(self.new_vocab, self.new_vocab_size, before.shape[self.axis] - self.num_oov_buckets)
        old = {token: row for row, token in enumerate(_tokens(self.old_vocab, self.old_vocab_size, None))}
        pairs = [(row, old[token]) for row, token in enumerate(new) if token in old]
        if max((row for _, row in pairs), default=0) >= value.shape[self.axis]:
            raise _other_size(self.old_vocab, len(old), value.shape[self.axis])
        moved = np.array(before if self.backup_initializer is None else self._initial(before))
        at = [row for row, _ in pairs]
        rows = np.take(value, [row for _, row in pairs], axis=self.axis)
        np.moveaxis(moved, self.axis, 0)[at] = np.moveaxis(rows, self.axis, 0)
        return moved

    def _initial(self, before: Array) -> Array:
        assert self.backup_initializer is not None
        return np.asarray(self.backup_initializer(before.shape, dtype=before.dtype.name)).astype(before.dtype)


@dataclasses.dataclass(frozen=True)
class WarmStartSettings:
    """What a model begins with: some of the weights that another one has saved.

    It happens once, before the first step, and not at all if the model_dir has a checkpoint to go on from. Steps
    count from 0; optimizers, metrics and random numbers begin anew. weight_matching.py says which names are alike.

    Args:
        ckpt_to_initialize_from: A checkpoint of this package or a model_dir, a checkpoint of TensorFlow or a folder of
            them, a SavedModel, or a `.keras`, `.weights.h5` or `.h5` file. It is read as data; no code in it is run.
        vars_to_warm_start: Regular expressions, one or a list, which paths of weights have to match from their
            beginning; None: only what `var_name_to_vocab_info` names. Paths are those of `get_variable_names()`.
        var_name_to_vocab_info: Path of a weight to how its rows move.
        var_name_to_prev_var_name: Path of a weight, or of a layer, to what it is called where it was saved.

    Raises:
        ConfigError: a value cannot be used.
    """

    ckpt_to_initialize_from: str | Path
    vars_to_warm_start: str | Sequence[str] | None = ".*"
    var_name_to_vocab_info: Mapping[str, VocabInfo] | None = None
    var_name_to_prev_var_name: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        _check(isinstance(self.ckpt_to_initialize_from, str | Path), "ckpt_to_initialize_from", "a path", self)
        try:
            are_patterns = all(re.compile(pattern) for pattern in self.patterns)
        except (re.error, TypeError):
            are_patterns = False
        _check(are_patterns, "vars_to_warm_start", "a regular expression, a list of them, or None", self)
        for name, kind in (("var_name_to_vocab_info", VocabInfo), ("var_name_to_prev_var_name", str)):
            value = getattr(self, name) or {}
            is_map = isinstance(value, Mapping) and all(isinstance(each, kind) for each in value.values())
            _check(is_map, name, f"a dict of path to {kind.__name__}, or None", self)

    @property
    def patterns(self) -> Sequence[str]:
        """The regular expressions."""
        patterns = self.vars_to_warm_start
        return [patterns] if isinstance(patterns, str) else list(patterns or ())

    def takes(self, path: str) -> bool:
        """Return whether a weight is to begin with a stored value; programs for TensorFlow 1 wrote `:0` after names."""
        by_name = any(re.match(pattern.removesuffix(":0"), path) for pattern in self.patterns)
        return by_name or path in (self.var_name_to_vocab_info or {})


class _Starting(Protocol):
    """The engine, as far as it is needed here."""

    def start_from(self, choose: Callable[[Any], dict[str, Array]]) -> None: ...


class WarmStart:
    """Lets a model begin with stored weights, once.

    Args:
        asked: What the user gave; None: nothing.
    """

    def __init__(self, asked: str | Path | WarmStartSettings | None) -> None:
        self._settings = asked if asked is None or isinstance(asked, WarmStartSettings) else WarmStartSettings(asked)

    def give(self, engine: _Starting, *, goes_on_from: Path | None) -> None:
        """Let the model of an engine begin so, unless it goes on from a checkpoint.

        Raises:
            CheckpointError: see `chosen`, if every layer has its weights already.
        """
        settings = self._settings
        if settings is None:
            return
        if goes_on_from is None:
            engine.start_from(lambda model: chosen(model, settings))
        else:
            _LOG.info("no warm start: the run goes on from %s", goes_on_from)
        self._settings = None


def chosen(model: Any, settings: WarmStartSettings) -> dict[str, Array]:
    """Return what the weights of a model begin with, by path, and say in the log what was found.

    Args:
        model: A Keras model whose layers are built.
        settings: What the user asks for.

    Raises:
        ConfigError: the settings name something that is not there.
        NoCheckpointError: nothing is there.
        CheckpointMismatchError: shapes or types differ, it is not clear what belongs together, or nothing does.
        CheckpointError: what is there cannot be read.
    """
    from keras_estimator.model.weight_names import named_weights  # noqa: PLC0415 - settings are made without Keras

    source = str(settings.ckpt_to_initialize_from)
    vocabularies = dict(settings.var_name_to_vocab_info or {})
    names = named_weights(model)
    names = dataclasses.replace(names, weights=[_of_any_rows(w, vocabularies.get(w.path)) for w in names.weights])
    asked = [weight for weight in names.weights if settings.takes(weight.path)]
    _check_asked(names, asked, settings)
    with open_weights(Path(source)) as stored:
        found = match(names, asked, stored, settings.var_name_to_prev_var_name or {}, source)
        _check_found(asked, found, [each.name for each in stored], source)
        values = {path: each.read() for path, each in found.pairs.items()}
    _report(asked, found, source)
    for weight in asked:
        if weight.path in values and weight.path in vocabularies:
            values[weight.path] = vocabularies[weight.path].moved(values[weight.path], weight.read())
    return values


def _of_any_rows(weight: Weight, vocabulary: VocabInfo | None) -> Weight:
    """Let a weight take any number of rows if these are moved by their tokens."""
    if vocabulary is None:
        return weight
    shape = tuple(None if axis == vocabulary.axis else size for axis, size in enumerate(weight.shape))
    return dataclasses.replace(weight, shape=shape)


def _check_asked(names: ModelNames, asked: Sequence[Weight], settings: WarmStartSettings) -> None:
    paths = [weight.path for weight in names.weights]
    unknown = [path for path in settings.var_name_to_vocab_info or {} if path not in paths]
    if asked and not unknown:
        return
    raise ConfigError(
        "warm start: the model has no such weight",
        found=f"vars_to_warm_start={settings.vars_to_warm_start!r}, var_name_to_vocab_info of {unknown}",
        expected=f"the weights of the model: {_shown(paths)}",
        fix="WarmStartSettings(path), for all of them",
    )


def _check_found(asked: Sequence[Weight], found: Matching, theirs: Sequence[str], source: str) -> None:
    """See that what was paired fits, and that something was."""
    if not found.pairs:
        raise CheckpointMismatchError(
            f"warm start: nothing in {source} has the name of a weight of the model",
            found=f"{len(theirs)} there: {_shown(theirs)}",
            expected=f"one of the {len(asked)} that begin with something: {_shown([w.path for w in asked])}",
            fix=f"WarmStartSettings(..., var_name_to_prev_var_name={{{asked[0].path!r}: 'its name there'}})",
        )
    others = [weight for weight in asked if weight.path in found.pairs and not weight.takes(found.pairs[weight.path])]
    if others:
        pattern = rf"(?!(?:{'|'.join(re.escape(weight.path) for weight in others)})$)"
        raise CheckpointMismatchError(
            f"warm start: {len(others)} weights of the model have other shapes or types in {source}",
            found="\n".join(_difference(weight, found) for weight in others),
            expected="the same shape, and numbers of the same kind",
            fix=f"to begin without them: WarmStartSettings(..., vars_to_warm_start={pattern!r})",
        )


def _difference(weight: Weight, found: Matching) -> str:
    stored = found.pairs[weight.path]
    return f"{weight.path}: {stored.name} {stored.shape} {stored.dtype} for {weight.shape} {weight.dtype}"


def _report(asked: Sequence[Weight], found: Matching, source: str) -> None:
    missing = [weight.path for weight in asked if weight.path not in found.pairs]
    unused = [each.name for each in found.unused]
    text = f"warm start from {source}: {len(found.pairs)} of {len(asked)} weights begin with what is there"
    text += f"; not there, so as the model has them: {len(missing)} ({_shown(missing)})" * bool(missing)
    text += f"; there and not used: {len(unused)} ({_shown(unused)})" * bool(unused)
    _LOG.info("%s", text)
    for path, stored in found.pairs.items():
        _LOG.debug("warm start: %s begins with %s %s", path, stored.name, stored.shape)
    for what, names in (("is not there", missing), ("is not used", unused)):
        for name in names:
            _LOG.debug("warm start: %s %s", name, what)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _tokens(path: str | Path, size: int, rows: int | None) -> list[str]:
    """Return the first lines of a vocabulary, which must be as many as the weight has rows."""
    try:
        tokens = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"warm start: the vocabulary {path} cannot be read",
            found=f"{type(error).__name__}: {error}",
            expected="a text file in UTF-8 with a token in each line",
            fix=f"ls -l {path}",
        ) from error
    tokens = tokens if size == -1 else tokens[:size]
    if rows is not None and len(tokens) != rows:
        raise _other_size(path, len(tokens), rows)
    return tokens


def _other_size(path: str | Path, tokens: int, rows: int) -> ConfigError:
    return ConfigError(
        f"warm start: the vocabulary {path} is not that of its weight",
        found=f"{tokens} tokens for {rows} rows",
        expected="a row for each token",
        fix="VocabInfo(new_vocab, new_vocab_size, num_oov_buckets, old_vocab, old_vocab_size)",
    )


def _check(fits: bool, name: str, expected: str, settings: WarmStartSettings) -> None:  # noqa: FBT001 - a condition
    if not fits:
        raise ConfigError(
            f"WarmStartSettings cannot use this `{name}`",
            found=f"{name}={getattr(settings, name)!r}"[:300],
            expected=expected,
            fix="WarmStartSettings('runs/old/model.ckpt-300', vars_to_warm_start='dense.*')",
        )
