"""The environment of processes that import Keras in half the time, for tests that start many of them."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "lean"  # with the file that Python runs first


def environment(**settings: str) -> dict[str, str]:
    """Return the environment of this process without the imports that Keras can do without, and with `settings`."""
    path = os.pathsep.join([str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **settings}
