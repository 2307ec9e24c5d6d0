"""Export a live model as a SavedModel: traced once, written aside, checked in a fresh process, renamed.

    predict ──traced──▶ one function ◀── features ◀── entry (the features themselves, or a receiver function)
                            │
                            └── outputs by name ──▶ answer (all of them, or one as predict, classify, regress)

Each pair of an entry and an answer is a signature. The variables, tables and files that the functions
use are found in the traced graphs, so whatever the model is made of is saved, wherever it keeps them.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_estimator.engines.tensorflow import receivers, serving_process, traced_graph, verification
from keras_estimator.engines.tensorflow.batches import Ports
from keras_estimator.engines.tensorflow.signatures import (
    DEFAULT,
    EXAMPLES_OF_SERVING,
    Answer,
    Entry,
    Signature,
    answers,
    declared_batch,
    entry_of_features,
    feature_spec,
    named_outputs,
    servable,
    with_batch,
)
from keras_estimator.engines.tensorflow.state import ModelState
from keras_estimator.errors import EstimatorWarning, ExportError
from keras_estimator.model.user_lines import running_line
from keras_estimator.state_files import locked

_LOG = logging.getLogger("keras_estimator")
_ABANDONED_SECS = 60
_MOST_COLLISIONS = 10


def export_saved_model(  # noqa: PLR0913 - the arguments of the original, and what they apply to
    model: Any,
    predict: Callable[[Any], Any],
    spec: Any,
    directory_base: str | Path,
    *,
    receiver_fn: Callable[[], Any] | None = None,
    export_outputs: Mapping[str, Any] | None = None,
    assets_extra: Mapping[str, Any] | None = None,
    as_text: bool = False,
    verify: bool = True,
    sample: Any = None,
) -> str:
    """Write the model below `directory_base` and return the folder, named by the time in seconds.

    Args:
        model: The live Keras model.
        predict: Features to outputs, traceable; features may be a dict of the model's input names.
        spec: What features look like; None: what the model declares.
        directory_base: Where the folder is made. TensorFlow Serving takes the largest number in it.
        receiver_fn: Says what is fed and how features are made of it; None: the features are fed.
        export_outputs: More signatures, each for one output: name to "predict", "classify" or "regress",
            or to the class of the original.
        assets_extra: Files to put into `assets.extra/`: path there to path here.
        as_text: Whether to write `saved_model.pbtxt`, which people can read.
        verify: Whether to load the result in a fresh process and compare it with `predict`.
        sample: Rows of features to compare on; None: they are made up from the spec.

    Raises:
        ExportError: it cannot be exported, or does not serve what the model predicts; nothing is left then.
    """
    base = _local(directory_base)
    wanted = answers(export_outputs)
    extra = _checked_assets(assets_extra)
    if verify:
        serving_process.start()  # it imports TensorFlow while the model is written
    with _portable(model), _aside(base) as folder:
        entries, named, remarks = _entries(model, predict, spec, receiver_fn)
        signatures = _signatures(entries, named, wanted)
        remarks += _remarks_on_signatures(signatures)
        owned = _checked_owners(model, signatures)
        remarks += _remarks_on_writes(traced_graph.writes(signatures[DEFAULT].function.graph, owned))
        _write(folder, signatures, owned, as_text=as_text)
        _copy_assets(folder, extra)
        if verify:
            live = verification.LiveModel(model, named, entries[""].feature_spec)
            remarks += verification.verify(folder, signatures, live, sample=sample)
        for remark in remarks:
            running_line().warn(remark)
        final = _publish(folder)
    _LOG.info("exported to %s: %s", final, ", ".join(signatures))
    return final


@contextlib.contextmanager
def _portable(model: Any) -> Iterator[None]:
    """Trace recurrent layers as operations that every server has: beside a GPU, Keras takes those of cuDNN."""
    every = model._flatten_layers()  # noqa: SLF001 - Keras has no public walk over nested layers
    free = [layer for layer in every if getattr(layer, "use_cudnn", None) == "auto"]
    for layer in free:
        layer.use_cudnn = False
    try:
        yield
    finally:
        for layer in free:
            layer.use_cudnn = "auto"


def _checked_owners(model: Any, signatures: Mapping[str, Signature]) -> dict[str, Any]:
    graphs = [signature.function.graph for signature in signatures.values()]
    for graph in graphs:
        traced_graph.refuse_callbacks(graph)
    return traced_graph.owners(graphs, ModelState(model).variables())


def _entries(
    model: Any, predict: Callable[[Any], Any], spec: Any, receiver_fn: Callable[[], Any] | None
) -> tuple[dict[str, Entry], Callable[[Any], dict[str, Any]], list[EstimatorWarning]]:
    """Return the ways in, the function from their features to named outputs, and remarks."""
    if receiver_fn is not None:
        entries = receivers.entries(receiver_fn)
        alone = _is_one_alone(entries[""].feature_spec, spec, model)

        def named_of_received(features: Any) -> dict[str, Any]:
            return named_outputs(model, predict(next(iter(features.values())) if alone else features))

        return entries, named_of_received, []

    def named(features: Any) -> dict[str, Any]:
        return named_outputs(model, predict(features))

    spec = feature_spec(model, spec)
    fixed = declared_batch(model)
    if fixed is None or _takes_any_batch(named, spec, fixed):
        return {"": entry_of_features(model, spec)}, named, []
    text = (
        f"the model takes batches of just {fixed} rows, and so does the export: its inputs or stateful layers were "
        f"made with that size. Make them with keras.Input(shape=...), without batch_size, to serve any number."
    )
    return {"": entry_of_features(model, with_batch(spec, fixed))}, named, [EstimatorWarning(text, rule="KE506")]


def _takes_any_batch(named: Callable[[Any], dict[str, Any]], spec: Any, fixed: int) -> bool:
    try:
        outputs = _traced(named, spec).outputs
    except Exception:  # noqa: BLE001 - whatever it is, the trace for `fixed` rows runs without it, or raises it again
        return False
    return {tensor.shape[0] for tensor in outputs if tensor.shape.rank} != {fixed}


def _is_one_alone(features: Any, spec: Any, model: Any) -> bool:
    """Say whether a dict of one received feature stands for a tensor that the model takes alone."""
    if not isinstance(features, Mapping) or len(features) != 1 or Ports(model).inputs is not None:
        return False
    return "feature" in features if spec is None else not isinstance(spec, Mapping)


def _traced(named: Callable[[Any], dict[str, Any]], spec: Any) -> Any:
    """Return `named` as a traced function of the parts of the features."""
    flat = tf.nest.flatten(spec, expand_composites=True)

    def serve(*tensors: Any) -> dict[str, Any]:
        return named(tf.nest.pack_sequence_as(spec, list(tensors), expand_composites=True))

    try:
        return tf.function(serve, autograph=False).get_concrete_function(*flat)
    except Exception as error:
        error.add_note(f"while the model was traced for serving, on features {spec}")
        raise


def _signatures(
    entries: Mapping[str, Entry], named: Callable[[Any], dict[str, Any]], wanted: Mapping[str, Answer]
) -> dict[str, Signature]:
    traced = _traced(named, entries[""].feature_spec)
    return {
        f"{way}:{name}" if way else name: _signature(traced, entry, answer)
        for way, entry in entries.items()
        for name, answer in wanted.items()
    }


def _signature(traced: Any, entry: Entry, answer: Answer) -> Signature:
    fed = entry.parts()
    names = list(servable(fed).values())
    if answer.kind != "predict" and entry.takes_examples:
        names = [EXAMPLES_OF_SERVING]
    inputs = {name: tf.TensorSpec(s.shape, s.dtype, name=name) for name, s in zip(names, fed.values(), strict=True)}

    def serve(*tensors: Any) -> dict[str, Any]:
        features = tf.nest.flatten(entry.features(tensors), expand_composites=True)
        return answer.pick(traced(*features))

    function = tf.function(serve, autograph=False, input_signature=list(inputs.values()))
    return Signature(entry, answer, inputs, function.get_concrete_function())


def _remarks_on_signatures(signatures: Mapping[str, Signature]) -> list[EstimatorWarning]:
    entry = signatures[DEFAULT].entry
    renamed = [f"`{name}` as `{served}`" for name, served in servable(entry.parts()).items() if name != served]
    unlike = [
        f"`{name}`"
        for name, signature in signatures.items()
        if signature.answer.kind != "predict" and not signature.entry.takes_examples
    ]
    remarks = []
    if renamed:
        remarks.append(
            f"inputs are served under other names: {', '.join(renamed)}; a signature has letters, digits and `_` "
            "only. Rename the inputs to choose the names."
        )
    if unlike:
        remarks.append(
            f"{', '.join(unlike)}: Classify and Regress of TensorFlow Serving send tf.Examples, which this export "
            "does not take; the signature can be used by Predict. Pass serving_input_receiver_fn="
            "ke.build_parsing_serving_input_receiver_fn(feature_spec) for tf.Examples."
        )
    return [EstimatorWarning(remark) for remark in remarks]


def _remarks_on_writes(written: list[str]) -> list[EstimatorWarning]:
    if not written:
        return []
    text = (
        f"serving changes the model: each request writes {', '.join(written)}, so that answers may depend on the "
        "requests before. Write in `call` only if `training` is true to keep the served model as it is."
    )
    return [EstimatorWarning(text, rule="KE504")]


def _write(folder: Path, signatures: Mapping[str, Signature], owned: Mapping[str, Any], *, as_text: bool) -> None:
    root = tf.Module()
    root.weights = {name: thing for name, thing in owned.items() if isinstance(thing, tf.Variable)}
    root.resources = [thing for thing in owned.values() if not isinstance(thing, tf.Variable)]
    functions = {name: signature.function for name, signature in signatures.items()}
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # it would tell where the temporary folder is
    try:
        tf.saved_model.save(root, str(folder), signatures=functions)
    finally:
        logger.setLevel(level)
    _finish_protocol(folder, signatures, as_text=as_text)


def _finish_protocol(folder: Path, signatures: Mapping[str, Signature], *, as_text: bool) -> None:
    """Say which signatures are for Classify and Regress (TensorFlow calls all of them Predict), and write text."""
    others = {name: s.method for name, s in signatures.items() if not s.method.endswith("/predict")}
    if not others and not as_text:
        return
    binary = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(binary.read_bytes())
    for name, method in others.items():
        saved.meta_graphs[0].signature_def[name].method_name = method
    if as_text:
        (folder / "saved_model.pbtxt").write_text(str(saved), encoding="utf-8")
        binary.unlink()
    else:
        binary.write_bytes(saved.SerializeToString(deterministic=True))
    (folder / "fingerprint.pb").unlink(missing_ok=True)  # the hash of a file that is not there any more


def _local(directory_base: str | Path) -> Path:
    if "://" in str(directory_base):
        raise ExportError(
            "an export is written to a local folder, because it appears by one rename",
            found=str(directory_base),
            expected="a path on this machine",
            fix="export to a local folder, then copy it: tf.io.gfile or the command line of your store",
        )
    return Path(directory_base)


def _checked_assets(assets_extra: Mapping[str, Any] | None) -> dict[PurePosixPath, Path]:
    found = {}
    for place, source in (assets_extra or {}).items():
        target, origin = PurePosixPath(place), Path(source)
        inside = not target.is_absolute() and ".." not in target.parts and "\\" not in str(place) and target.name
        if not inside or not origin.is_file():
            raise ExportError(
                "an extra asset cannot be copied",
                found=f"{str(place)!r}: {str(source)!r}",
                expected="a path inside of assets.extra/, to the path of a file that exists",
                fix='assets_extra={"labels.txt": "data/labels.txt"}',
            )
        found[target] = origin
    return found


def _copy_assets(folder: Path, extra: Mapping[PurePosixPath, Path]) -> None:
    for target, source in extra.items():
        place = folder / "assets.extra" / target
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)


@contextlib.contextmanager
def _aside(base: Path) -> Iterator[Path]:
    """Give a folder that servers do not look at; it is gone afterwards, unless it was renamed."""
    is_new = not base.exists()
    _remove_abandoned(base)
    folder = base / f"temp-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        with locked(folder, waits=False):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if is_new:
            with contextlib.suppress(OSError):  # there is an export in it
                base.rmdir()


def _remove_abandoned(base: Path) -> None:
    """Remove what killed exports have left: nobody holds it any more."""
    for folder in base.glob("temp-" + "[0-9a-f]" * 32):
        with contextlib.suppress(OSError), locked(folder, waits=False) as is_ours:
            # One that was made just now is not held yet.
            if is_ours and time.time() - folder.stat().st_mtime > _ABANDONED_SECS:
                shutil.rmtree(folder)
                _LOG.info("removed %s, which an export that was killed had left", folder)


def _publish(folder: Path) -> str:
    """Rename the folder to the present second, or to a later one that is free and after all exports there are.

    A server takes the largest number for the newest export. When several are made in one second and old ones are
    removed, a number before theirs becomes free again.
    """
    taken = (int(path.name) for path in folder.parent.iterdir() if path.name.isdecimal())
    now = max(int(time.time()), max(taken, default=0) + 1)
    for second in range(now, now + _MOST_COLLISIONS):
        final = folder.parent / str(second)
        if final.exists():
            continue
        try:
            folder.rename(final)
        except OSError:
            if not final.exists():
                raise
            continue  # another process was faster
        return str(final)
    raise ExportError(
        "there is no free name for the export",
        found=f"{_MOST_COLLISIONS} folders from {now} on in {folder.parent}",
        expected="at most one export per second",
        fix="wait some seconds and export again",
    )
