"""Build a Sequential that Keras left half built.

`Sequential.build` gives up without a word when a layer raises NotImplementedError, as NumPy on a tensor
without values does: the model says `built=True`, but the layers after that one have no weights, and
`save`, `count_params` and `export` take it for whole.
"""

from __future__ import annotations

import contextlib
from typing import Any, NoReturn

import keras

from keras_estimator.errors import ModelError, NumpyCallError
from keras_estimator.model.keras_private import all_layers, shape_of_half_built
from keras_estimator.model.numpy_calls import explained, install
from keras_estimator.model.user_lines import line_of


def complete(model: Any) -> list[str]:
    """Build every half-built Sequential in `model`; weights that are there keep their values.

    A Sequential whose layers all have their weights, but which cannot be built, runs layer by layer, as
    Keras lets it, and is left as it is.

    Args:
        model: A Keras model; the Sequential may be it, or anywhere inside.

    Returns:
        The names of the models that were completed.

    Raises:
        NumpyCallError: NumPy asks for the numbers of a tensor; the user's line is named.
        ModelError: a layer still gives up.
    """
    install()
    completed = []
    for part in reversed(all_layers(model)):  # from the inside out
        if not isinstance(part, keras.Sequential) or shape_of_half_built(part) is None:
            continue
        _build(part)
        if shape_of_half_built(part) is None:
            completed.append(part.name)
        elif not all(layer.built for layer in part.layers):
            _explain(part)
    return completed


def _build(part: keras.Sequential) -> None:
    shape = shape_of_half_built(part)
    with contextlib.suppress(Exception):  # `_explain` asks again, for the error as it is
        part.built = False
        part.build(shape)
    part.built = True


def _explain(part: keras.Sequential) -> NoReturn:
    """Raise the error that tells which layer gives up, and on which line."""
    tensor = keras.Input(batch_shape=shape_of_half_built(part), dtype=part.input_dtype)
    for layer in part.layers:
        try:
            with explained():
                tensor = layer(tensor)
        except NumpyCallError:
            raise
        except Exception as error:
            raise _gave_up(part, layer, error) from error
    raise _gave_up(part, layer, NotImplementedError())


def _gave_up(part: keras.Sequential, layer: Any, error: BaseException) -> ModelError:
    # Keras wraps what the user's code raised, sometimes twice: the innermost with a line tells most.
    wrapped = [error]
    while (inner := wrapped[-1].__cause__ or wrapped[-1].__context__) is not None:
        wrapped.append(inner)
    error = next((each for each in reversed(wrapped) if line_of(each) is not None), error)
    line = line_of(error)
    said = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    where = f"`{line.text}` ({line.file}, line {line.number}): " if line is not None else ""
    return ModelError(
        f"the layer `{layer.name}` of the model `{part.name}` cannot be built",
        found=where + said,
        expected="layers whose output shape can be found without data",
        fix=f"{f'mend {line}' if line is not None else 'mend its call'}, or state the shape: "
        f"output_shape=... of a Lambda, compute_output_shape of any other layer",
        rule="KE203",
    )
