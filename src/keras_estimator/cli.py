"""The command keras-estimator: `run` an old script, see the `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import keras_estimator
from keras_estimator.errors import EstimatorError

app = typer.Typer(
    help="Any Keras model, as it is, becomes an Estimator.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

_FOREIGN_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.callback(invoke_without_command=True)
def version(*, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    """Any Keras model, as it is, becomes an Estimator."""
    if version:
        typer.echo(keras_estimator.__version__)
        raise typer.Exit


@app.command(context_settings=_FOREIGN_ARGUMENTS)
def run(
    context: typer.Context, script: Annotated[Path, typer.Argument(metavar="SCRIPT", exists=True, dir_okay=False)]
) -> None:
    """Run an old SCRIPT [ARGS]... unchanged: tf.keras.estimator is there, and NumPy works on tensors."""
    from keras_estimator.drop_in import run_script  # noqa: PLC0415 - it starts TensorFlow

    run_script(script, context.args)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where it writes; what an earlier demo left there is removed.")] = Path(
        "keras-estimator-demo"
    ),
) -> None:
    """Convert, train, kill, go on, export and serve a model of handwritten digits."""
    from keras_estimator.demo import show  # noqa: PLC0415 - it starts Keras

    try:
        show(folder)
    except EstimatorError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """Run the command; what a script raises passes through with its traceback."""
    app()


if __name__ == "__main__":
    main()
