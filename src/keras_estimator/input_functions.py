"""What an input_fn is called with, and which part of the data it gives."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from typing import Any

from keras_estimator.errors import ConfigError, InputError


@dataclasses.dataclass(frozen=True)
class InputContext:
    """Where an input_fn runs among the input pipelines of a job; where one process trains there is one.

    An input_fn with an argument `input_context` gets one, and gives the part of its process:

        >>> def input_fn(input_context):
        ...     rows = tf.data.Dataset.range(1000)
        ...     part = rows.shard(input_context.num_input_pipelines, input_context.input_pipeline_id)
        ...     return part.batch(96 // input_context.num_input_pipelines)

    Attributes:
        num_input_pipelines: How many processes read.
        input_pipeline_id: The number of this one; the chief is 0.
        num_replicas_in_sync: How many devices share a global batch, in all processes.
    """

    num_input_pipelines: int = 1
    input_pipeline_id: int = 0
    num_replicas_in_sync: int = 1

    def get_per_replica_batch_size(self, global_batch_size: int) -> int:
        """Return the part of a global batch that one replica gets.

        Raises:
            ConfigError: the batch cannot be divided by the replicas.
        """
        if global_batch_size % self.num_replicas_in_sync:
            raise ConfigError(
                "the global batch cannot be divided by the replicas",
                found=f"global_batch_size={global_batch_size}, replicas={self.num_replicas_in_sync}",
                expected="a multiple of the replicas",
                fix="choose another batch size",
            )
        return global_batch_size // self.num_replicas_in_sync


def call_input_fn(input_fn: Any, known: Mapping[str, Any]) -> Any:
    """Call `input_fn` with those arguments that it names.

    Args:
        input_fn: A callable, or the data themselves, which are returned as they are.
        known: Its arguments by name: `mode`, `params`, `config`, `input_context`.

    Raises:
        InputError: the callable asks for other arguments, or returns None.
    """
    if not callable(input_fn) or isinstance(input_fn, Mapping) or _is_data(input_fn):
        return input_fn
    named = _parameters(input_fn)
    unknown = [p.name for p in named if p.name not in known and p.default is p.empty]
    name = getattr(input_fn, "__name__", type(input_fn).__name__)
    if unknown:
        raise InputError(
            f"the input_fn `{name}` asks for arguments that nobody gives",
            found=f"{name}({', '.join(p.name for p in named)})",
            expected=f"only arguments named {', '.join(known)}",
            fix=f"pass lambda: {name}({', '.join(f'{u}=...' for u in unknown)})",
        )
    data = input_fn(**{p.name: known[p.name] for p in named if p.name in known})
    if data is None:
        raise InputError(
            f"the input_fn `{name}` returned nothing",
            found="None",
            expected="a dataset, arrays or batches: (x,), (x, y) or (x, y, sample_weight)",
            fix=f"end `{name}` with `return dataset`",
        )
    return data


def asks_for_context(input_fn: Any) -> bool:
    """Tell whether a callable wants to know which part of the data it should give."""
    return any(parameter.name == "input_context" for parameter in _parameters(input_fn))


def _parameters(input_fn: Any) -> list[inspect.Parameter]:
    """Return the parameters of a callable that are still to be given."""
    try:
        wanted = list(inspect.signature(input_fn).parameters.values())
    except (TypeError, ValueError):
        return []  # a builtin without a signature
    bound = input_fn.keywords if isinstance(input_fn, functools.partial) else {}
    return [p for p in wanted if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in bound]


def _is_data(thing: Any) -> bool:
    return hasattr(thing, "element_spec") or hasattr(thing, "shape")
