"""Let a Python process that a test starts import Keras in half the time: without what Keras only looks for.

Keras imports scikit-learn, pandas and matplotlib where they are installed, and with them SciPy; a cluster that trains
uses none of them. Python runs this file by itself where its folder is in PYTHONPATH.
"""

from __future__ import annotations

import sys
from typing import Any

_LEFT_OUT: dict[str, Any] = dict.fromkeys(("matplotlib", "pandas", "scipy", "sklearn"))  # None: it is not there
sys.modules.update(_LEFT_OUT)
