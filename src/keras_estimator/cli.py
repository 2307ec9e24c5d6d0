"""The command keras-estimator: `run`, `launch`, `doctor`, `explain`, `checkpoints`, `report` and `demo`."""

from __future__ import annotations

import functools
import os
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from keras_estimator import __version__
from keras_estimator.errors import EstimatorError

app = typer.Typer(
    help="Any Keras model, as it is, becomes an Estimator.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer calls it with the value alone
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    *, version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False
) -> None:
    """Any Keras model, as it is, becomes an Estimator."""


@app.command(context_settings={"allow_interspersed_args": False})  # From SCRIPT on, everything is the script's.
def run(
    context: typer.Context,
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", exists=True, dir_okay=False, show_default=False)],
    args: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", show_default=False)] = None,
) -> None:
    """Run an old script unchanged: tf.keras.estimator is there, and NumPy works on tensors."""

    def start() -> None:
        from keras_estimator.drop_in import run_script  # noqa: PLC0415 - it starts TensorFlow

        run_script(script, args or [])

    context.obj.append(start)


@app.command(context_settings={"allow_interspersed_args": False})
def launch(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", exists=True, dir_okay=False, show_default=False)],
    args: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", show_default=False)] = None,
    *,
    workers: Annotated[int, typer.Option(min=1, help="How many processes train, the chief among them.")],
    ps: Annotated[int, typer.Option(min=0, help="How many parameter servers there are.")] = 0,
    evaluator: Annotated[bool, typer.Option("--evaluator", help="One more process evaluates the checkpoints.")] = False,
    restarts: Annotated[int, typer.Option(min=0, help="How often all is started anew after a crash, at most.")] = 3,
) -> None:
    """Run a script in all processes of a cluster on this machine, each with its TF_CONFIG.

    Ends with status 0 when the chief and the evaluator have, or else with that of the process that failed. Status 75: a
    process has lost another one, which did not fail by itself; try again.
    """
    from keras_estimator.launcher import Cluster  # noqa: PLC0415 - the other commands do without it
    from keras_estimator.local_launcher import LocalLauncher  # noqa: PLC0415 - the same

    command = [sys.executable, "-m", "keras_estimator.cli", "run", str(script), *(args or [])]
    try:
        status = LocalLauncher().run(Cluster(workers, ps, evaluator), command, restarts=restarts)
    except EstimatorError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from error
    raise typer.Exit(status)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where it writes; what an earlier demo left there is removed.")] = Path(
        "keras-estimator-demo"
    ),
) -> None:
    """Convert, train, kill, go on, export and serve a model of handwritten digits."""
    from keras_estimator.demo.show import show  # noqa: PLC0415 - the other commands do without it

    try:
        show(folder)
    except EstimatorError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from error


@app.command()
def report(
    model_dir: Annotated[Path, typer.Argument(metavar="MODEL_DIR", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The file to write.", show_default="MODEL_DIR/report.html")] = None,
    *,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write a page about a run: its curves, evaluations, model, checkpoints and set-up, in one HTML file."""
    from keras_estimator.report.page import write_report  # noqa: PLC0415 - it starts what reads event files

    try:
        path = write_report(model_dir, out)
    except EstimatorError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(path)
    if open_:
        webbrowser.open(path.absolute().as_uri())


@app.command()
def checkpoints(  # noqa: PLR0913 - each is an option of the command
    model_dir: Annotated[Path, typer.Argument(metavar="MODEL_DIR", show_default=False)],
    action: Annotated[str, typer.Argument(metavar="[list|show|diff|verify|prune]", show_default=False)] = "list",
    which: Annotated[list[str] | None, typer.Argument(metavar="[CHECKPOINT]...", show_default=False)] = None,
    *,
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    keep: Annotated[int | None, typer.Option(min=1, help="prune: keep so many of the newest.")] = None,
    keep_every_n_hours: Annotated[float | None, typer.Option(help="prune: besides, keep one every so often.")] = None,
    damaged: Annotated[bool, typer.Option("--damaged", help="prune: remove those that are damaged.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="prune: say what would be removed.")] = False,
) -> None:
    """List the checkpoints of a run; show what is in one, compare two, verify all, remove old ones.

    CHECKPOINT is a step, the folder of a checkpoint, another MODEL_DIR, or a checkpoint of TensorFlow such as
    old/model.ckpt-300, which MODEL_DIR may hold, too. Ends with 0; with 1 if verify found damage or diff a difference;
    and with 2 if it could not do it.
    """
    from keras_estimator.inspection import command  # noqa: PLC0415 - the other commands do without it
    from keras_estimator.inspection.text import printable  # noqa: PLC0415 - the same

    # What TensorFlow says of this machine, on reading one of its checkpoints, is no part of the answer.
    os.environ.update({"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"} | os.environ)
    note = functools.partial(typer.echo, err=True)
    asked = command.Asked(
        model_dir, action, tuple(which or ()), format_, keep, keep_every_n_hours, damaged=damaged, dry_run=dry_run
    )
    try:
        status = command.run_checkpoints(asked, typer.echo, note)
    except BrokenPipeError:
        raise  # whoever reads has seen enough
    except (EstimatorError, OSError) as error:
        note(printable(f"{type(error).__name__}: {error}"))
        raise typer.Exit(2) from error
    raise typer.Exit(status)


@app.command()
def doctor(  # noqa: PLR0913 - each is an option of the command
    targets: Annotated[list[str] | None, typer.Argument(metavar="[TARGET]...", show_default=False)] = None,
    *,
    data: Annotated[str | None, typer.Option(metavar="MODULE:INPUT_FN", help="Data of the model.")] = None,
    format_: Annotated[str, typer.Option("--format", help="text, short, json, sarif, github or html.")] = "text",
    out: Annotated[Path | None, typer.Option(help="Write the report into a file.", show_default="print it")] = None,
    select: Annotated[list[str] | None, typer.Option(help="Only these rules: KE301, KE3, raw-tf-variable.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Not these rules.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Apply the fixes that leave what is computed as it is.")] = False,
    unsafe_fixes: Annotated[bool, typer.Option("--unsafe-fixes", help="Apply those, too, that may change it.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show the fixes as one diff, and change nothing.")] = False,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="End with 0, whatever was found.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again whenever a file changes.")] = False,
) -> None:
    """Find what stops a model from travelling, on which line, and mend it.

    TARGET is a file or a folder, which are read and not run, or a model: module:factory or file.py:name, which is made
    and tried out, too. Ends with 0 if nothing worse than information was found, with 1 if something was, and with 2 if
    it could not look.
    """
    from keras_estimator.doctor import command  # noqa: PLC0415 - the other commands do without it

    chosen = (tuple(_split(select)), tuple(_split(ignore)))
    asked = command.Asked(
        tuple(targets or ()), data, *chosen, "text" if watch else format_, fix, unsafe_fixes=unsafe_fixes, diff=diff
    )

    note = functools.partial(typer.echo, err=True)

    def look() -> int:
        said: list[str] = []
        try:
            status = command.run_doctor(asked, said.append, note)
        except EstimatorError as error:
            note(f"{type(error).__name__}: {error}")
            return 2
        if out is not None:
            out.write_text("\n".join(said) + "\n", encoding="utf-8")
            said = [str(out)]
        typer.echo("\n".join(said))
        return status

    if watch:
        command.watch(look, asked)
    status = look()
    raise typer.Exit(0 if exit_zero and status == 1 else status)


def _split(codes: list[str] | None) -> list[str]:
    """Return the codes of `--select KE1,KE2 --select KE301`, each by itself."""
    return [code.strip() for given in codes or () for code in given.split(",") if code.strip()]


@app.command()
def explain(
    rule: Annotated[str | None, typer.Argument(metavar="[RULE]", help="KE201 or numpy-on-symbolic.")] = None,
) -> None:
    """Tell all about a rule of the doctor: what, why, an example, the fix, the evidence; without one, list them."""
    from keras_estimator.doctor import pages  # noqa: PLC0415 - the other commands do without it
    from keras_estimator.doctor.rule import all_rules, rule_of  # noqa: PLC0415 - the same

    if rule is None:
        typer.echo(pages.list_of(all_rules()))
        return
    found = rule_of(rule)
    if found is None:
        typer.echo(f"there is no rule {rule}; keras-estimator explain lists all", err=True)
        raise typer.Exit(2)
    typer.echo(pages.terminal_page(found))


def main() -> None:
    """Run the command; what a script raises passes through as if Python had run it."""
    # Typer has answers of its own to Ctrl-C, EOFError and the like, so a script is started when it is done.
    scripts: list[Callable[[], None]] = []
    try:
        app(obj=scripts)
    except SystemExit as exit_:
        if exit_.code or not scripts:
            raise
    for start in scripts:
        start()


if __name__ == "__main__":
    main()
