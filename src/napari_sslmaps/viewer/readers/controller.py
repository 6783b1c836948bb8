"""A blind reading on the canvas: opens a study, shows its screens in cells, and keeps what is answered."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.readers.page import PageImage, pixels_of, read_page
from napari_sslmaps.readers.reading import Reading, Value, answers_path, pages_of
from napari_sslmaps.viewer.canvas.anchor_layers import NEGATIVE
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.canvas.side_by_side import CellWords, SideBySide
from napari_sslmaps.viewer.readers.model import ReadingModel, Stage
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.workspace import GROUP_COLOURS, Anchor, Status, WorkspaceModel

_IMAGE = "Image"
_ASKED = "asked now"


class ReadingController:
    """One reader's study in one window; their page is all that is read of it, never the key.

    Pictures are drawn in cells and join no list of layers, so that nothing tells where they are from.

    Parameters
    ----------
    workspace
        Model that says which page is open: ``readers`` has the canvas meanwhile.
    cells
        Show a screen.
    clock
        Seconds; for tests.
    """

    def __init__(
        self, workspace: WorkspaceModel, cells: SideBySide, clock: Callable[[], float] = monotonic
    ) -> None:
        self.model = ReadingModel()
        self.clock = clock
        self._workspace = workspace
        self._cells = cells
        self._folder: Path | None = None
        self._pages: Mapping[str, Path] = {}
        self._reading: Reading | None = None
        self._drawn: tuple[str, dict[str, Image]] = "", {}
        self._shown = False
        self._connections = Connections()
        for name in ("shows_image", "large"):
            self._connections.add(getattr(self.model.events, name), self.arrange)

    @property
    def folder(self) -> Path | None:
        """Folder of the study that is open."""
        return self._folder

    def open(self, folder: Path) -> None:
        """Open a study's folder; a study with one reader asks nobody who they are."""
        self._leave_reading()
        with self._reporting_errors():
            self._pages, self._folder = pages_of(folder), folder
            self.model.codes = tuple(
                (code, answers_path(folder, code).exists()) for code in sorted(self._pages)
            )
            self._go("choosing")
            if len(self._pages) == 1:
                self.choose(next(iter(self._pages)))

    def choose(self, code: str) -> None:
        """Be the reader of that code, where they stopped."""
        self._leave_reading()
        if self._folder is None or code not in self._pages:
            return
        with self._reporting_errors():
            page = read_page(self._pages[code])
            self._reading = Reading(page, answers_path(self._folder, code), self.clock)
            self._go("begin")

    def begin(self) -> None:
        """Show the screen, and let its time run; again after a pause."""
        if self._reading is not None and self.model.stage != "reading":
            self._reading.go_on()
            self._go("reading")

    def pause(self) -> None:
        """Stop the time, and show nothing."""
        if self._reading is not None and self.model.stage == "reading":
            with self._reporting_errors():
                self._reading.pause()
            self.model.flickers = False
            self._go("paused")

    def press(self, key: str) -> None:
        """Answer what is asked by a key."""
        self._do(lambda reading: reading.press(key))

    def answer(self, name: str, value: Value) -> None:
        """Answer a slot by its name."""
        self._do(lambda reading: reading.answer(name, value))

    def undo(self) -> None:
        """Take back the last answer."""
        self._do(Reading.undo)

    def step(self, by: int) -> None:
        """Ask about the slot so many further on."""
        self._do(lambda reading: reading.look_at(reading.focus + by))

    def step_question(self, by: int) -> None:
        """Ask the next question about the same map, or the one before."""
        if self._reading is not None:
            self.step(by * len(self._reading.slots) // len(self._reading.page.questions))

    def move(self, by: int) -> None:
        """Go to the next screen, or back."""
        if self._reading is None or self.model.stage != "reading":
            return
        with self._reporting_errors():
            if not self._reading.move(by):
                self.model.status = Status("Something is not answered yet.")
        if self._reading.finished:
            self._reading.pause()
            self.model.flickers = False
            self._go("finished")
        else:
            self._publish()

    def toggle_image(self) -> None:
        """Put the image in the place of its maps, or the maps back."""
        if self.model.stage == "reading":
            self.model.shows_image = not self.model.shows_image

    def fit(self) -> None:
        """Look at all of the image again."""
        if self._shown:
            self._cells.fit()

    def arrange(self) -> None:
        """Show what is to be seen on the canvas, if the page has it."""
        reading = self._reading
        if self._workspace.task != "readers":
            if self._shown:
                self._shown = False
                self._cells.leave()
            return
        self._shown = reading is not None and self.model.stage == "reading"
        if reading is None or not self._shown:
            self._cells.leave()
            return
        with self._reporting_errors():
            self._show(reading)

    def close(self) -> None:
        """Keep the time there was, and undo every connection."""
        self.pause()
        self._connections.undo()

    def _show(self, reading: Reading) -> None:
        trial, slot = reading.trial, reading.slots[reading.focus]
        layers = self._layers(reading)
        large = self.model.large and slot.part in trial.maps
        wanted = [slot.part] if large else [_IMAGE, *trial.maps]
        for letter in trial.maps:
            layers[letter].opacity = 0.0 if self.model.shows_image else 1.0
        image = reading.page.images[str(trial.image)]
        self._cells.show(
            layers[""],
            [layers[name] for name in wanted],
            words=CellWords(
                tuple((name, _ASKED if name == slot.part else "") for name in wanted),
                tuple(_marks(image, layers[""].data.shape)) if trial.anchors else (),
            ),
        )

    def _layers(self, reading: Reading) -> dict[str, Image]:
        """Return the layers of the screen in view: below all, of the bare image, and of every letter."""
        trial = reading.trial
        if self._drawn[0] != trial.id:
            pixels = pixels_of(reading.page.images[str(trial.image)].picture)
            found = {"": _layer(_IMAGE, pixels), _IMAGE: _layer(_IMAGE, np.zeros_like(pixels))}
            found |= {letter: _layer(letter, pixels_of(address)) for letter, address in trial.maps.items()}
            self._drawn = trial.id, found
        return self._drawn[1]

    def _do(self, act: Callable[[Reading], Any]) -> None:
        """Change the reading while it runs; what it becomes is shown even if it cannot be written."""
        if self._reading is not None and self.model.stage == "reading":
            self.model.status = Status()
            with self._reporting_errors():
                act(self._reading)
            self._publish()

    def _publish(self) -> None:
        self.model.screen = None if self._reading is None else self._reading.screen
        self.arrange()

    def _go(self, stage: Stage) -> None:
        self.model.status = Status()
        self.model.stage = stage
        self._publish()

    def _leave_reading(self) -> None:
        self.pause()
        self._reading, self._drawn = None, ("", {})
        self.model.shows_image = self.model.flickers = False
        self._go("choosing" if self._pages else "closed")

    @contextmanager
    def _reporting_errors(self) -> Iterator[None]:
        """Report an error in the status instead of raising it."""
        try:
            yield
        except SSLMapsError as error:
            self.model.status = Status(str(error), failed=True)


def _layer(name: str, pixels: NDArray[np.uint8]) -> Image:
    """Return a layer that says nothing but its letter."""
    mark = {"role": "reading", "kind": name, "frame": 0}
    return Image(pixels, rgb=True, name=name, metadata={OWN: mark}, interpolation2d="nearest")


def _marks(image: PageImage, shape: tuple[int, ...]) -> Iterator[tuple[Anchor, str, str]]:
    """Anchors at pixels of the picture, with colour and symbol."""
    looks = ((image.anchors, GROUP_COLOURS[0], "x"), (image.negative, NEGATIVE, "hbar"))
    for points, colour, symbol in looks:
        for x, y in points:
            yield Anchor((y * shape[0] - 0.5, x * shape[1] - 0.5), symbol == "hbar"), colour, symbol
