"""Messages are shown, unless the program has a log of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

PRINT = """
import logging, sys
{setup}
from keras_estimator.console import show_log
show_log(), show_log()
logging.getLogger("keras_estimator").info("a message")
logging.getLogger("keras_estimator.steps").info("a step")
"""


@pytest.mark.parametrize(
    ("setup", "shown"),
    [
        ("", "a message\n"),
        ("logging.basicConfig(level='ERROR')", ""),
        ("logging.basicConfig(level='INFO', format='%(message)s')", "a message\na step\n"),
        ("logging.getLogger('keras_estimator').addHandler(logging.NullHandler())", ""),
    ],
)
def test_messages_are_shown_once_unless_the_program_has_its_own_log(setup: str, shown: str) -> None:
    done = subprocess.run([sys.executable, "-c", PRINT.format(setup=setup)], capture_output=True, text=True, check=True)
    assert done.stderr == shown
