"""The command keras-estimator: `run` an old script, `launch` a cluster, see the `demo`, write the `report` of a run."""

from __future__ import annotations

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
