"""The Blueprint of a model: makes exact, independent copies of it, in this process and in others."""

from __future__ import annotations

import types
from typing import Any

import keras
import numpy as np

from keras_estimator.model.anatomy import Holding, holdings
from keras_estimator.model.carrying import bytes_head
from keras_estimator.model.carrying.object_graph import ObjectGraph, no_garbage_collection
from keras_estimator.model.carrying.pickled_graph import read_graph, write_graph
from keras_estimator.model.carrying.put_together import Assembly
from keras_estimator.model.carrying.shells import Target
from keras_estimator.model.computation.fingerprint import Fingerprint, take_fingerprints
from keras_estimator.model.computation.purity import Purity, purity_of
from keras_estimator.model.computation.sample import batches_of
from keras_estimator.model.computation.separability import Separability, separability_of
from keras_estimator.model.source_lines import where_assigned
from keras_estimator.model.verification import Verification, verify


class Blueprint:
    """All that is needed to make a model again: in this process, in a strategy's scope, in another process.

    A copy has everything that the model has at that moment: weights, optimizer, metrics, seeds, raw
    variables, changed attributes, patched methods. It shares no state with the model. No constructor of
    a layer, no `get_config` and no other code of the user runs.

    Use `Blueprint.of(model)`. A blueprint can be pickled; what arrives in another process makes copies of
    the model as it was when it was pickled.

    Attributes:
        remarks: What the user should know about the copies, each with its path and its line.
    """

    def __init__(self, model: Any, data: bytes, remarks: tuple[str, ...], batch: Any = None) -> None:
        self._model = model
        self._data = data
        self._batch = batch
        self.remarks = remarks

    @classmethod
    def of(cls, model: keras.Model, batch: Any = None) -> Blueprint:
        """Look at a model, and refuse it now if it holds something that cannot be carried.

        Args:
            model: A Keras model, compiled or not, built or not. It is not changed.
            batch: A few rows of its data, as `train_step` gets them: `x`, `(x, y)` or `(x, y, sample_weight)`.
                What traces the model needs them if it was not built yet, or if no labels can be made up that
                fit its loss.

        Returns:
            A blueprint that follows the model: each copy is made of the model as it is then.

        Raises:
            BlueprintError: The model holds something that belongs to this process, such as an open file.
        """
        with no_garbage_collection():
            graph = ObjectGraph(Target.THIS_PROCESS)
            graph.explore(model)
            remarks = [remark for held in holdings(model) if (remark := _remark(graph, held))]
            remarks += [f"{path} {what}" for path, what in graph.waiting()]
        return cls(model, b"", tuple(remarks), batch)

    @classmethod
    def from_bytes(cls, data: bytes) -> Blueprint:
        """Take the bytes that `to_bytes` made.

        `build` runs code that is in the bytes, as every unpickling does: take them only from a source
        that you trust as you trust a program.

        Args:
            data: What `to_bytes` returned, in this version of Python and of Keras.

        Returns:
            A blueprint whose copies are the model as it was then.

        Raises:
            BlueprintError: The bytes are something else, damaged, or of another version of Python or format.
        """
        bytes_head.check(data)
        return cls(None, data, ())

    def build(self) -> keras.Model:
        """Make a copy of the model in the current scope.

        Returns:
            A new model on each call. Under a strategy's scope its variables are the strategy's, and raw
            ones are averaged over the replicas (floats) or taken from the first (integers, texts).

        Raises:
            BlueprintError: The model has got something that cannot be carried since `of`.
        """
        if self._data:
            return read_graph(self._data)
        with no_garbage_collection():
            graph = ObjectGraph(Target.THIS_PROCESS)
            graph.add(self._model)
            return Assembly(dict(enumerate(graph.records))).put_together()

    def to_bytes(self) -> bytes:
        """Write the model, with the code of the user that the other process does not have.

        Returns:
            Bytes for `from_bytes`; they differ from call to call.

        Raises:
            BlueprintError: The model, or code that it uses, cannot be carried to another process.
        """
        return self._data or write_graph(self._model)

    @property
    def fingerprint(self) -> Fingerprint:
        """What the model computes, as hashes; it is traced anew each time.

        Raises:
            BlueprintError: The model cannot be traced, or nothing says what it takes.
        """
        return take_fingerprints(self._live_model(), self._batch)[0].fingerprint

    @property
    def purity(self) -> Purity:
        """Whether the model computes the same each time it is traced; it is traced three times.

        Raises:
            BlueprintError: The model cannot be traced, or nothing says what it takes.
        """
        model = self._live_model()
        return purity_of(model, take_fingerprints(model, self._batch, times=3))

    @property
    def separability(self) -> Separability:
        """Whether each row of a batch is computed by itself; the model answers and is put back.

        Raises:
            BlueprintError: Nothing says what the model takes.
        """
        model = self._live_model()
        return separability_of(model, batches_of(model, self._batch)[0])

    def verify(self) -> Verification:
        """Build the model in a fresh process, where its source cannot be imported, and compare.

        The copy and the model each answer two batches and take one train step; all variables, all outputs
        and the fingerprints are compared, bit by bit. The model is put back to what it was. It takes some
        seconds, as a process starts that imports Keras.

        Returns:
            What was compared, and what differs.

        Raises:
            BlueprintError: The model cannot be carried, or nothing says what it takes.
        """
        return verify(self._live_model(), self.to_bytes(), self._batch)

    def _live_model(self) -> Any:
        if self._model is None:
            self._model = read_graph(self._data)
        return self._model

    def __getstate__(self) -> dict[str, Any]:
        batch = None if self._batch is None else keras.tree.map_structure(np.asarray, self._batch)
        return {"data": self.to_bytes(), "remarks": self.remarks, "batch": batch}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._model, self._data, self._batch = None, state["data"], state["batch"]
        self.remarks = state["remarks"]


def _remark(graph: ObjectGraph, held: Holding) -> str:
    """Return what to say about a variable; nothing if Keras would find it, too."""
    if not graph.reaches(held.variable):
        return (
            f"{held.path} ({where_assigned(held.owner, held.attribute)}) is held by a class or a global, not by the "
            "model: a copy in this process shares it; keep it as an attribute of a layer"
        )
    if isinstance(held.owner, types.FunctionType):
        line = where_assigned(held.owner, held.attribute)
        return f"{held.path} ({line}) is held by a function only: it is carried, but Keras does not train or save it"
    return ""
