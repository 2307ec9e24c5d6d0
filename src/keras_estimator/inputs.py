"""What data may be given: tell arrays from batches, and match arrays and models by name.

Nothing here touches a backend; the engine turns a `Source` into batches on its own.

What may be given, as the result of an input_fn or directly:

| given                                             | read as                                           |
|---------------------------------------------------|---------------------------------------------------|
| `Arrays(x, y, ...)`, `(x, y)`, `(x, y, weights)`  | rows in memory: batched, shuffled when training   |
| dict of arrays, `(dict, labels)`, pandas          | rows in memory, columns by name                   |
| `tf.data.Dataset`                                 | batches, one pass                                 |
| `PyDataset`, torch `DataLoader`, grain, list      | batches, as many passes as steps ask for          |
| generator, iterator                               | batches, one pass                                 |
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from keras_estimator.errors import ConfigError, EmptyInputError, InputError
from keras_estimator.input_functions import InputContext, asks_for_context, call_input_fn
from keras_estimator.run_config import ModeKeys

_BATCH = "(x,), (x, y) or (x, y, sample_weight)"


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Rows in memory, read in batches in an order that can be repeated and sought.

    Args:
        x: One array, or a list, tuple or dict of arrays; the first axis of each is the row. Pandas
            frames, SciPy sparse matrices and ragged or sparse tensors are taken as they are.
        y: Labels, in the structure of the model's outputs. None: there are none.
        sample_weight: Shape `(rows,)`, or one such array per output.
        batch_size: Rows in a batch; the last batch of a pass may be smaller.
        shuffle: Whether each pass has an order of its own. None: when training.
        seed: Decides the orders. None: `RunConfig.tf_random_seed`, or 0.
        epochs: How many passes a call of `train` makes at most. None: as many as its steps ask for,
            or one if it was given no number of steps.
        drop_remainder: Whether the smaller last batch of a pass is left out.

    Raises:
        ConfigError: `batch_size` or `epochs` is not positive.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None
    _: dataclasses.KW_ONLY
    batch_size: int = 32
    shuffle: bool | None = None
    seed: int | None = None
    epochs: int | None = None
    drop_remainder: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int | np.integer) or value < 1):
                raise ConfigError(
                    f"`{name}` cannot be {value!r}",
                    found=f"Arrays({name}={value!r})",
                    expected="a whole number of at least 1",
                    fix=f"pass {name}={'32' if name == 'batch_size' else 'None'}",
                )


@dataclasses.dataclass(frozen=True)
class Source:
    """The data of one call, ready for an engine.

    Attributes:
        data: `Arrays` with NumPy (or ragged, sparse) leaves, or something that gives batches.
        mode: One of `ModeKeys`.
        passes: How many passes there are at most; None: as many as the steps ask for.
        input_fn: What gave the data, if they were not given themselves.
        again: Gives the data anew, if they come from an input_fn: an iterator is read only once.
        input_context: What the input_fn was given, if it asked for it.
    """

    data: Any
    mode: str
    passes: int | None = None
    input_fn: Any = None
    again: Callable[[], Any] | None = None
    input_context: InputContext | None = None

    @property
    def is_part(self) -> bool:
        """Whether other processes read other parts of the same batches."""
        return self.input_context is not None and self.input_context.num_input_pipelines > 1

    @property
    def stays_open(self) -> bool:
        """Whether the next call reads on where this one stopped, instead of seeking that place."""
        return not isinstance(self.data, Arrays) or self.is_part

    def is_like(self, other: Source) -> bool:
        """Whether data of the same `identity` are surely those of `other`, which then can be read on.

        Of a pipeline the identity says what it computes; of a generator it says next to nothing.
        """
        return hasattr(self.data, "element_spec") or (self.input_fn is not None and self.input_fn == other.input_fn)


def source_from(input_fn: Any, known: Mapping[str, Any], *, seed: int | None, has_steps: bool) -> Source:
    """Return what `input_fn` gives (see `call_input_fn`), for an engine (see `as_source`)."""
    data, mode = call_input_fn(input_fn, known), known["mode"]
    if data is input_fn:
        return as_source(data, mode=mode, seed=seed, has_steps=has_steps)
    again = functools.partial(call_input_fn, input_fn, known)
    context = known["input_context"] if asks_for_context(input_fn) else None
    source = as_source(data, mode=mode, seed=seed, has_steps=has_steps, input_fn=input_fn, again=again)
    return dataclasses.replace(source, input_fn=input_fn, input_context=context)


def as_source(
    data: Any,
    *,
    mode: str,
    seed: int | None,
    has_steps: bool,
    input_fn: Any = None,
    again: Callable[[], Any] | None = None,
) -> Source:
    """Describe `data` (see the table above) for an engine.

    Args:
        data: What the input_fn gave.
        mode: One of `ModeKeys`; only training shuffles, and reads more than one pass.
        seed: The seed of the run, for `Arrays` without one.
        has_steps: Whether the caller said how many steps to make.
        input_fn: What gave the data.
        again: Gives the data anew.

    Raises:
        InputError: the rows of the arrays differ in number, or `data` is nothing we know.
        EmptyInputError: the arrays have no row.
    """
    training = mode == ModeKeys.TRAIN
    is_list_of_batches = isinstance(data, list) and bool(data) and isinstance(data[0], tuple)
    if not isinstance(data, Arrays) and not is_list_of_batches and (parts := _row_parts(data)) is not None:
        data = Arrays(*parts)
    if isinstance(data, Arrays):
        shuffle = training if data.shuffle is None else data.shuffle
        seed = data.seed if data.seed is not None else (seed or 0)
        passes = data.epochs if data.epochs is not None else (None if has_steps and training else 1)
        data = dataclasses.replace(data, **_checked(data), shuffle=shuffle, seed=seed)
        return Source(data, mode, passes)
    if hasattr(data, "element_spec") or isinstance(data, Iterator):
        return Source(data, mode, 1, input_fn, again)
    if not isinstance(data, str | bytes) and (hasattr(data, "__getitem__") or hasattr(data, "__iter__")):
        return Source(data, mode, None if has_steps and training else 1, input_fn)
    raise InputError(
        f"a {type(data).__name__} is not data that can be read",
        found=_shortened(data),
        expected=f"a tf.data.Dataset, arrays, a generator or a PyDataset, giving {_BATCH}",
        fix="return a tf.data.Dataset or (x, y) from the input_fn",
    )


def _row_parts(data: Any) -> tuple[Any, ...] | None:
    """Return `(x[, y[, sample_weight]])` if `data` are rows in memory, else None."""
    parts = data if isinstance(data, tuple) and not hasattr(data, "_fields") else (data,)
    if not 1 <= len(parts) <= 3 or not _is_rows(parts[0]):
        return None
    return parts if all(part is None or _is_rows(part) for part in parts) else None


def _is_rows(thing: Any) -> bool:
    if isinstance(thing, Mapping):
        return bool(thing) and all(_is_rows(value) for value in thing.values())
    if isinstance(thing, list | tuple):
        return bool(thing) and all(_is_rows(item) or np.isscalar(item) for item in thing)
    return hasattr(thing, "shape") and hasattr(thing, "dtype" if not hasattr(thing, "iloc") else "iloc")


def _checked(data: Arrays) -> dict[str, Any]:
    """Return the fields of `data` with pandas and lists made arrays, all of one length."""
    fields = {name: as_arrays(getattr(data, name)) for name in ("x", "y", "sample_weight")}
    rows = {f"{name}{path}": int(array.shape[0]) for name, nest in fields.items() for path, array in leaves(nest)}
    listed = ", ".join([f"{path}: {number}" for path, number in rows.items()][:12]) + (
        ", ..." if len(rows) > 12 else ""
    )
    if len(set(rows.values())) > 1:
        raise InputError(
            "the arrays differ in their number of rows",
            found=listed,
            expected="the same first dimension everywhere",
            fix="cut them to one length, for example x[:len(y)]; of a list of rows make one array: np.asarray(x)",
        )
    if not rows or not next(iter(rows.values())):
        raise EmptyInputError(
            "the data have no row",
            found=listed or "no array",
            expected="at least one row",
            fix="check the filter or the file that the arrays come from",
        )
    return fields


def as_arrays(nest: Any) -> Any:
    """Return `nest` with pandas columns and lists of numbers made arrays; a pandas frame becomes a `Frame`."""
    if nest is None:
        return None
    if isinstance(nest, Mapping):
        return {str(name): as_arrays(value) for name, value in nest.items()}
    if hasattr(nest, "iloc"):  # pandas: a frame stays a dict of named columns until the model is known
        if hasattr(nest, "columns"):
            return Frame({str(name): _column(nest[name]) for name in nest.columns})
        return _column(nest)
    if isinstance(nest, list | tuple) and nest and np.isscalar(nest[0]):
        return np.asarray(nest)
    if isinstance(nest, list | tuple):
        return type(nest)(as_arrays(item) for item in nest)
    return nest


def _column(series: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(series.to_numpy())
    return array.astype(str).astype(object) if array.dtype == object or array.dtype.kind in "UT" else array


class Frame(dict[str, Any]):
    """The columns of a pandas frame by name; one matrix for a model that takes a single input."""

    def matrix(self) -> np.ndarray[Any, Any]:
        """Return the columns side by side, shape `(rows, columns)`."""
        return np.stack([np.asarray(column) for column in self.values()], axis=1)


def leaves(nest: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every array of `nest` with a path such as `['age']` or `[0]`; None gives nothing."""
    if nest is None:
        return
    if isinstance(nest, Mapping):
        for name, value in nest.items():
            yield from leaves(value, f"{path}[{name!r}]")
    elif isinstance(nest, list | tuple):
        for place, value in enumerate(nest):
            yield from leaves(value, f"{path}[{place}]")
    else:
        yield path, nest


def match_names(given: Any, names: list[str] | None, *, what: str, keeps_dict: bool) -> Any:
    """Put a dict of arrays into the order of a model's inputs or outputs.

    Args:
        given: What the data hold: a dict is matched, everything else is returned as it is.
        names: The model's own names in order; None (a subclassed model): `given` is passed on.
        what: "inputs" or "outputs", for the error.
        keeps_dict: Whether the model itself takes a dict.

    Returns:
        The single value, a list in the model's order, or a dict with just the model's names. A
        missing output is None (it has no loss); a missing input is an error.

    Raises:
        InputError: an input is missing, or no output is known; the text prints both lists.
    """
    if isinstance(given, Frame):
        given = dict(given) if names is None or len(names) > 1 or set(names) & set(given) else given.matrix()
    if names is None or not isinstance(given, Mapping):
        return given
    if len(names) == 1 and len(given) == 1 and not keeps_dict:
        return next(iter(given.values()))  # one to one: there is nothing to confuse
    missing = [name for name in names if name not in given]
    if (missing and what == "inputs") or len(missing) == len(names):
        raise InputError(
            f"the data do not have all the {what} of the model" if what == "inputs" else "no label fits an output",
            found=", ".join(map(str, given)) or "an empty dict",
            expected=", ".join(names),
            fix=f"rename the columns; missing: {', '.join(missing)}",
        )
    picked = {name: given.get(name) for name in names}
    if keeps_dict:
        return picked
    return next(iter(picked.values())) if len(names) == 1 else list(picked.values())


def identity(source: Source, spec: Any) -> str:
    """Return a hash by which a later call knows the same data again.

    Args:
        source: The data. Of arrays, names, shapes, dtypes and some rows are hashed.
        spec: What the engine says about a batch (shapes, dtypes, and the number of batches if known).
    """
    if source.input_context is not None:  # the parts differ between processes, and between numbers of processes
        function = source.input_fn
        name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"
        return hashlib.sha256(f"by input_context {name}".encode()).hexdigest()[:32]
    digest = hashlib.sha256(f"{type(source.data).__name__} {spec}".encode())
    if isinstance(source.data, Arrays):
        data = source.data
        digest.update(f"{data.batch_size} {data.shuffle} {data.seed} {data.drop_remainder}".encode())
        for path, array in leaves((data.x, data.y, data.sample_weight)):
            digest.update(f"{path} {array.shape} {array.dtype}".encode())
            if isinstance(array, np.ndarray):
                rows = array[:: max(1, len(array) // 64)]
                digest.update(repr(rows.tolist()).encode() if rows.dtype == object else rows.tobytes())
    return digest.hexdigest()[:32]


def _shortened(thing: Any) -> str:
    text = repr(thing)
    return text if len(text) <= 80 else text[:77] + "..."


def batches_per_pass(source: Source) -> int | None:
    """Return how many batches one pass over `source` has, if that is known beforehand."""
    if not isinstance(source.data, Arrays) or source.is_part:
        return None
    data = source.data
    rows = int(next(iter(leaves(data.x)))[1].shape[0])
    return rows // data.batch_size if data.drop_remainder else -(-rows // data.batch_size)
