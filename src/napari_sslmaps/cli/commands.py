"""``napari-sslmaps``: its commands, and how an error ends."""

import logging
import os
import platform
import shlex
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from platformdirs import user_log_path

from napari_sslmaps.cli import NO_MEMORY, console, is_lack_of_memory
from napari_sslmaps.cli.batch import batch
from napari_sslmaps.cli.demo import demo
from napari_sslmaps.cli.encoders import encoders
from napari_sslmaps.cli.evaluate import evaluate
from napari_sslmaps.cli.machine import bench, cache, doctor
from napari_sslmaps.cli.options import MapCommand, example
from napari_sslmaps.cli.pretext import pretext
from napari_sslmaps.cli.pretrain import pretrain
from napari_sslmaps.cli.readers import readers
from napari_sslmaps.cli.run import run
from napari_sslmaps.cli.search import index, search
from napari_sslmaps.cli.simulate import simulate
from napari_sslmaps.cli.study import study
from napari_sslmaps.errors import Cancelled, SSLMapsError

_INTERRUPTED = 130

app = typer.Typer(
    name="napari-sslmaps",
    help="See what self-supervised encoders see in medical images: attention, PCA and similarity maps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_SEE, _MANY, _TRAIN, _HERE = "See", "Compare, and embed many images", "Train", "This machine"
app.command(rich_help_panel=_SEE, epilog=example("demo --headless --out figure.png"))(demo)
app.command(
    rich_help_panel=_SEE, cls=MapCommand, epilog=example("run sample:histology --anchor 120,340 --out maps")
)(run)
app.command(rich_help_panel=_SEE, epilog=example("pretext sample:histology -e mae-histology --out task"))(
    pretext
)
app.add_typer(encoders, name="encoders", rich_help_panel=_SEE)
app.command(
    rich_help_panel=_MANY,
    cls=MapCommand,
    epilog=example("evaluate sample:histology -e mae-histology --out scores"),
)(evaluate)
app.command(
    rich_help_panel=_MANY, cls=MapCommand, epilog=example("batch images -e dinov3-histology --out store")
)(batch)
app.command(rich_help_panel=_MANY, epilog=example("index store"))(index)
app.command(rich_help_panel=_MANY, epilog=example("search store --like image.png@40,60 --out found"))(search)
app.add_typer(readers, name="readers", rich_help_panel=_MANY)
app.command(rich_help_panel=_TRAIN, epilog=example("simulate histology --count 8 --out fields"))(simulate)
app.command(
    rich_help_panel=_TRAIN,
    epilog=example(
        "simulate histology --count 48 --out fields",
        "pretrain --recipe mae-histology --data fields/images --steps 4 --workers 0 --out trained",
    ),
)(pretrain)
app.command(rich_help_panel=_TRAIN, epilog=example("study --minutes 5 --out study"))(study)
app.add_typer(cache, name="cache", rich_help_panel=_HERE)
app.command(rich_help_panel=_HERE, epilog=example("doctor"))(doctor)
app.command(rich_help_panel=_HERE, epilog=example("bench -e mae-histology --side 128"))(bench)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.out(version("napari-sslmaps"))
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[  # noqa: ARG001  # its callback does the work
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """See what self-supervised encoders see in medical images: attention, PCA and similarity maps."""
    context.obj = debug


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments
        Arguments without the program's name; `sys.argv`'s if omitted.

    Raises
    ------
    SystemExit
        Always: 0 if all went well, 1 after an error that was said in a sentence, Ctrl-C or SIGTERM, 2 for
        wrong usage.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    console.write_anything()
    try:
        with _libraries_silent(unless=debug), console.interruptible():
            app(given, prog_name="napari-sslmaps")
    except (Cancelled, KeyboardInterrupt):
        console.error("Stopped.")
        sys.exit(1)
    except SSLMapsError as error:
        if debug:
            raise
        console.error(str(error))
        sys.exit(1)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            console.error("Stopped.")
            sys.exit(1)
        raise
    except Exception as error:  # whatever it is, no traceback ends before a user
        if debug:
            raise
        if is_lack_of_memory(error):
            error.__traceback__ = error.__context__ = error.__cause__ = None  # they hold what filled it
            sys.stderr.write(f"Error: {NO_MEMORY}\n")
        else:
            console.error(_unforeseen(error, given))
        sys.exit(1)


_LIBRARIES = ("tifffile", "pydicom", "PIL", "imageio", "matplotlib", "numpy", "zarr", "torch")


@contextmanager
def _libraries_silent(*, unless: bool) -> Iterator[None]:
    """Keep what libraries say about a file from preceding the sentence that this package says.

    A backend of matplotlib that does not exist would stop it, and no figure here is shown in a window.
    """
    if unless:
        yield
        return
    backend = os.environ.get("MPLBACKEND")
    levels = {name: logging.getLogger(name).level for name in _LIBRARIES}
    with warnings.catch_warnings():
        warnings.showwarning = _ours_as_notes(warnings.showwarning)
        for name in _LIBRARIES:
            logging.getLogger(name).setLevel(logging.CRITICAL)
            if not sys.warnoptions:
                warnings.filterwarnings("ignore", module=rf"{name}\b")
        if backend is not None:
            os.environ["MPLBACKEND"] = "agg"
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
            if backend is not None:
                os.environ["MPLBACKEND"] = backend


def _ours_as_notes(others: Callable[..., None]) -> Callable[..., None]:
    """Show warnings of this package as the sentences that they are, without a line of code."""

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if category.__module__.startswith("napari_sslmaps."):
            console.note(str(message))
        else:
            others(message, category, *place)

    return show


def _unforeseen(error: Exception, given: Sequence[str]) -> str:
    """Say what went wrong though nobody foresaw it, and where the details were written."""
    if isinstance(error, PermissionError) and error.filename:
        return (
            f"Expected to be allowed to open {error.filename}; the system says: {error.strerror}. Change its "
            "permissions, or choose another one."
        )
    first = (str(error).splitlines() or [""])[0][:200]
    sentence = f"Something went wrong that was not foreseen ({type(error).__name__}: {first})."
    try:
        installed = version("napari-sslmaps")
    except PackageNotFoundError:  # it is being replaced
        installed = "of no known version"
    details = f"napari-sslmaps {installed}, {platform.platform()}\n{shlex.join(given)}\n\n"
    details += "".join(traceback.format_exception(error))
    for folder in (user_log_path("napari-sslmaps"), Path(tempfile.gettempdir())):
        path = folder / f"error-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.txt"
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(details, encoding="utf-8", errors="backslashreplace")
            return f"{sentence} The details are in {path}; --debug shows them. Report it with that file."
    return f"{sentence} Run it again with --debug to see the details, and report it with them."
