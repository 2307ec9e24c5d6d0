"""When to export for serving after an evaluation: each time, at the end, or when the model is better than ever.

An export that one of these made says so in `assets.extra/evaluation.json`: the step and the metrics. When a run
was killed and goes on from an earlier checkpoint, it makes the exports of later steps anew, and those of before
make room for them.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_estimator.errors import ConfigError
from keras_estimator.plain_files import read_plain_file

_LOG = logging.getLogger("keras_estimator")
_MARK, _MAX_BYTES = "evaluation.json", 2**20
# Metrics that are known to be better when they are higher; losses and errors are better when lower.
_HIGHER = ("accuracy", "acc", "auc", "precision", "recall", "f1", "fbeta", "iou", "r2", "similarity", "score")
_LOWER = ("loss", "error", "mse", "mae", "mape", "msle", "rmse", "crossentropy", "divergence", "perplexity", "hinge")


class Exporter:
    """Decides after each evaluation whether the model is exported; override `export`.

    Attributes:
        name: The folder below `model_dir/export`; the exporters of one EvalSpec have different ones.
        needs_checkpoint: Whether there has to be a checkpoint of the model that was evaluated.
    """

    name: str = ""
    needs_checkpoint: bool = True

    def export(
        self,
        estimator: Any,
        export_path: str,
        checkpoint_path: str | None,
        eval_result: Mapping[str, Any] | None,
        is_the_final_export: bool,  # noqa: FBT001 - the original's signature
    ) -> str | None:
        """Export the model, or do not.

        Args:
            estimator: The Estimator, whose model is the one that was evaluated.
            export_path: `model_dir/export/<name>`.
            checkpoint_path: The newest checkpoint; None if there is none.
            eval_result: What `evaluate` returned.
            is_the_final_export: Whether training is over.

        Returns:
            The folder of the export; None if there was none.
        """
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Return as JSON values what has to survive a restart."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""

    def kept_steps(self) -> set[int]:
        """Return the steps whose checkpoints have to stay."""
        return set()


class _Export:
    """How an exporter writes: the receiver of requests, extra files, how many exports stay."""

    def __init__(
        self, receiver_fn: Any, assets_extra: Mapping[str, str] | None, *, as_text: bool, keep: int | None
    ) -> None:
        if keep is not None and (type(keep) is not int or keep < 1):
            raise ConfigError(
                "an exporter has to keep an export",
                found=f"exports_to_keep={keep!r}",
                expected="a whole number > 0, or None to keep all",
                fix="exports_to_keep=5",
            )
        self._options = {"serving_input_receiver_fn": receiver_fn, "as_text": as_text}
        self._assets = dict(assets_extra or {})
        self._keep = keep

    def write(self, estimator: Any, export_path: str, eval_result: Mapping[str, Any] | None) -> str:
        """Export the model as it is; without an evaluation nothing says at which step that was."""
        if eval_result is None:
            folder: str = estimator.export_saved_model(export_path, assets_extra=self._assets, **self._options)
        else:
            with _mark_file(eval_result) as mark:
                assets = {**self._assets, _MARK: mark}
                folder = estimator.export_saved_model(export_path, assets_extra=assets, **self._options)
            self.forget_from(export_path, int(eval_result["global_step"]), but=folder)
        exports = sorted(_exports(export_path), key=lambda path: int(path.name))
        for old in exports[: -self._keep] if self._keep else ():
            shutil.rmtree(old)
        return folder

    def forget_from(self, export_path: str, step: int, *, but: str = "") -> None:
        """Remove the exports of this step and of later ones: this run has not been there yet, or is there anew."""
        for path in _exports(export_path):
            made_at = _step_of(path)
            if made_at is not None and made_at >= step and path != Path(but):
                _LOG.info("removing %s, made at step %d by the run before: this one is at step %d", path, made_at, step)
                shutil.rmtree(path)


class LatestExporter(Exporter):
    """Exports after each evaluation, and keeps the newest exports.

    Args:
        name: The folder below `model_dir/export`.
        serving_input_receiver_fn: What a server receives. None: the model's own inputs by name.
        assets_extra: Path below `assets.extra` to the file to copy there.
        as_text: Whether the graph is written as text.
        exports_to_keep: How many; None: all.

    Raises:
        ConfigError: the name is empty, or `exports_to_keep` is not positive.
    """

    needs_checkpoint = False

    def __init__(
        self,
        name: str,
        serving_input_receiver_fn: Callable[[], Any] | None = None,
        assets_extra: Mapping[str, str] | None = None,
        as_text: bool = False,  # noqa: FBT001, FBT002 - the original's signature
        exports_to_keep: int | None = 5,
    ) -> None:
        self.name = _checked_name(name)
        self._export = _Export(serving_input_receiver_fn, assets_extra, as_text=as_text, keep=exports_to_keep)

    def export(
        self,
        estimator: Any,
        export_path: str,
        checkpoint_path: str | None,
        eval_result: Mapping[str, Any] | None,
        is_the_final_export: bool,  # noqa: FBT001 - the original's signature
    ) -> str | None:
        """Export the model."""
        return self._export.write(estimator, export_path, eval_result)


class FinalExporter(Exporter):
    """Exports once, when training is over.

    Args:
        name: The folder below `model_dir/export`.
        serving_input_receiver_fn: What a server receives. None: the model's own inputs by name.
        assets_extra: Path below `assets.extra` to the file to copy there.
        as_text: Whether the graph is written as text.

    Raises:
        ConfigError: the name is empty.
    """

    needs_checkpoint = False

    def __init__(
        self,
        name: str,
        serving_input_receiver_fn: Callable[[], Any] | None = None,
        assets_extra: Mapping[str, str] | None = None,
        as_text: bool = False,  # noqa: FBT001, FBT002 - the original's signature
    ) -> None:
        self.name = _checked_name(name)
        self._export = _Export(serving_input_receiver_fn, assets_extra, as_text=as_text, keep=None)

    def export(
        self,
        estimator: Any,
        export_path: str,
        checkpoint_path: str | None,
        eval_result: Mapping[str, Any] | None,
        is_the_final_export: bool,  # noqa: FBT001 - the original's signature
    ) -> str | None:
        """Export the model if training is over."""
        if not is_the_final_export:
            return None
        return self._export.write(estimator, export_path, eval_result)


class BestExporter(Exporter):
    """Exports when the model is better than at all evaluations before; its checkpoint stays, too.

    What was best is part of the checkpoints: a run that goes on compares with it. It is measured by
    `metric` and `mode`, or by `compare_fn`.

    Args:
        name: The folder below `model_dir/export`.
        serving_input_receiver_fn: What a server receives. None: the model's own inputs by name.
        event_file_pattern: Has no meaning: nothing is read from event files.
        compare_fn: Given `best_eval_result` and `current_eval_result` (by name if its arguments are called
            so, else in this order), returns whether the current one is better.
        assets_extra: Path below `assets.extra` to the file to copy there.
        as_text: Whether the graph is written as text.
        exports_to_keep: How many; None: all.
        metric: The name of a metric, or several: the next one decides where all before are equal.
        mode: "min", "max", or "auto" to go by the name; one for all, or one for each.

    Raises:
        ConfigError: the name is empty, `exports_to_keep` is not positive, there are `compare_fn` and
            `metric`, or nothing says whether a metric is better when higher or lower.
    """

    needs_checkpoint = False

    def __init__(  # noqa: PLR0913 - the original's signature
        self,
        name: str = "best_exporter",
        serving_input_receiver_fn: Callable[[], Any] | None = None,
        event_file_pattern: str | None = None,
        compare_fn: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] | None = None,
        assets_extra: Mapping[str, str] | None = None,
        as_text: bool = False,  # noqa: FBT001, FBT002 - the original's signature
        exports_to_keep: int | None = 5,
        *,
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] = "auto",
    ) -> None:
        del event_file_pattern
        if compare_fn is not None and metric is not None:
            raise ConfigError(
                "two things say which model is the best",
                found=f"compare_fn={compare_fn!r}, metric={metric!r}",
                expected="one of the two",
                fix=f"BestExporter(metric={metric!r})",
            )
        self.name = _checked_name(name)
        self._export = _Export(serving_input_receiver_fn, assets_extra, as_text=as_text, keep=exports_to_keep)
        self._is_better = comparison(metric or "loss", mode) if compare_fn is None else _by_name(compare_fn)
        self._best: dict[str, Any] | None = None

    def export(
        self,
        estimator: Any,
        export_path: str,
        checkpoint_path: str | None,
        eval_result: Mapping[str, Any] | None,
        is_the_final_export: bool,  # noqa: FBT001 - the original's signature
    ) -> str | None:
        """Export the model if it is better than the best so far."""
        if not eval_result:
            return None
        if self._best is not None and self._best.get("global_step") == eval_result["global_step"]:
            return None  # asked again about the same model
        if self._best is not None and not self._is_better(self._best, eval_result):
            self._export.forget_from(export_path, int(eval_result["global_step"]))
            return None
        if self._best is None:
            self._is_better(eval_result, eval_result)  # does it have the metric?
        folder = self._export.write(estimator, export_path, eval_result)
        self._best = {name: value for name, value in eval_result.items() if isinstance(value, int | float)}
        return folder

    def state(self) -> dict[str, Any]:
        """Return the best results so far."""
        return {} if self._best is None else {"best": self._best}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        best = state.get("best")
        self._best = None if best is None else {**best, "global_step": int(best["global_step"])}

    def kept_steps(self) -> set[int]:
        """Return the step of the best model."""
        return set() if self._best is None else {int(self._best["global_step"])}


def comparison(
    metric: str | Sequence[str], mode: str | Sequence[str] = "auto", *, min_delta: float = 0.0
) -> Callable[[Mapping[str, Any], Mapping[str, Any]], bool]:
    """Return a function that tells whether the second of two results is better than the first.

    Args:
        metric: The name of a metric, or several: the next one decides where all before are equal.
        mode: "min", "max", or "auto" to go by the name; one for all, or one for each.
        min_delta: A change of no more than this does not count.

    Raises:
        ConfigError: nothing says whether a metric is better when higher or lower. The function raises it
            if there is no such metric.
    """
    names = [metric] if isinstance(metric, str) else list(metric)
    modes = [mode] * len(names) if isinstance(mode, str) else list(mode)
    if not names or len(modes) != len(names):
        raise ConfigError(
            "each metric needs a mode",
            found=f"metric={metric!r}, mode={mode!r}",
            expected="a metric, or as many modes as metrics",
            fix=f"mode={['min'] * len(names)!r}",
        )
    signs = [_sign(name, each) for name, each in zip(names, modes, strict=True)]

    def is_better(best: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
        for name, sign in zip(names, signs, strict=True):
            before, after = value_of(best, name), value_of(now, name)
            if math.isnan(after) or math.isnan(before):
                return math.isnan(before) and not math.isnan(after)
            if abs(after - before) > min_delta:
                return sign * after > sign * before
        return False

    return is_better


def value_of(results: Mapping[str, Any], metric: str) -> float:
    """Return the value of a metric.

    Raises:
        ConfigError: it is not there.
    """
    value = results.get(metric)
    if isinstance(value, int | float):
        return float(value)
    raise ConfigError(
        "an evaluation has no such metric",
        found=f"{metric!r}",
        expected=f"one of {', '.join(name for name in results if name != 'global_step')}",
        fix="name one of those, or compile the model with it: model.compile(..., metrics=[...])",
    )


def _by_name(compare_fn: Callable[..., bool]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], bool]:
    """Let a function have its arguments by the names of the original, in whatever order it takes them."""
    names = ("best_eval_result", "current_eval_result")
    if not set(names) <= set(inspect.signature(compare_fn).parameters):
        return compare_fn
    return lambda best, now: compare_fn(**dict(zip(names, (best, now), strict=True)))


def _sign(metric: str, mode: str) -> int:
    if mode in {"min", "max"}:
        return 1 if mode == "max" else -1
    if mode != "auto":
        raise ConfigError(
            "there is no such mode", found=f"mode={mode!r}", expected="'min', 'max' or 'auto'", fix='mode="min"'
        )
    name = metric.lower()
    if any(part in name for part in _LOWER):
        return -1
    if any(part in name for part in _HIGHER):
        return 1
    raise ConfigError(
        f"nothing says whether `{metric}` is better when it is higher or lower",
        found=f"metric={metric!r}, mode='auto'",
        expected="mode='min' or mode='max'",
        fix=f"metric={metric!r}, mode='max'",
    )


def _checked_name(name: Any) -> str:
    if isinstance(name, str) and name.strip() and not {"/", "\\"} & set(name) and name not in {".", ".."}:
        return name
    raise ConfigError(
        "an exporter needs a name that can be a folder",
        found=f"name={name!r}",
        expected="a text without slashes",
        fix='LatestExporter("latest")',
    )


def _exports(export_path: str) -> list[Path]:
    folder = Path(export_path)
    return [path for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []


def _step_of(export: Path) -> int | None:
    """Return the step at which an exporter made an export; None if nothing says that one did."""
    try:
        step = json.loads(read_plain_file(export / "assets.extra" / _MARK, _MAX_BYTES))["global_step"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return step if type(step) is int else None


@contextlib.contextmanager
def _mark_file(eval_result: Mapping[str, Any]) -> Iterator[str]:
    plain = {name: value for name, value in eval_result.items() if isinstance(value, int | float)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _MARK
        path.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        yield str(path)
