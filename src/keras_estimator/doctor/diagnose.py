"""Diagnose a live model: `ke.diagnose(model)`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_estimator.console import show_log
from keras_estimator.doctor.examine import examine_files, examine_model, merged, of_failures, rules_wanted, wanted
from keras_estimator.doctor.failure import Failure
from keras_estimator.doctor.findings import Finding, Severity
from keras_estimator.doctor.imported import source_of
from keras_estimator.doctor.live import LiveModel
from keras_estimator.doctor.report import Report
from keras_estimator.doctor.settings import Settings, read_settings
from keras_estimator.doctor.targets import Target, make_model
from keras_estimator.errors import EstimatorError, ModelError
from keras_estimator.model.description import describe
from keras_estimator.report.elements import counted

_LOG = logging.getLogger("keras_estimator")


def diagnose(model: Any, batch: Any = None, *, select: Iterable[str] = (), ignore: Iterable[str] = ()) -> Report:
    """Find what stops a model from being saved, copied, traced, spread, exported, and on which line.

    Looks at the source of the model's own code, at the live model, and at what it does: it is traced, answers two
    batches, takes one step, is built anew in a fresh process, and saved and loaded as Keras does. It is left as it was.

    Args:
        model: A Keras model, compiled or not.
        batch: A few rows of its data, as `train_step` gets them: `x`, `(x, y)` or `(x, y, sample_weight)`. None: made
            up, if the model says what it takes.
        select: Codes, names or beginnings of codes of the rules that are wanted: `["KE2"]`. Empty: all, or those that
            `[tool.keras-estimator.doctor]` of pyproject.toml selects.
        ignore: The same, left out.

    Returns:
        The findings; `print` them, or show them in a notebook.

    Raises:
        ModelError: It is no Keras model.
        ConfigError: No rule has a code that was given.

    Example:
        >>> import keras, keras_estimator as ke
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        >>> ke.diagnose(model, select=["KE3"]).is_healthy
        True
    """
    return report_on(model, batch, (), read_settings(Path.cwd(), select, ignore))


def report_on(model: Any, batch: Any, failures: Sequence[Failure], settings: Settings) -> Report:
    """Diagnose a model.

    Args:
        model: See `diagnose`.
        batch: See `diagnose`.
        failures: What went wrong before the model was there.
        settings: What to look for.
    """
    live = LiveModel(_checked(model), batch)
    show_log()
    _LOG.info("looking at `%s`: its parts, its graph, a copy in a fresh process", model.name)
    found = examine_model(live, settings, failures)
    looked = f"{counted(len(live.layers) - 1, 'layer')}, {counted(len(live.files), 'file')} of yours"
    return Report(f"model `{model.name}`", tuple(found), looked, tuple(live.not_looked_at), describe(model))


def report_without_model(target: Target, failures: Sequence[Failure], settings: Settings) -> Report:
    """Diagnose a target whose model cannot be made: what went wrong, and what is found in its file."""
    files = [target.path] if target.path else []
    of_source = [one for _, found in examine_files(files, settings) for one in found]
    findings = wanted(merged(of_source, of_failures(failures)), settings)
    return Report(target.text, tuple(findings), counted(len(files), "file"), ("the model: it cannot be made",))


def findings_about(error: BaseException) -> list[Finding]:
    """Return what stops a model on the line of the user's that an error came from, and what rules make of the error.

    Args:
        error: What the user's code raised, or Keras on its behalf; it may be wrapped in an error of ours.

    Raises:
        ConfigError: The settings beside the user's file cannot be used.
    """
    failure = Failure(error, "call")
    place = failure.place
    settings = read_settings(Path(place.file).parent if place else Path.cwd())
    source = source_of(place.file) if place else None
    in_file = [one for rule in rules_wanted(settings) for one in rule.in_source(source)] if source else []
    stops = (one for one in in_file if one.severity is Severity.ERROR)
    on_line = [one for one in stops if one.place and place and one.place.line == place.line]
    # An error of ours says itself what it is; of one that no rule knows, its own text says more.
    foreign = [each for each in failure.chain if not isinstance(each, EstimatorError)][:1]
    told = [one for one in of_failures(Failure(each, "call") for each in foreign) if one.code != "KE002"]
    return wanted(merged(on_line, (one for one in told if not _is_silenced(one))), settings)


def _is_silenced(one: Finding) -> bool:
    source = source_of(one.place.file) if one.place else None
    return source is not None and one.place is not None and source.is_silenced(one.place.line, one.code)


def files_of(target: Target) -> list[str]:
    """Return the files in which the model of a target is written, that of the target first."""
    made = make_model(target)
    files = [str(target.path)] if target.path else []
    module = sys.modules.get(target.module)
    files += [str(module.__file__)] if module is not None and getattr(module, "__file__", None) else []
    files += LiveModel(made.model).files if made.model is not None else []
    by_path = {Path(file).resolve(): file for file in reversed(files)}
    return list(reversed(by_path.values()))


def _checked(model: Any) -> Any:
    if isinstance(model, keras.Model):
        return model
    raise ModelError(
        "the doctor looks at Keras models",
        found=f"{type(model).__name__}",
        expected="a keras.Model",
        fix="keras-estimator doctor script.py    looks at source files",
    )
