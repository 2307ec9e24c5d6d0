"""The command `keras-estimator doctor`: look at targets, mend them if asked to, and write down what was found."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from keras_estimator.console import show_log
from keras_estimator.doctor.examine import examine_files, python_files
from keras_estimator.doctor.findings import Finding
from keras_estimator.doctor.mending import Mended, mended, write
from keras_estimator.doctor.package import Package
from keras_estimator.doctor.report import Report
from keras_estimator.doctor.settings import Settings, read_settings
from keras_estimator.doctor.targets import Target, forget_modules, parse_target
from keras_estimator.errors import ConfigError, FixError
from keras_estimator.report.elements import counted

FORMATS = ("text", "short", "json", "sarif", "github", "html")


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the command line asks for.

    Attributes:
        targets: Files, folders, `module:factory`, `file.py:name`.
        data: `module:input_fn`, for models; None if there is none.
        select: Codes that are wanted.
        ignore: Codes that are not.
        format: One of `FORMATS`.
        fix: Whether safe fixes are applied.
        unsafe_fixes: Whether unsafe ones are, too.
        diff: Whether fixes are shown and not applied.
    """

    targets: tuple[str, ...]
    data: str | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    format: str = "text"
    fix: bool = False
    unsafe_fixes: bool = False
    diff: bool = False

    @property
    def mends(self) -> bool:
        """Whether files are changed, or shown as they would be."""
        return self.fix or self.unsafe_fixes or self.diff


def run_doctor(asked: Asked, say: Callable[[str], None], note: Callable[[str], None]) -> int:
    """Do what the command line asks for.

    Args:
        asked: What that is.
        say: Takes the report, or the diff.
        note: Takes what is not part of it.

    Returns:
        The exit status: 0 if nothing, or only information, was found (with `--diff`: if nothing would be changed); 1
        otherwise.

    Raises:
        ConfigError: A target, a code or a format is none.
        FixError: A fix cannot be applied.
    """
    if asked.format not in FORMATS:
        raise ConfigError(
            "there is no such format", found=asked.format, expected=", ".join(FORMATS), fix=f"--format {FORMATS[0]}"
        )
    targets = [parse_target(text) for text in asked.targets or (".",)]
    if asked.mends:
        is_changed = _mend(asked, targets, say if asked.diff else note, note)
        if asked.diff:
            return int(is_changed)
    files, models = ([one for one in targets if bool(one.name) is named] for named in (False, True))
    reports = [_report_on_files(asked, files)] if files else []
    report = together([*reports, *(_report_on_model(asked, target) for target in models)])
    say(written(report, asked.format))
    return 0 if report.is_healthy else 1


def _report_on_files(asked: Asked, targets: Sequence[Target]) -> Report:
    """Look at files all together: classes of one may inherit from those of another."""
    found: list[Finding] = []
    number = 0
    for _, findings in examine_files([_path(target) for target in targets], settings_for(asked, targets[0])):
        number += 1
        found += findings
    name = targets[0].text if len(targets) == 1 else f"{targets[0].text} and {len(targets) - 1} more"
    return Report(name, tuple(found), counted(number, "file"))


def _report_on_model(asked: Asked, target: Target) -> Report:
    from keras_estimator.doctor.diagnose import report_on, report_without_model  # noqa: PLC0415 - it starts Keras
    from keras_estimator.doctor.targets import first_batch, make_model  # noqa: PLC0415 - the same

    show_log()
    made = make_model(target)
    settings = settings_for(asked, target)
    if made.model is None:
        return report_without_model(target, made.failures, settings)
    batch = first_batch(asked.data) if asked.data else None
    return report_on(made.model, batch, made.failures, settings)


def settings_for(asked: Asked, target: Target) -> Settings:
    """Return what is looked for in a target, and in those named behind it: the nearest pyproject.toml, and the line."""
    return read_settings(target.path or Path.cwd(), asked.select, asked.ignore)


def _path(target: Target) -> Path:
    assert target.path is not None
    return target.path


def together(reports: Sequence[Report]) -> Report:
    """Return one report of several."""
    if len(reports) == 1:
        return reports[0]
    return Report(
        ", ".join(report.target for report in reports),
        tuple(dict.fromkeys(finding for report in reports for finding in report.findings)),
        ", ".join(report.looked_at for report in reports if report.looked_at),
        tuple(dict.fromkeys(one for report in reports for one in report.not_looked_at)),
        next((report.model for report in reports if report.model), None),
    )


def written(report: Report, format_: str) -> str:
    """Return a report in one of `FORMATS`."""
    from keras_estimator.doctor.formats import html, machine, text  # noqa: PLC0415 - only when there is a report

    writers: dict[str, Callable[[Report], str]] = {
        "text": text.as_text,
        "short": lambda one: text.as_text(one, is_short=True),
        "json": machine.as_json,
        "sarif": machine.as_sarif,
        "github": machine.as_github,
        "html": html.as_page,
    }
    return writers[format_](report)


def _mend(asked: Asked, targets: Sequence[Target], show: Callable[[str], None], note: Callable[[str], None]) -> bool:
    """Apply fixes, or show them; return whether anything is or would be changed."""
    is_changed = False
    for target in targets:
        all_mended = [one for one in _mended(asked, target) if one.after != one.before]
        is_changed = is_changed or bool(all_mended)
        if asked.diff:
            for one in all_mended:
                show(one.diff.rstrip("\n"))
            continue
        if target.name and all_mended:
            _prove(asked, target, all_mended, note)
        for one in all_mended:
            write(one)
            codes = ", ".join(sorted({finding.code for finding in one.applied}))
            forget_modules([one.file])
            note(f"mended {one.file}: {counted(len(one.applied), 'finding')} ({codes})")
    return is_changed


def _mended(asked: Asked, target: Target) -> list[Mended]:
    settings = settings_for(asked, target)
    if target.name:
        from keras_estimator.doctor.diagnose import files_of  # noqa: PLC0415 - it starts Keras
        from keras_estimator.doctor.imported import Imported  # noqa: PLC0415 - the same

        package = Package([Path(file) for file in files_of(target)])
        around: Package | Imported = Imported()
    else:
        around = package = Package(list(python_files([_path(target)], settings)))
    unsafe = asked.unsafe_fixes
    return [mended(str(path), package.texts[path], settings, unsafe=unsafe, around=around) for path in package.paths]


def _prove(asked: Asked, target: Target, changed: Sequence[Mended], note: Callable[[str], None]) -> None:
    from keras_estimator.doctor.proof import prove  # noqa: PLC0415 - it starts processes

    note(f"comparing {target.text} before and after the fixes, in fresh processes")
    proof = prove(target.text, asked.data, {one.file: one.after for one in changed})
    note(str(proof))
    if not proof.holds and not asked.unsafe_fixes:
        raise FixError(
            "the fixes would make another model, so nothing was changed",
            found=str(proof),
            expected="the same answers and the same train step",
            fix="look at them with --diff; --ignore the rule that does it; or take them with --unsafe-fixes",
        )


def watch(look: Callable[[], object], asked: Asked, *, every_seconds: float = 0.5) -> None:
    """Look again whenever a file among or below the targets changes; until Ctrl-C.

    Args:
        look: What to do.
        asked: What the command line asks for; of a module, the files below this folder are watched.
        every_seconds: How often to see whether one has changed.
    """
    named = [(Path(text), Path(text.rpartition(":")[0])) for text in asked.targets or (".",)]
    paths = [next((path for path in both if path.exists()), Path()) for both in named]
    before: dict[Path, int] = {}
    while True:
        files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))]
        now = {file: file.stat().st_mtime_ns for file in files if file.exists()}
        if now != before:
            forget_modules(file for file in now if now[file] != before.get(file))
            before = now
            look()
        time.sleep(every_seconds)
