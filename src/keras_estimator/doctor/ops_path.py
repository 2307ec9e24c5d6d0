"""How a file writes `keras.ops`, for fixes that put a function of it into the file."""

from __future__ import annotations

from keras_estimator.doctor.rewriting import Change, needs_import
from keras_estimator.doctor.source import Source


def ops_path(source: Source) -> tuple[str, list[Change]]:
    """Return `ops`, `keras.ops` or the like, and the import that it needs, if the file has none of both.

    Args:
        source: The file.
    """
    ops, keras = source.names.alias_of("keras.ops"), source.names.alias_of("keras")
    return ops or f"{keras or 'keras'}.ops", [] if ops or keras else [needs_import("keras")]
