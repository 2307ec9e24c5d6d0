"""Hyper-parameters (`params`) reach input_fns and builders, and are shown wherever a run is looked at."""

from __future__ import annotations

import argparse
import functools
import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tensorboard import context
from tensorboard.backend.event_processing import data_provider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, metadata

import keras_estimator as ke
from keras_estimator.hooks.reporting import write_params
from keras_estimator.run_description import read_description

QUIET = ke.RunConfig(progress="off")
X = np.random.RandomState(0).normal(size=(24, 3)).astype("float32")
PARAMS = {"units": 5, "rate": 0.1, "net": {"layers": [3, 2], "bias": True}, "kind": "plain"}


def build(params: dict[str, Any]) -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(params.get("units", 2)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(params.get("rate", 0.5)), "mse")
    return model


def estimator(folder: Path, params: Any = None, builder: Any = build) -> ke.Estimator:
    return ke.model_to_estimator(builder, model_dir=folder, config=QUIET, params=params)


def shown(folder: Path) -> dict[str, Any]:
    """Return what TensorBoard's HParams view knows of a folder."""
    events = EventAccumulator(str(folder))
    events.Reload()
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    values = metadata.parse_session_start_info_plugin_data(content).hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}


def test_a_builder_gets_them_if_it_asks_for_them(tmp_path: Path) -> None:
    assert estimator(tmp_path / "given", PARAMS).model.layers[0].units == 5
    assert estimator(tmp_path / "none").model.layers[0].units == 2, "an empty dict"

    def by_default(params: Any = (("units", 7),)) -> keras.Model:
        return build(dict(params))

    assert estimator(tmp_path / "default", None, by_default).model.layers[0].units == 7
    assert estimator(tmp_path / "both", PARAMS, by_default).model.layers[0].units == 5
    assert estimator(tmp_path / "bound", None, functools.partial(build, PARAMS)).model.layers[0].units == 5
    with pytest.raises(ke.ModelError, match="missing a required argument: 'size'"):
        estimator(tmp_path / "more", PARAMS, lambda params, size: build(params))


@pytest.mark.parametrize("evaluates", [False, True])
def test_every_input_fn_gets_a_copy_of_its_own(tmp_path: Path, evaluates: bool) -> None:
    seen: list[dict[str, Any]] = []

    def input_fn(mode: str, params: dict[str, Any]) -> Any:
        seen.append(dict(params))
        params["net"]["layers"].append(mode)
        return X, X[:, :1]

    trained = estimator(tmp_path, PARAMS)
    if evaluates:
        ke.train_and_evaluate(trained, ke.TrainSpec(input_fn, max_steps=2), ke.EvalSpec(input_fn))
    else:
        trained.train(input_fn, steps=1).evaluate(input_fn)
        next(trained.predict(input_fn))
    assert len(seen) == (2 if evaluates else 3)
    assert all(params["units"] == 5 for params in seen)
    assert trained.params == PARAMS == read_description(tmp_path).contents["params"]
    trained.params["units"] = 0
    assert trained.params == PARAMS


def test_what_the_caller_changes_later_is_not_seen(tmp_path: Path) -> None:
    params: dict[str, Any] = {"net": {"layers": [3]}}
    made = estimator(tmp_path, params)
    params["net"]["layers"].append(4)
    assert made.params == {"net": {"layers": [3]}}
    assert estimator(tmp_path).params == {}


def test_tensorboard_shows_those_of_the_last_call(tmp_path: Path) -> None:
    estimator(tmp_path, PARAMS).train((X, X[:, :1]), steps=1)
    assert shown(tmp_path) == {"units": 5, "rate": 0.1, "net.layers": "[3, 2]", "net.bias": True, "kind": "plain"}
    estimator(tmp_path, {**PARAMS, "kind": "other"}).train((X, X[:, :1]), steps=1)
    assert shown(tmp_path)["kind"] == "other"
    estimator(tmp_path, None, lambda: build(PARAMS)).train((X, X[:, :1]), steps=1)
    assert not list(tmp_path.glob("*tfevents*"))


def test_without_summaries_only_the_description_holds_them(tmp_path: Path) -> None:
    config = QUIET.replace(save_summary_steps=None)
    made = ke.model_to_estimator(build, model_dir=tmp_path, config=config, params=PARAMS)
    made.train((X, X[:, :1]), steps=1)
    assert not list(tmp_path.rglob("*tfevents*"))
    assert read_description(tmp_path).contents["params"] == PARAMS


def test_any_plain_value_can_be_shown(tmp_path: Path) -> None:
    write_params(tmp_path, {"none": None, "empty": {}, "numpy": np.float32(0.5), "huge": 10**400, "path": tmp_path})
    text = str(10**400)
    assert shown(tmp_path) == {"none": "null", "empty": "{}", "numpy": 0.5, "huge": text, "path": str(tmp_path)}


def test_a_disk_that_takes_nothing_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(ke.EstimatorWarning, match="TensorBoard will not show the params"):
        write_params(tmp_path / "file", {"units": 1})


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ([("units", 1)], "need names"),
        ({1: 2}, "need names"),
        (argparse.Namespace(units=1), r"vars\(args\)"),
        ({"lock": threading.Lock()}, r"params\['lock'\]: _thread.lock"),
    ],
)
def test_what_is_no_value_by_name_is_refused(params: Any, what: str, tmp_path: Path) -> None:
    with pytest.raises(ke.ConfigError, match=what):
        estimator(tmp_path, params)


def test_tensorboard_sets_them_beside_the_metrics_of_training_and_evaluations(tmp_path: Path) -> None:
    data = X, X[:, :1]
    for rate in (0.1, 0.5):
        trained = estimator(tmp_path / f"{rate}", {"rate": rate}).train(data, steps=1)
        trained.evaluate(data, name="test")
    runs = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    source = data_provider.MultiplexerDataProvider(runs, str(tmp_path))
    plugin = backend_context.Context(base_plugin.TBContext(data_provider=source, multiplexer=runs))
    view = get_experiment.Handler(context.RequestContext(), plugin, "all", api_pb2.GetExperimentRequest()).run()
    assert [each.name for each in view.hparam_infos] == ["rate"]
    assert {("train", "loss"), ("eval_test", "loss")} <= {
        (each.name.group, each.name.tag) for each in view.metric_infos
    }
