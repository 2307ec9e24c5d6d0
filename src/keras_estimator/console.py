"""Show what a run says: the log of this package, on the console, unless the program has its own."""

from __future__ import annotations

import logging


def show_log() -> None:
    """Print this package's messages to stderr if nobody set up logging; called at the first conversion."""
    log = logging.getLogger("keras_estimator")
    if log.handlers or logging.getLogger().handlers:
        return
    printer = logging.StreamHandler()
    printer.setFormatter(logging.Formatter("%(message)s"))
    printer.addFilter(lambda record: record.name != "keras_estimator.steps")  # the progress shows the same
    log.addHandler(printer)
    log.setLevel(logging.INFO)
    log.propagate = False
