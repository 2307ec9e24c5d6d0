"""A live model as rules see it: its parts, where they are written, and what probes find, each when asked for."""

from __future__ import annotations

import ast
import contextlib
import functools
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.doctor import whereabouts
from keras_estimator.doctor.failure import Failure
from keras_estimator.doctor.findings import Finding, Place, Severity
from keras_estimator.doctor.imported import Imported, source_of
from keras_estimator.doctor.live_graph import LiveGraph
from keras_estimator.doctor.routes import Outcome, keras_routes
from keras_estimator.doctor.source import Source
from keras_estimator.errors import BlueprintError, EstimatorError
from keras_estimator.model import half_built, keras_private, numpy_calls
from keras_estimator.model.anatomy import Holding, holdings, layers_by_path
from keras_estimator.model.blueprint import Blueprint
from keras_estimator.model.carrying.shells import NotCarriedError
from keras_estimator.model.computation.fingerprint import Traced, loss_and_gradients, take_fingerprints
from keras_estimator.model.computation.purity import Purity, purity_of
from keras_estimator.model.computation.sample import batches_of, features_of, values_for
from keras_estimator.model.computation.separability import Separability, separability_of
from keras_estimator.model.computation.traces import Tracer
from keras_estimator.model.computation.trial import Trial, TrialInputs
from keras_estimator.model.computation.unchanged import unchanged
from keras_estimator.model.user_lines import UserLine
from keras_estimator.model.verification import Difference, Verification, compared, inputs_for, trial_here

_Found = TypeVar("_Found")
_TRACES = 3  # the first is not compared (see `purity`)


class LiveModel:
    """One model, left as it was by all that is asked here.

    Args:
        model: A Keras model.
        batch: A batch as `train_step` gets it; None: one is made up, if the model says what it takes.
    """

    def __init__(self, model: Any, batch: Any = None) -> None:
        self.model = model
        self.batch = batch
        self._trained: set[int] = set()  # weights that have a gradient
        # What goes wrong while the model is probed: each error once.
        self.failures: list[Failure] = []

    @property
    def keras(self) -> Any:
        """The module: a rule imports no backend itself, as those of the source run without one."""
        return keras

    @property
    def tf(self) -> Any:
        """The module, for the same reason."""
        return tf

    def unchanged(self) -> contextlib.AbstractContextManager[None]:
        """Let code run the model; its attributes, containers and the values of its variables are put back."""
        return unchanged(self.model, values=True)

    # --- its parts -------------------------------------------------------------------------------------------

    @cached_property
    def layers(self) -> dict[str, Any]:
        """Its layers by path, those that Keras does not track, too; the model itself is `""`."""
        return layers_by_path(self.model)

    @cached_property
    def holdings(self) -> list[Holding]:
        """Every variable that it holds, with who holds it."""
        return holdings(self.model)

    def layers_of(self, *names: str) -> Iterator[tuple[str, Any]]:
        """Yield path and layer of those that are instances of some classes, such as `"keras.layers.Lambda"`."""
        for path, layer in self.layers.items():
            if any(self.is_a(layer, name) for name in names):
                yield path, layer

    def is_a(self, thing: Any, name: str) -> bool:
        """Tell whether something is an instance of a class of Keras or TensorFlow, such as `"keras.layers.Lambda"`."""
        root, *names = name.split(".")
        cls = functools.reduce(lambda at, one: getattr(at, one, None), names, {"keras": keras, "tensorflow": tf}[root])
        return isinstance(cls, type) and isinstance(thing, cls)

    @property
    def layers_of_user(self) -> Iterator[tuple[str, Any]]:
        """Yield path and layer of those whose class is the user's."""
        for path, layer in self.layers.items():
            if whereabouts.is_of_user(type(layer)):
                yield path, layer

    def layer_named(self, text: str) -> str:
        """Return the path of the innermost layer that a text names, such as a variable's path; empty if none."""
        named = (path for path in self.layers if path and re.search(rf"(?<![\w/]){re.escape(path)}(?!\w)", text))
        return max(named, key=len, default="")

    def by_layer(self, differences: Iterable[Difference]) -> dict[str, list[Difference]]:
        """Return what differs by the layer that it names; what names none comes with the first that does."""
        found: dict[str, list[Difference]] = {}
        for one in differences:
            found.setdefault(self.layer_named(one.where), []).append(one)
        located = next(filter(None, found), "")
        if located and "" in found:
            found[located] += found.pop("")
        return found

    @cached_property
    def compiled_parts(self) -> dict[str, Any]:
        """What `compile` was given, by the name of its argument: optimizer, loss, metrics, ... and flags."""
        return keras_private.compile_arguments(self.model)

    # --- what it computes ------------------------------------------------------------------------------------

    @cached_property
    def traced(self) -> list[Traced]:
        """Its fingerprints, taken several times; empty if it cannot be traced."""
        try:
            with numpy_calls.heard() as heard:
                traced = take_fingerprints(self.model, self.batch, _TRACES)
        except EstimatorError as error:
            self._failed(error if error.rule else error.__cause__ or error, "call")
            return []
        self.numpy_calls: list[tuple[UserLine, str]] = list(dict.fromkeys(heard))
        return traced

    @cached_property
    def numpy_calls(self) -> list[tuple[UserLine, str]]:
        """The NumPy functions that run on tensors while it is traced: the line, and `numpy.sin`."""
        return vars(self)["numpy_calls"] if self.traced else []

    @cached_property
    def features(self) -> Any:
        """The specs of what it takes; None if nobody knows."""
        try:
            return features_of(self.model, self.batch)
        except BlueprintError:
            return None

    @cached_property
    def inference(self) -> LiveGraph | None:
        """The graph of its answer; None if it cannot be traced, or has no `call`."""
        if not keras_private.has_call(self.model):
            return None
        return self._graph("call", lambda x: self.model.predict_step((x,)), lambda: self.features)

    @cached_property
    def training(self) -> LiveGraph | None:
        """The graph of its answer in training; None if it cannot be traced, or has no `call`."""
        if not keras_private.has_call(self.model):
            return None
        answer = functools.partial(keras_private.answer, self.model, training=True)
        return self._graph("call", answer, lambda: self.features)

    @cached_property
    def step(self) -> LiveGraph | None:
        """The graph of its `train_step`; None if it is not compiled or cannot be traced.

        Where all in it is Keras's own it ends with the gradients: an update of each weight takes as long to trace as
        all the rest, and nobody asks what is in it.
        """
        if not self.model.compiled:
            return None
        step = self.model.train_step if self._has_own_step else self._up_to_the_update
        return self._graph("train", step, lambda: self.traced and self.traced[0].data)

    @property
    def _has_own_step(self) -> bool:
        optimizer = self.model.optimizer
        is_keras = optimizer is not None and not whereabouts.is_of_user(type(optimizer))
        return not is_keras or keras_private.has_own(self.model, "train_step")

    def _up_to_the_update(self, data: Any) -> Any:
        loss, gradients, metrics = loss_and_gradients(self.model, data, with_gradients=True)
        weights = zip(self.model.trainable_weights, gradients, strict=True)
        self._trained = {id(weight) for weight, gradient in weights if gradient is not None}
        return loss, gradients, metrics

    @cached_property
    def trained(self) -> set[int]:
        """The ids of the variables that its `train_step` writes to, or has a gradient for."""
        if self.step is None:
            return set()
        return self._trained | {id(captured.holding.variable) for captured, _ in self.step.writes() if captured.holding}

    def _graph(self, moment: str, function: Any, specs: Any) -> LiveGraph | None:
        given = specs()
        if given is None or not self.traced:
            return None
        try:
            with unchanged(self.model, values=False):
                half_built.complete(self.model)
                tracer = Tracer(self.model)
                if moment == "train" and self.model.optimizer is not None:
                    if keras_private.has_call(self.model):
                        tracer.graph(self.model.predict_step, (self.features,))  # which makes its weights
                    self.model.optimizer.build(self.model.trainable_weights)
                return LiveGraph(tracer, lambda: holdings(self.model), function, given)
        except Exception as error:  # noqa: BLE001 - code of the user's; what it says becomes a finding
            self._failed(error, moment)
            return None

    # --- what probes find ------------------------------------------------------------------------------------

    @cached_property
    def arrays(self) -> tuple[Any, Any] | None:
        """Two batches of what it takes; None if nobody knows."""
        return None if self.features is None else batches_of(self.model, self.batch)

    @cached_property
    def data(self) -> Any:
        """A batch as `train_step` gets it: that of the user, or one made up; None if nobody knows."""
        if self.batch is not None:
            return self.batch
        return values_for(self.traced[0].data) if self.traced and self.model.compiled else None

    def answer(self, features: Any, *, training: bool = False) -> list[np.ndarray[Any, Any]]:
        """Return what it answers to arrays, output by output; its state is put back."""
        tensors = tf.nest.map_structure(tf.convert_to_tensor, features)
        with unchanged(self.model, values=True), numpy_calls.eager_too():
            return [
                np.asarray(one) for one in tf.nest.flatten(keras_private.answer(self.model, tensors, training=training))
            ]

    @cached_property
    def separability(self) -> Separability | None:
        """Whether its rows are separate; None if it cannot be run."""
        if self.arrays is None or not self.traced or not keras_private.has_call(self.model):
            return None
        features = self.arrays[0]
        return self._probed(lambda: separability_of(self.model, features))

    @cached_property
    def purity(self) -> Purity | None:
        """Whether it computes the same each time it is traced; None if it cannot be."""
        # In the first trace an optimizer of the user's may make what it has in those behind it.
        return purity_of(self.model, self.traced[1:]) if self.traced else None

    @cached_property
    def inputs(self) -> TrialInputs | None:
        """What it is tried with; None if nobody knows what it takes, or it cannot be traced."""
        return inputs_for(self.model, self.batch, self.traced[0]) if self.traced and self.arrays is not None else None

    @cached_property
    def trial(self) -> Trial | None:
        """What it answers and learns; None if it does not run."""
        inputs = self.inputs
        if inputs is None:
            return None
        return self._probed(lambda: trial_here(self.model, inputs, self.traced[0]))

    def begin_verification(self) -> None:
        """Let a fresh process build a copy and try it out while other probes run here."""
        _ = self._verification_begun

    @cached_property
    def _verification_begun(self) -> Future[Verification] | None:
        inputs, trial = self.inputs, self.trial
        data = self._probed(lambda: Blueprint.of(self.model, self.batch).to_bytes())
        if inputs is None or trial is None or data is None:
            return None
        waiting = ThreadPoolExecutor(1)
        begun = waiting.submit(compared, trial, data, inputs)
        waiting.shutdown(wait=False)  # it takes no more, and ends with this; leaving a `with` would wait for it
        return begun

    @cached_property
    def verification(self) -> Verification | None:
        """What is different in a copy of it in a fresh process; None if it cannot be carried or run."""
        begun = self._verification_begun
        return None if begun is None else self._probed(begun.result)

    @cached_property
    def routes(self) -> dict[str, Outcome]:
        """What Keras's own ways make of it, by name: `"save"`; empty if it does not run."""
        if self.inputs is None or self.trial is None:
            return {}
        return keras_routes(self.model, self.inputs, self.trial)

    @property
    def not_looked_at(self) -> list[str]:
        """What could not be probed, and why."""
        found = []
        if self.features is None:
            found.append("what it computes: nothing says what the model takes; give a batch")
        elif self.model.compiled and self.data is None:
            found.append("its train step: nobody knows its data; give a batch")
        verification = vars(self).get("verification")  # only if some rule has asked for it
        if verification is not None:
            found += [f"{check} in a fresh process: {why}" for check, why in verification.not_checked.items()]
        return found

    def _probed(self, probe: Callable[[], _Found]) -> _Found | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a model that is probed, nobody asked for them
                return probe()
        except Exception as error:  # noqa: BLE001 - code of the user's; what it says becomes a finding
            self._failed(error, "call")
            return None

    def _failed(self, error: BaseException, moment: str) -> None:
        if isinstance(error, BlueprintError | NotCarriedError):
            return  # it runs; what cannot be carried is the business of a rule
        failure = Failure(error, moment)
        if not any((one.line, one.place) == (failure.line, failure.place) for one in self.failures):
            self.failures.append(failure)

    @cached_property
    def files(self) -> list[str]:
        """The files of the user in which it is written: classes of its parts, and functions that it was given."""
        parts: list[Any] = [type(layer) for layer in self.layers.values()]
        parts += [layer.function for _, layer in self.layers_of("keras.layers.Lambda")]
        parts += [type(held.owner) for held in self.holdings]
        parts += keras.tree.flatten(list(self.compiled_parts.values()))
        places = (self.place_of(part) for part in parts if part is not None)
        return list(dict.fromkeys(place.file for place in places if place))

    @property
    def around(self) -> Imported:
        """What names of its files stand for."""
        return Imported()

    def source(self, file: str) -> Source | None:
        """Return one of its files as rules see it; None if there is none, or it is no Python any more."""
        return source_of(file)

    def layers_at(self, finding: Finding) -> list[str] | None:
        """Return the layers that a finding in the source is about; None if it is about no part of this model.

        A file may have classes and functions of many models. Of what is in no class and in no function that Keras
        traces, such as a function that makes models, nobody knows whether this one was made there: warnings are given,
        but what cannot run was not, and what is only good to know can wait until somebody looks at the file.
        """
        place = finding.place
        source = self.source(place.file) if place else None
        if place is None or source is None:
            return []
        classes = [one.node for one in source.classes if _holds(one.node, place)]
        if classes:
            return self.parts_by_line.get((place.file, max(node.lineno for node in classes)))
        functions = [one.node for one in source.traced if _holds(one.node, place)]
        if functions:
            return self.parts_by_line.get((place.file, max(node.lineno for node in functions)))
        makes = any(isinstance(node, ast.FunctionDef) and _holds(node, place) for node in source.nodes)
        return None if makes and finding.severity is not Severity.WARNING else []

    @cached_property
    def parts_by_line(self) -> dict[tuple[str, int], list[str]]:
        """The paths of layers by file and line of their classes, of what those inherit from, and of their functions.

        Parts that are no layers, such as a loss, have no path, and are there.
        """
        found: dict[tuple[str, int], list[str]] = {}
        others = [held.owner for held in self.holdings] + keras.tree.flatten(list(self.compiled_parts.values()))
        for path, part in [*self.layers.items(), *(("", part) for part in others)]:
            values = [value for value in [part, *whereabouts.vars_of(part)] if callable(value)]
            for code in (*type(part).__mro__, *(code for value in values for code in whereabouts.codes_of(value))):
                place = self.place_of(code)
                if place:
                    paths = found.setdefault((place.file, place.line), [])
                    paths += [path] if path and path not in paths else []
        return found

    # --- where its parts are written -------------------------------------------------------------------------

    def place_of(self, thing: Any) -> Place | None:
        """Return where a class, a function, a method or the class of an object is written, if it is the user's."""
        return whereabouts.place_of(thing)

    def place_of_layer(self, layer: Any) -> Place | None:
        """Return where what a layer computes is written: the function of a Lambda, the `call` of a class."""
        if self.is_a(layer, "keras.layers.Lambda"):
            return self.place_of(layer.function)
        return self.place_of(getattr(type(layer), "call", type(layer))) or self.place_of(type(layer))

    def place_of_attribute(self, owner: Any, attribute: str) -> Place | None:
        """Return where `self.attribute = ...` is written in the class of an object; or else the class."""
        return whereabouts.place_of_attribute(owner, attribute)


def _holds(node: Any, place: Place) -> bool:
    return bool(node.lineno <= place.line <= node.end_lineno)
