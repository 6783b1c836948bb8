"""Console: results to stdout, progress and errors to stderr."""

import json
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from io import TextIOWrapper
from pathlib import Path
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from napari_sslmaps.core.findings import Table
    from napari_sslmaps.encoders.published.fetch import OnBytes
    from napari_sslmaps.pipeline.progress import EmbeddingProgress
    from napari_sslmaps.run.compute import OnProgress

_CONTROL = ("Cc", "Cs", "Zl", "Zp")
"""Categories of characters that move the cursor or cannot be written."""
_IMPORTING, _LATER = "<frozen importlib._bootstrap", 0.1
"""Where Python's code that imports says it is from; seconds until Ctrl-C is tried again."""
_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, what a queue or `kill` sends, and a terminal that is closed."""


def write_anything() -> None:
    """Spell out letters that the coding of a terminal or file lacks, such as ✓ in that of Windows."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            with suppress(OSError):  # it is closed, or was put elsewhere
                stream.reconfigure(errors="backslashreplace")


def out(text: RenderableType) -> None:
    """Write to stdout, coloured on a terminal."""
    shown = printable(text) if isinstance(text, str) else text
    Console(highlight=False, soft_wrap=isinstance(text, str)).print(shown, markup=False)


def out_table(table: "Table") -> None:
    """Write a table to stdout as text, its columns aligned, and its notes to stderr."""
    from napari_sslmaps.core.findings import cell_text

    rows = [table.columns, *(tuple(cell_text(cell) for cell in row) for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    out(table.title)
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        out(f"  {'  '.join(cells).rstrip()}")
    for sentence in table.notes:
        note(sentence)
    out("")


def out_json(value: Any) -> None:
    """Write JSON to stdout, and nothing else."""
    all_letters = (sys.stdout.encoding or "utf-8").lower().replace("-", "") == "utf8"
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=not all_letters) + "\n")


def note(text: str) -> None:
    """Write a remark to stderr."""
    errors().print(printable(text), markup=False, style="dim")


def key_note(path: Path) -> None:
    """Say where the key to an anonymous result is."""
    note(f"Which files the numbers stand for is in {path}; keep it to yourself.")


def error(sentence: str) -> None:
    """Write an error to stderr, as one sentence."""
    errors().print(f"Error: {printable(sentence)}", markup=False, style="red")


def printable(text: str) -> str:
    """Return a text with its control characters spelled out, which may come from a file of somebody else."""
    return "".join(
        repr(one)[1:-1] if one != "\n" and unicodedata.category(one) in _CONTROL else one for one in text
    )


def errors() -> Console:
    """Return a console on stderr, as it is now."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def reporting_once(*, quiet: bool) -> Callable[[str], None]:
    """Return a callback that notes each text it is given, once: what a bar shows, where stderr is a file."""
    reported = set[str]()
    silent = quiet or errors().is_terminal

    def report(text: str) -> None:
        if not silent and text not in reported:
            reported.add(text)
            note(text)

    return report


@contextmanager
def progress_bars(*, quiet: bool) -> "Iterator[OnProgress]":
    """Give a callback that draws a bar for each encoder it hears of.

    Parameters
    ----------
    quiet
        Whether nothing is drawn or said; where stderr is no terminal, each encoder is named as it begins.
    """
    screen, report = errors(), reporting_once(quiet=quiet)
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
        loading = progress.add_task("loading", total=None)

        def show(name: str, state: "EmbeddingProgress") -> None:
            progress.update(loading, visible=False)
            report(f"{name} …")
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=state.total)
            progress.update(tasks[name], completed=state.done)  # type: ignore[arg-type]  # TaskID is an int

        yield show


@contextmanager
def counted(what: str, *, quiet: bool) -> "Iterator[Callable[[int, int], None]]":
    """Give a callback that draws how many of how many are done; see `progress_bars`."""
    screen = errors()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    progress = Progress(*columns, console=screen)
    with nullcontext() if quiet or not screen.is_terminal else progress:
        task = progress.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield show


@contextmanager
def kept_if_stopped(sentence: str) -> Iterator[None]:
    """Say what is kept where Ctrl-C, or what is taken for it, ends what is done within."""
    try:
        yield
    except KeyboardInterrupt:
        note(sentence)
        raise


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and a terminal that is closed end what is done within as Ctrl-C does, by KeyboardInterrupt.

    Each is put off while a module is imported: a library in C++ that is interrupted while it is loaded ends
    the process with a word of its own. A library in C++ that calls Python may drop the KeyboardInterrupt and
    raise an error of its own, which is taken for it. One that comes where nothing can be raised, as in the
    callback of a weak reference, comes again a moment later. A signal that somebody ignores or handles is
    left to them.
    """
    if sys.platform == "win32" or current_thread() is not main_thread():
        yield
        return
    plain = (signal.default_int_handler, signal.SIG_DFL)
    before = {number: signal.getsignal(number) for number in _ENDING}
    before = {number: handler for number, handler in before.items() if handler in plain}
    if not before:
        yield
        return

    came = Event()

    def interrupt(_number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_filename.startswith(_IMPORTING):
                signal.setitimer(signal.ITIMER_REAL, _LATER)
                return
            frame = frame.f_back
        came.set()
        raise KeyboardInterrupt

    before[signal.SIGALRM] = signal.getsignal(signal.SIGALRM)
    for number in before:
        signal.signal(number, interrupt)
    try:
        with _lost_comes_again():
            yield
    except Exception as error:
        if came.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _lost_comes_again() -> Iterator[None]:
    """Raise a KeyboardInterrupt again that Python could only have reported, by the alarm."""
    report = sys.unraisablehook

    def look(lost: "sys.UnraisableHookArgs") -> None:
        if lost.exc_type is KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, _LATER)
        else:
            report(lost)

    sys.unraisablehook = look
    try:
        yield
    finally:
        sys.unraisablehook = report


def left_to_window() -> None:
    """Let a signal end the process at once again, except for Ctrl-C: an event loop hears no exception."""
    for number in _ENDING:
        if number != signal.SIGINT and current_thread() is main_thread():
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def byte_bar(title: str) -> "Iterator[OnBytes]":
    """Give a callback that draws a download."""
    screen = errors()
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
