"""``study``: does the pretext decide which signal is seen? Trains, probes and writes a page, resumably."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from napari_sslmaps.cli import console
from napari_sslmaps.cli.options import Out
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.extras import require_extra


def study(
    out: Out,
    design: Annotated[
        str | None,
        typer.Option(
            "--design", help="quick (the default), decisive, or a TOML file with the design's fields."
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", help="Processor minutes for all trainings together.", min=0.01),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    part: Annotated[
        str,
        typer.Option("--part", help="2/8 does the second of eight parts; several processes can share OUT."),
    ] = "1/1",
    page: Annotated[
        bool, typer.Option("--page", help="Train nothing; write the page from the results that are there.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Measure on simulated scenes whether the pretext task decides which signal is seen, local or global.

    Trains I-JEPA, DINOv3, MAE and DiRA on scenes whose label lives in a local cue or in the arrangement of
    organs, probes them along both knobs, and writes OUT/index.html. Stop at any time; the same command
    continues.
    """
    require_extra("lab")
    from napari_sslmaps.lab.study.design import find_design
    from napari_sslmaps.lab.study.run import run_study, write_results

    begun = out / "design.toml"
    goes_on = design is None and minutes is None and begun.exists()
    chosen = find_design(str(begun) if goes_on else design or "quick", minutes)
    if page:
        console.out(f"Wrote {write_results(chosen, out)}")
        return
    kept = f"What is done is in {out}; the same command goes on from there."
    with console.kept_if_stopped(kept), _bars(quiet=quiet) as on_progress:
        written = run_study(chosen, out, device=device, part=_part(part), on_progress=on_progress)
    console.out(f"Wrote {written}")


def _part(text: str) -> tuple[int, int]:
    own, _, parts = text.partition("/")
    if not (own.isdigit() and parts.isdigit()):
        raise InvalidOptionError(f"Expected a part such as 2/8; got {text!r}.")
    return int(own), int(parts)


@contextmanager
def _bars(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Give a callback that draws a bar for what is under way; what is done scrolls away above it."""
    screen = console.errors()
    columns = (
        TextColumn("{task.description:<40}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    progress = Progress(*columns, console=screen)
    with nullcontext() if quiet or not screen.is_terminal else progress:
        task = progress.add_task("preparing", total=None)
        current = ["preparing"]

        def show(what: str, done: int, of: int) -> None:
            if what != current[0]:
                progress.reset(task)
                current[0] = what
            progress.update(task, description=what, completed=done, total=of)

        yield show
