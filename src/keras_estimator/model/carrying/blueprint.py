"""The Blueprint of a model: makes exact, independent copies of it, in this process and in others."""

from __future__ import annotations

import contextlib
import gc
import types
from collections.abc import Iterator
from typing import Any

import keras

from keras_estimator.model.anatomy import Holding, holdings
from keras_estimator.model.carrying.object_graph import ObjectGraph
from keras_estimator.model.carrying.pickled_graph import read_graph, write_graph
from keras_estimator.model.carrying.put_together import Assembly
from keras_estimator.model.carrying.shells import Target
from keras_estimator.model.source_lines import where_assigned


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

    def __init__(self, model: Any, data: bytes, remarks: tuple[str, ...]) -> None:
        self._model = model
        self._data = data
        self.remarks = remarks

    @classmethod
    def of(cls, model: keras.Model) -> Blueprint:
        """Look at a model, and refuse it now if it holds something that cannot be carried.

        Args:
            model: A Keras model, compiled or not, built or not. It is not changed.

        Returns:
            A blueprint that follows the model: each copy is made of the model as it is then.

        Raises:
            BlueprintError: The model holds something that belongs to this process, such as an open file.
        """
        with _no_garbage_collection():
            graph = _graph_of(model)
        remarks = [remark for held in holdings(model) if (remark := _remark(graph, held))]
        return cls(model, b"", tuple(remarks))

    @classmethod
    def from_bytes(cls, data: bytes) -> Blueprint:
        """Take the bytes that `to_bytes` made.

        `build` runs code that is in the bytes, as every unpickling does: take them only from a source
        that you trust as you trust a program.

        Args:
            data: What `to_bytes` returned, in this version of Python and of Keras.

        Returns:
            A blueprint whose copies are the model as it was then.
        """
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
        with _no_garbage_collection():
            return Assembly(dict(enumerate(_graph_of(self._model).records))).put_together()

    def to_bytes(self) -> bytes:
        """Write the model, with the code of the user that the other process does not have.

        Returns:
            Bytes for `from_bytes`; they differ from call to call.

        Raises:
            BlueprintError: The model, or code that it uses, cannot be carried to another process.
        """
        return self._data or write_graph(self._model)

    def __getstate__(self) -> dict[str, Any]:
        return {"data": self.to_bytes(), "remarks": self.remarks}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._model, self._data, self.remarks = None, state["data"], state["remarks"]


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Wait with the collection of cycles: tens of thousands of new objects, none of them garbage, double the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _graph_of(model: Any) -> ObjectGraph:
    graph = ObjectGraph(Target.THIS_PROCESS)
    graph.add(model)
    return graph


def _remark(graph: ObjectGraph, held: Holding) -> str:
    """Return what to say about a variable; nothing if Keras would find it, too."""
    if graph.number_of(held.variable) is None:
        return (
            f"{held.path} ({where_assigned(held.owner, held.attribute)}) is held by a class or a global, not by the "
            "model: a copy in this process shares it; keep it as an attribute of a layer"
        )
    if isinstance(held.owner, types.FunctionType):
        line = where_assigned(held.owner, held.attribute)
        return f"{held.path} ({line}) is held by a function only: it is carried, but Keras does not train or save it"
    return ""
