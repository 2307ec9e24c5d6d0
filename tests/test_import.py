"""`import keras_estimator` is free: it starts no backend and changes nothing in the process."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, logging, os, sys, warnings

def state():
    return {
        "environment": dict(os.environ),
        "handlers": [repr(handler) for handler in logging.getLogger().handlers],
        "loggers": sorted(logging.root.manager.loggerDict),
        "filters": [repr(entry) for entry in warnings.filters],
        "hooks": [repr(sys.excepthook), repr(sys.displayhook)],
    }

before = state()
%s
changed = [key for key, value in state().items() if value != before[key]]
print(json.dumps({"changed": changed, "modules": list(sys.modules)}))
"""


def after(statement: str) -> dict[str, list[str]]:
    """Run `statement` in a new process and tell what it changed there and which modules are loaded."""
    program = PROGRAM % statement
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    result: dict[str, list[str]] = json.loads(done.stdout)
    return result


def test_importing_the_package_loads_nothing_but_itself():
    packages = {name.split(".")[0] for name in after("import keras_estimator")["modules"]}
    ours = packages - {*sys.stdlib_module_names, "__main__", "__mp_main__"}
    assert "keras_estimator" in ours
    assert not ours & {"tensorflow", "keras", "tensorboard", "numpy", "rich", "typer", "safetensors", "jax", "torch"}


def test_importing_the_package_changes_nothing_in_the_process():
    assert after("import keras_estimator")["changed"] == []


def test_the_errors_and_the_configuration_need_no_backend():
    modules = after("import keras_estimator as ke; ke.ConfigError; ke.RunConfig; ke.ModeKeys")["modules"]
    assert not {"tensorflow", "keras", "jax", "torch"} & set(modules)


def test_checkpoints_inputs_and_hooks_need_no_backend():
    statement = "import keras_estimator as ke, keras_estimator.checkpoints; ke.Arrays; ke.Hook; ke.CheckpointSaver"
    assert not {"tensorflow", "keras", "jax", "torch"} & set(after(statement)["modules"])
