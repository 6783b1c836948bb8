"""Training on a terminal: one bar with time left, loss, learning rate and feature rank."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from napari_sslmaps.cli import console
from napari_sslmaps.lab.training.run import Run
from napari_sslmaps.lab.training.trainer import Listener


class TrainingDisplay(Listener):
    """A bar on a terminal; a line of text per line of log elsewhere.

    Parameters
    ----------
    progress
        Display that the bar belongs to.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def prepared(self, done: int, total: int) -> None:
        """Show how far the training data are."""
        self._show("preparing data", done, total)

    def stepped(self, run: Run) -> None:
        """Move the bar."""
        self._show("training", run.step, run.steps)

    def logged(self, run: Run) -> None:
        """Show loss, rate and rank."""
        line = run.last
        summary = f"loss {line['total']:.4f}  rate {line['rate']:.1e}  rank {line['rank']:.1f}"
        if self._progress.console.is_terminal:
            self._show("training", run.step, run.steps, summary)
        else:
            left = (run.steps - run.step) * run.seconds / max(1, run.step)
            console.note(f"step {run.step} of {run.steps}  {summary}  {left / 60:.1f} min left")

    def reported(self, sentence: str) -> None:
        """Write a remark above the bar."""
        self._progress.console.print(sentence, markup=False, style="dim")

    def _show(self, name: str, done: int, total: int, summary: str = "") -> None:
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=total, summary="")
        self._progress.update(self._bars[name], completed=done, total=total)
        if summary:
            self._progress.update(self._bars[name], summary=summary)


@contextmanager
def training_display() -> Iterator[TrainingDisplay]:
    """Give the display of one training."""
    screen = console.errors()
    progress = Progress(
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[summary]}"),
        console=screen,
        refresh_per_second=2,
    )
    with progress if screen.is_terminal else nullcontext():
        yield TrainingDisplay(progress)
