"""Every entry point that reads a file is given hostile ones, in a process that notes what it should not do.

Run as `python hostile_readers.py FOLDER FIRST`: gives each case from number FIRST on to its readers, below FOLDER,
and writes a line of JSON before and after each. The hook that watches stays until the process ends.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hostile_models
import hostile_runs
import hostile_texts

SECONDS, MOST_MIB, ROOM = 30, 150, 2**30
Reader = Callable[[Path], Any]

# Which readers are given which cases.
READERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        hostile_runs.FILES, ("newest_readable", "train", "predict at", "weights", "show", "report", "command")
    ),
    **dict.fromkeys(hostile_runs.CHECKPOINTS, ("newest_readable", "report", "command")),
    **dict.fromkeys(hostile_runs.RECORDS, ("train",)),
    **dict.fromkeys(hostile_runs.HARMLESS, ("train",)),
    **hostile_runs.READERS,
    **dict.fromkeys(hostile_models.FILES, ("model_to_estimator", "weights")),
    **hostile_texts.READERS,
}
MAKERS = {
    **hostile_runs.FILES,
    **hostile_runs.CHECKPOINTS,
    **hostile_runs.RECORDS,
    **hostile_runs.HARMLESS,
    **hostile_runs.RUNS,
    **hostile_models.FILES,
    **hostile_texts.TEXTS,
}
PAIRS = [(case, reader) for case, readers in READERS.items() for reader in readers]

_NEVER = {
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn"),
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"),
    *("pickle.find_class", "marshal.loads", "ctypes.dlopen", "webbrowser.open", "shutil.unpack_archive"),
}
_CODE = {"exec", "compile", "import"}
_OTHER_LIBRARIES = {"torch"}  # Keras looks for it, and it is not installed
_CHANGES = {
    *("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"),
    *("os.utime", "os.setxattr", "shutil.rmtree", "shutil.move", "shutil.copyfile"),
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_INSTALLED = (
    sysconfig.get_paths()["stdlib"],
    sysconfig.get_paths()["purelib"],
    str(Path(__file__).parent.parent / "src"),
)


class Watch:
    """Notes what a reader does that no reader of a file should do."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] | None = None  # where it may write; None: nobody is watched
        self.usual: set[str] = set()
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        if event in _NEVER or (event in _CODE and not self._is_usual(event, arguments)):
            self.seen.append(f"{event} {str(arguments)[:200]}")
        elif event in _CHANGES or (event == "open" and self._is_written(*arguments)):
            path = self._whole(arguments[0], arguments[-1]) if isinstance(arguments[0], str | bytes) else ""
            if path and not path.startswith((*self.allowed, "/dev/null")):
                self.seen.append(f"{event} {path}")

    def _is_usual(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """Tell whether this is a module of a library, or code that TensorFlow makes of ours."""
        if event == "import":
            name = arguments[0].partition(".")[0]
            return name in sys.stdlib_module_names or name in sys.modules or name in _OTHER_LIBRARIES
        file = arguments[0].co_filename if event == "exec" else str(arguments[1])
        return event in self.usual or file.startswith(_INSTALLED)

    @staticmethod
    def _whole(name: str | bytes, folder: Any) -> str:
        """Return the whole path of a name, which may be one in an open folder, as those are that rmtree removes."""
        path = os.fsdecode(name)
        is_inside = type(folder) is int and folder >= 0 and not os.path.isabs(path)
        return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path) if is_inside else os.path.abspath(path)

    @staticmethod
    def _is_written(path: Any, mode: Any, flags: Any) -> bool:
        return bool(set(mode or "") & set("wax+")) or bool((flags or 0) & _WRITES)

    @contextlib.contextmanager
    def on(self, allowed: Sequence[Path], usual: set[str]) -> Iterator[None]:
        self.seen, self.usual = [], usual
        self.allowed = tuple(map(str, allowed))
        try:
            yield
        finally:
            self.allowed = None


def estimator(model_dir: Path) -> Any:
    import keras  # noqa: PLC0415 - the test that only lists the cases starts no Keras

    import keras_estimator as ke  # noqa: PLC0415 - as above

    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(2, name="hidden"), keras.layers.Dense(1, name="dense")]
    model = keras.Sequential([keras.Input((3,)), *layers], name="small")
    model.compile("sgd", "mse")
    quiet = {"progress": "off", "save_summary_steps": None, "log_step_count_steps": None}
    config = ke.RunConfig(save_checkpoints_steps=10, plan="eager", keep_checkpoint_max=1, **quiet)
    return ke.model_to_estimator(model, model_dir=model_dir, config=config)


def data() -> Any:
    import numpy as np  # noqa: PLC0415 - as above

    import keras_estimator as ke  # noqa: PLC0415 - as above

    return ke.Arrays(np.ones((40, 3), "f4"), np.ones((40, 1), "f4"), batch_size=8, seed=3, epochs=4)


def callbacks(model_dir: Path) -> list[Any]:
    import keras  # noqa: PLC0415 - as above

    log = keras.callbacks.CSVLogger(str(model_dir / "log.csv"), append=True)
    return [keras.callbacks.EarlyStopping("loss", patience=9), log]


def train(model_dir: Path) -> Any:
    return estimator(model_dir).train(data(), callbacks=callbacks(model_dir), max_steps=12).model.get_weights()


def newest_readable(model_dir: Path) -> Any:
    from keras_estimator.checkpoints import Checkpoints  # noqa: PLC0415 - as above

    return Checkpoints(model_dir).newest_readable()


def predict_at(model_dir: Path) -> Any:
    return list(estimator(model_dir / "other").predict(data(), checkpoint_path=hostile_runs.step(model_dir)))


def weights(path: Path) -> Any:
    from keras_estimator.weight_files import open_weights  # noqa: PLC0415 - as above

    with open_weights(path) as stored:
        return [one.read() for one in stored]


def report(model_dir: Path) -> Any:
    from keras_estimator.report.page import write_report  # noqa: PLC0415 - as above

    write_report(model_dir, model_dir.parent / "report.html")


def command(model_dir: Path) -> Any:
    from keras_estimator.inspection import command  # noqa: PLC0415 - as above

    for action in ("list", "verify"):
        command.run_checkpoints(command.Asked(model_dir, action), io.StringIO().write, io.StringIO().write)


def show(model_dir: Path) -> Any:
    from keras_estimator.inspection import command  # noqa: PLC0415 - as above

    command.run_checkpoints(command.Asked(model_dir, "show"), io.StringIO().write, io.StringIO().write)


def notes(model_dir: Path) -> Any:
    from keras_estimator.hooks.remote_evaluation import Notes  # noqa: PLC0415 - as above

    return Notes.read(model_dir / "eval") and None


def exporter(model_dir: Path) -> Any:
    """Let an exporter look at the exports of the run before."""
    import keras_estimator as ke  # noqa: PLC0415 - as above

    best = ke.BestExporter("best")
    best.restore({"best": {"loss": 0.0, "global_step": 2}})
    export_path = str(model_dir / "export" / "best")
    return best.export(None, export_path, None, {"loss": 1.0, "global_step": 5}, False)


def model_to_estimator(path: Path) -> Any:
    import keras_estimator as ke  # noqa: PLC0415 - as above

    return ke.model_to_estimator(keras_model_path=path, model_dir=path.parent / "run").model.get_weights()


RUN: dict[str, Reader] = {
    "newest_readable": newest_readable,
    "train": train,
    "predict at": predict_at,
    "weights": weights,
    "report": report,
    "command": command,
    "show": show,
    "notes": notes,
    "exporter": exporter,
    "model_to_estimator": model_to_estimator,
    **hostile_texts.RUN,
}
# Python parses a text with the event "compile", and TensorFlow makes code of ours.
_RUN_MODELS = ("train", "predict at", "model_to_estimator")
_USUAL = {"doctor": {"compile"}, **{reader: {"compile", "exec"} for reader in _RUN_MODELS}}
_CHANGES_ITS_FOLDER = {*_RUN_MODELS, "exporter"}


def made_run(folder: Path) -> Path:
    """Return the model_dir of a run that was killed at step 13 and has one checkpoint, of step 10."""
    import keras_estimator as ke  # noqa: PLC0415 - as above

    class Breaks(ke.Hook):
        cadence = ke.Cadence(every_steps=13)

        def after_steps(self, run: Any) -> None:
            raise KeyboardInterrupt

    model_dir = folder / "run"
    with contextlib.suppress(KeyboardInterrupt):
        estimator(model_dir).train(data(), [Breaks()], callbacks=callbacks(model_dir))
    return model_dir


def seen_in(folder: Path) -> dict[str, Any]:
    """Return what lies in a folder: names, kinds and times."""
    return {
        os.path.join(at, name): [found.st_mode, found.st_size, found.st_mtime_ns, found.st_ino]
        for at, folders, files in os.walk(folder)
        for name in (*folders, *files)
        for found in [os.lstat(os.path.join(at, name))]
    }


def peak_mib(*, anew: bool = False) -> int:
    """Return the most memory that this process had since it was last asked to count anew."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) // 1024


def tried(watch: Watch, reader: str, path: Path, folder: Path, outside: Path) -> dict[str, Any]:
    """Let a reader have a path; return what came of it."""
    import numpy as np  # noqa: PLC0415 - as above

    from keras_estimator.errors import EstimatorError  # noqa: PLC0415 - as above

    before, around = seen_in(folder), seen_in(outside)
    gc.collect()
    begin = peak_mib(anew=True)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, resource.RLIM_INFINITY))
    signal.alarm(SECONDS)
    error, value, began = "", None, time.perf_counter()
    allowed = [folder] if reader in _CHANGES_ITS_FOLDER else [folder.parent / "report.html", folder.parent / ".report"]
    try:
        with watch.on([*allowed, folder.parent / "tmp"], _USUAL.get(reader, set())), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = RUN[reader](path)
        kind = "returned"
    except EstimatorError as caught:
        kind, error = "refused", str(caught)
    except (Exception, TimedOutError) as caught:  # noqa: BLE001 - which one it is, is what is tested
        kind, error = "foreign error", f"{type(caught).__module__}.{type(caught).__qualname__}: {caught}"
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    numbers = [np.asarray(one) for one in value] if isinstance(value, list) else []
    return {
        "kind": kind,
        "error": error,
        "seen": sorted(set(watch.seen)),
        "mib": peak_mib() - begin,
        "secs": round(time.perf_counter() - began, 2),
        "changed": reader not in _CHANGES_ITS_FOLDER and seen_in(folder) != before,
        "outside": seen_in(outside) != around,
        "secret": any(one.dtype.kind == "f" and np.any(one == hostile_models.SECRET_NUMBER) for one in numbers),
    }


class TimedOutError(BaseException):
    """Nobody answers to it but `tried`."""


def timed_out(*_: object) -> None:
    raise TimedOutError(f"after {SECONDS} s")


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    work, first = Path(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGALRM, timed_out)
    base = made_run(work / "base")
    for reader in RUN:  # what they import, they have imported before
        path = hostile_texts.plain(reader, work) or shutil.copytree(base, work / "plain" / reader.replace(" ", "_"))
        if reader == "model_to_estimator":
            path = work / "plain.keras"
            hostile_models.plain_model().save(path)
        RUN[reader](path)
    gc.freeze()  # or each collection looks through all that TensorFlow has made
    watch = Watch()
    for number, (case, reader) in list(enumerate(PAIRS))[first:]:
        say({"number": number})
        folder = work / hashlib.md5(f"{case}{reader}".encode(), usedforsecurity=False).hexdigest()[:8] / "run"
        outside = folder.parent / "outside"
        shutil.copytree(base, folder) if case not in hostile_models.FILES else folder.mkdir(parents=True)
        outside.mkdir()
        tempfile.tempdir = str(folder.parent / "tmp")
        (folder.parent / "tmp").mkdir()
        path = MAKERS[case](folder, outside)
        say({"number": number, **tried(watch, reader, path, folder, outside)})
        shutil.rmtree(folder.parent)


if __name__ == "__main__":
    main()
