"""Progress bars, on a terminal only."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from napari_sslmaps.cli import console

if TYPE_CHECKING:
    from napari_sslmaps.encoders.published.fetch import OnBytes
    from napari_sslmaps.pipeline import EmbeddingProgress
    from napari_sslmaps.run.compute import OnProgress


@contextmanager
def progress_bars(*, quiet: bool) -> "Iterator[OnProgress]":
    """Give a callback that draws a bar for each encoder it hears of.

    Parameters
    ----------
    quiet
        Draw nothing; nothing is drawn where stderr is no terminal, either.
    """
    screen = console.errors()
    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tiles"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    progress = Progress(*columns, console=screen)
    with nullcontext() if quiet or not screen.is_terminal else progress:
        tasks: dict[str, int] = {}

        def show(name: str, state: "EmbeddingProgress") -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=state.total)
            progress.update(tasks[name], completed=state.done)  # type: ignore[arg-type]  # TaskID is an int

        yield show


@contextmanager
def byte_bar(title: str) -> "Iterator[OnBytes]":
    """Give a callback that draws a download."""
    screen = console.errors()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=screen)
    with progress if screen.is_terminal else nullcontext():
        task = progress.add_task(title, total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield show
