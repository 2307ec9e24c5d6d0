"""Turn a Keras model into an Estimator, and an Estimator into one that measures more: the functions of the original."""

from __future__ import annotations

import contextlib
import inspect
import logging
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_estimator.arguments import checked_params
from keras_estimator.console import show_log
from keras_estimator.doctor.advice import advised
from keras_estimator.errors import ConfigError, EstimatorWarning, ModelError
from keras_estimator.estimator import Estimator
from keras_estimator.run_config import RunConfig
from keras_estimator.warm_start import WarmStartSettings

_LOG = logging.getLogger("keras_estimator")
_ANY_BYTES, _MOST_EXPANSION = 64 * 2**20, 50  # of a `.keras` file that somebody has compressed
_said: set[str] = set()


def model_to_estimator(  # noqa: PLR0913 - the arguments of the original
    keras_model: Any | Callable[..., Any] | None = None,
    keras_model_path: str | Path | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    model_dir: str | Path | None = None,
    config: RunConfig | None = None,
    checkpoint_format: str | None = None,
    metric_names_map: Mapping[str, str] | None = None,
    export_outputs: Mapping[str, Any] | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    warm_start_from: str | Path | WarmStartSettings | None = None,
) -> Estimator:
    """Turn any Keras model into an Estimator, as it is.

    The model itself is trained: nothing is cloned, and it may be converted again.

    Args:
        keras_model: A `keras.Model`: Sequential, Functional or subclassed, built or not, compiled
            or not; or a callable that returns one, without arguments or with one called `params`.
        keras_model_path: A `.keras` or `.h5` file instead; it is loaded in Keras's safe mode.
        custom_objects: Classes and functions by name, for loading that file.
        model_dir: Where checkpoints and summaries are written. None: `config.model_dir`, or a
            temporary folder.
        config: How it runs.
        checkpoint_format: "checkpoint" or "saver", as in the original; both lead to the one format
            there is (folders of safetensors and JSON), which is said once in the log.
        metric_names_map: Name of every metric to the name it has in the results of `evaluate`.
        export_outputs: Output name to the kind of its extra signature in an export.
        params: Hyper-parameters by name, for an input_fn and a callable `keras_model` that ask for `params`.
            Reports and the HParams view of TensorBoard show them.
        warm_start_from: What saved weights the model begins with, if `model_dir` has no checkpoint: a path (see
            `WarmStartSettings`), of which every weight that has its counterpart there takes the value.

    Returns:
        The estimator.

    Raises:
        ConfigError: both or none of model and path are given, the format is unknown, or `params` are no plain
            values by name.
        ModelError: the object is not a Keras 3 model, or the file holds none.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        >>> model_to_estimator(model, model_dir="runs/linear").model is model
        True
    """
    show_log()
    if (keras_model is None) == (keras_model_path is None):
        raise ConfigError(
            "give either a model or the path of one",
            found="both" if keras_model is not None else "neither `keras_model` nor `keras_model_path`",
            expected="one of the two",
            fix="model_to_estimator(keras_model=model)",
        )
    _check_format(checkpoint_format)
    params = None if params is None else checked_params(params)
    if config is not None and config.tf_random_seed is not None:
        keras.utils.set_random_seed(config.tf_random_seed)
    if keras_model_path is not None:
        with advised():
            keras_model = _loaded(keras_model_path, custom_objects)
    elif not isinstance(keras_model, keras.Model) and callable(keras_model) and not _is_other_model(keras_model):
        keras_model = _built(keras_model, params)
    named = {"metric_names_map": metric_names_map, "export_outputs": export_outputs, "params": params}
    return Estimator(keras_model, model_dir, config, **named, warm_start_from=warm_start_from)


def add_metrics(estimator: Estimator, metric_fn: Callable[..., Mapping[str, Any]]) -> Estimator:
    """Return an estimator whose `evaluate` also reports what a function measures.

    It has the model, the model_dir and the training state of the one that was given, which stays as it is. The
    function is called to be traced, not for each batch; the metrics that it makes go on from batch to batch. One
    that cannot be traced, because it asks for values (`.numpy()`, a function of scikit-learn), is called in Python
    after each batch, which takes longer; the log says so.

    Args:
        estimator: What `model_to_estimator` returned.
        metric_fn: A function of some of `features`, `labels`, `predictions` (output name to tensor),
            `sample_weight` and `config`, by these names. It returns by name `keras.metrics.Metric`s that it
            has updated, or tensors: one value for the batch, or one for each example; their mean over the
            examples is reported.

    Returns:
        The new estimator; it trains, predicts and exports like the other.

    Raises:
        ConfigError: it is no estimator, or the function cannot be called so. While evaluating: it returns
            something else, or a name that the model or another function has (the original let the last one win).

    Example:
        >>> import keras
        >>> def metric_fn(labels, predictions):
        ...     far = keras.metrics.MeanAbsoluteError()
        ...     far.update_state(labels, predictions["out"])
        ...     return {"mean_distance": far}
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="out")])
        >>> model.compile(loss="mse")
        >>> estimator = add_metrics(model_to_estimator(model, model_dir="runs/measured"), metric_fn)
        >>> sorted(estimator.evaluate((keras.ops.ones((3, 4)), keras.ops.ones((3, 1)))))
        ['global_step', 'loss', 'mean_distance']
    """
    if not isinstance(estimator, Estimator):
        raise ConfigError(
            "add_metrics needs an estimator",
            found=f"{type(estimator).__module__}.{type(estimator).__qualname__}",
            expected="what model_to_estimator returns",
            fix="add_metrics(model_to_estimator(model), metric_fn)",
        )
    return estimator.with_metrics(metric_fn)


def _built(builder: Callable[..., Any], params: dict[str, Any] | None) -> Any:
    given: dict[str, Any] = {}
    try:
        signature = inspect.signature(builder)
        wanted = signature.parameters.get("params")
        if wanted is not None and (params is not None or wanted.default is wanted.empty):
            given = {"params": checked_params(params)}  # a copy: a builder may change it
        signature.bind(**given)
    except TypeError as error:
        name = getattr(builder, "__name__", type(builder).__name__)
        raise ModelError(
            f"the builder `{name}` cannot be called without arguments",
            found=str(error),
            expected="a callable without arguments, or with one called `params`, that returns a model",
            fix=f"pass lambda: {'build' if name == '<lambda>' else name}(...), with its arguments",
        ) from error
    except ValueError:
        pass  # a builtin without a signature
    with advised():
        return builder(**given)


def _is_other_model(thing: Any) -> bool:
    """Tell whether `thing` can be called but builds nothing: a layer, or a model of tf_keras."""
    return isinstance(thing, keras.Layer) or hasattr(thing, "train_on_batch")


def _check_format(checkpoint_format: str | None) -> None:
    if checkpoint_format not in ("checkpoint", "saver", None):
        raise ConfigError(
            "there is no such checkpoint format",
            found=f"checkpoint_format={checkpoint_format!r}",
            expected='"checkpoint" or "saver"',
            fix="leave checkpoint_format out",
        )
    if checkpoint_format is not None and "format" not in _said:
        _said.add("format")
        _LOG.info("checkpoints are folders of safetensors and JSON, whatever checkpoint_format says")


def _loaded(path: str | Path, custom_objects: Mapping[str, Any] | None) -> Any:
    options = {"custom_objects": dict(custom_objects or {}), "safe_mode": True}
    _check_file(Path(path))
    try:
        return keras.saving.load_model(path, **options)
    except Exception as error:  # noqa: BLE001 - the file may be anybody's, and Keras raises anything then
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        try:
            # Keras cannot read the names of losses that it wrote into an .h5 file itself.
            model = keras.saving.load_model(path, compile=False, **options)
        except Exception:  # noqa: BLE001 - the same
            raise _no_model(path, reason) from error
    text = f"{path} was loaded without optimizer and loss ({reason}); call estimator.model.compile(...) to train"
    warnings.warn(text, EstimatorWarning, stacklevel=3)
    return model


def _check_file(path: Path) -> None:
    """Refuse what cannot be opened without harm; anything else is for Keras to refuse."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise _no_model(path, "a pipe or a device")  # to open one may take for ever
    with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        num_bytes = sum(member.file_size for member in archive.infolist())
        if num_bytes > max(_ANY_BYTES, _MOST_EXPANSION * path.stat().st_size):  # Keras does not compress at all
            raise _no_model(path, f"{num_bytes:,} bytes are packed into {path.stat().st_size:,}")


def _no_model(path: str | Path, found: str) -> ModelError:
    return ModelError(
        f"no model can be loaded from {path}",
        found=found,
        expected="a .keras or .h5 file whose classes are known, without Python lambdas",
        fix="pass custom_objects={'Name': Name}, or build the model in code and pass it as keras_model",
    )
