"""The page ``Readers`` of the dock: open a study, say who you are, and judge its maps by buttons and keys."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtCore import QTimer, Signal
from qtpy.QtGui import QHideEvent, QKeySequence, QShortcut
from qtpy.QtWidgets import QFileDialog, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_sslmaps._qt.parts import ComboBox, Section, dim, note, quiet, row
from napari_sslmaps._qt.readers.questions import QuestionsView
from napari_sslmaps._qt.readers.report_window import ReportWindow
from napari_sslmaps._qt.readers.study_dialog import StudyDialog
from napari_sslmaps.readers.reading import Screen
from napari_sslmaps.viewer.readers.controller import ReadingController
from napari_sslmaps.viewer.readers.model import ReadingModel, Stage
from napari_sslmaps.viewer.readers.new_study import NewStudy
from napari_sslmaps.viewer.readers.study_report import ShownReport, StudyReports
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.workspace import RunProgress, Status

_FLICKER_MS = 500
_ANSWERS = "12345ABCDE"
_CLOSED = (
    "Judge the maps of a reader study without knowing which method made them. Open the folder of a study, or "
    "make a new one; what you answer is written into it at once."
)
_CHOOSE = "Who are you? The name of your page, which whoever made the study knows, ends in your code."
_BEGIN = (
    "{total} screens show you an image beside maps that are called A, B, C … What a letter stands for "
    "changes from screen to screen. {complete} of {total} are answered."
)
_PAUSED = "Paused: the time is stopped, and your answers are kept."
_FINISHED = "Done. Thank you! Your answers are in the folder of the study."
_KEYS = {
    "rating": "1–5 answer, arrows move, L shows one map large, ",
    "pairwise": "A, B, or E for equal, ",
    "best-worst": "a letter chooses the best, then the worst, ",
}
_OTHER_KEYS = "Enter goes on, Space shows the image, F flickers, U undoes, P pauses, 0 fits; the wheel zooms."


class ReadersWidget(QWidget):
    """Everything that a reader does; the maps are on the canvas.

    Parameters
    ----------
    controller
        Controller of the reading, which is told of what they do.
    new_study
        Controller that makes studies.
    reports
        Controller that analyses what readers answered.
    connections
        Undone when the dock is closed.
    """

    def __init__(
        self,
        controller: ReadingController,
        new_study: NewStudy,
        reports: StudyReports,
        connections: Connections,
    ) -> None:
        super().__init__()
        self._controller = controller
        self._new_study = new_study
        self._reports = reports
        self.report = ReportWindow(self)
        self.form = StudyDialog(self)
        self._model: ReadingModel = controller.model
        self.opened = OpenSection()
        self.screen_section = ScreenSection()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        column.addWidget(self.opened)
        column.addWidget(self.screen_section)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._timer = QTimer(self)
        self._timer.setInterval(_FLICKER_MS)
        self._timer.timeout.connect(controller.toggle_image)
        self._keys = self._make_keys()
        self._connect_views()
        self._connect_model(connections)

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Stop the time when another page is opened, or the window put away."""
        super().hideEvent(event)
        self._controller.pause()

    def _connect_views(self) -> None:
        controller, screen_section = self._controller, self.screen_section
        self.opened.folder_requested.connect(lambda path: controller.open(Path(path)))
        self.opened.reader_requested.connect(controller.choose)
        self.opened.begin.clicked.connect(controller.begin)
        self.opened.new.clicked.connect(self._ask_for_study)
        self.opened.report.clicked.connect(self._ask_for_report)
        self.report.scores_requested.connect(self._reports.make)
        self.report.folder_requested.connect(self._reports.save)
        self.opened.cancel.clicked.connect(self._new_study.cancel)
        self.opened.cancel.clicked.connect(self._reports.cancel)
        self.form.form_requested.connect(self._new_study.make)
        screen_section.questions.answered.connect(controller.answer)
        for button, act in (
            (screen_section.undo, controller.undo),
            (screen_section.image, controller.toggle_image),
            (screen_section.flicker, partial(self._turn, "flickers")),
            (screen_section.large, partial(self._turn, "large")),
            (screen_section.pause, controller.pause),
            (screen_section.back, partial(controller.move, -1)),
            (screen_section.next, partial(controller.move, 1)),
        ):
            button.clicked.connect(lambda _=False, act=act: act())

    def _connect_model(self, connections: Connections) -> None:
        model, events = self._model, self._model.events
        pairs: dict[str, Callable[..., None]] = {
            "codes": self.opened.set_codes,
            "stage": self._on_stage,
            "screen": self._on_screen,
            "flickers": self._on_flickers,
            "shows_image": self.screen_section.set_shows_image,
            "large": self.screen_section.set_large,
            "status": self._on_status,
        }
        for name, setter in pairs.items():
            connections.add(getattr(events, name), setter)
            setter(getattr(model, name))
        making = self._new_study.model
        connections.add(making.events.problems, self.form.show_problems)
        connections.add(making.events.progress, self._on_making)
        self._on_making(making.progress)
        made = self._reports.model
        connections.add(made.events.progress, self.opened.set_progress)
        connections.add(made.events.shown, self._on_report)

    def _make_keys(self) -> list[QShortcut]:
        """Keys of the window, wherever in it the focus is; a box that is typed into takes them first."""
        controller = self._controller
        acts: dict[str, Callable[[], object]] = {
            **{key: partial(controller.press, key) for key in _ANSWERS},
            "Space": controller.toggle_image,
            "F": partial(self._turn, "flickers"),
            "L": partial(self._turn, "large"),
            "U": controller.undo,
            "P": self._turn_pause,
            "Return": self._enter,
            "Enter": self._enter,
            "Backspace": partial(controller.move, -1),
            "0": controller.fit,
            "Right": partial(controller.step, 1),
            "Left": partial(controller.step, -1),
            "Down": partial(controller.step_question, 1),
            "Up": partial(controller.step_question, -1),
        }
        made = []
        for key, act in acts.items():
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setAutoRepeat(False)
            shortcut.activated.connect(lambda act=act: act())
            made.append(shortcut)
        return made

    def _turn(self, name: str) -> None:
        if self._model.stage == "reading":
            setattr(self._model, name, not getattr(self._model, name))

    def _turn_pause(self) -> None:
        if self._model.stage == "reading":
            self._controller.pause()
        else:
            self._controller.begin()

    def _enter(self) -> None:
        if self._model.stage == "reading":
            self._controller.move(1)
        else:
            self._controller.begin()

    def _ask_for_study(self) -> None:
        self.form.offer(self._new_study.encoders, self._new_study.placed)
        self.form.open()

    def _ask_for_report(self) -> None:
        """Analyse the study that is open, else one that is asked for."""
        study = self._reports.study
        folder = str(study or QFileDialog.getExistingDirectory(self, "Report of a reader study"))
        if folder:
            self._reports.make(Path(folder))

    def _on_report(self, shown: ShownReport | None) -> None:
        if shown is not None:
            self.report.set_report(shown)
            self.report.show()
            self.report.raise_()

    def _on_making(self, progress: RunProgress | None) -> None:
        """Close the form once nothing in it is wrong, and show how far the study is."""
        if progress is not None:
            self.form.accept()
        self.opened.set_progress(progress)

    def _on_stage(self, stage: Stage) -> None:
        self.opened.set_stage(stage)
        self.screen_section.setVisible(stage == "reading")
        for shortcut in self._keys:
            shortcut.setEnabled(stage not in {"closed", "choosing"})
        self._tell()

    def _on_screen(self, screen: Screen | None) -> None:
        self.screen_section.set_screen(screen)
        self._tell()

    def _on_flickers(self, on: bool) -> None:
        self.screen_section.set_flickers(on)
        if on:
            self._timer.start()
        else:
            self._timer.stop()
            self._model.shows_image = False

    def _on_status(self, status: Status) -> None:
        self.opened.set_status(status)
        self.screen_section.set_status(status)

    def _tell(self) -> None:
        screen = self._model.screen
        begin = "" if screen is None else _BEGIN.format(total=screen.total, complete=screen.complete)
        words = {
            "closed": _CLOSED,
            "choosing": _CHOOSE,
            "begin": begin,
            "paused": _PAUSED,
            "finished": _FINISHED,
        }
        self.opened.set_words(words.get(self._model.stage, ""))


class OpenSection(Section):
    """Study and reader are chosen here; it also stands between screens."""

    folder_requested = Signal(str)
    reader_requested = Signal(str)

    def __init__(self) -> None:
        super().__init__("Blind reading")
        self.open = QPushButton("Open study…")
        self.open.setToolTip("Choose the folder of a reader study.")
        self.new = QPushButton("New study…")
        self.new.setToolTip("Choose images, encoders and readers, and make their maps.")
        self.report = QPushButton("Report…")
        self.report.setToolTip(
            "For whoever made the study: what readers have answered so far, by method. It tells what the "
            "letters stand for."
        )
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setMaximumHeight(18)
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop; nothing is written.")
        self._making = QWidget()
        self._making.setLayout(row(self.bar, self.cancel))
        self.reader = ComboBox(tip="Your reader code, as in the name of your page.")
        self.words = note()
        self.begin = QPushButton("Begin")
        self.begin.setToolTip("Show the image and its maps; the time starts. Key: Enter.")
        self.status = note()
        self.body.addLayout(row(self.open, self.new, self.report))
        for part in (self._making, self.reader, self.words, self.begin, self.status):
            self.body.addWidget(part)
        self.open.clicked.connect(self._ask)
        self.reader.currentIndexChanged.connect(lambda _: self.reader_requested.emit(self.reader.value or ""))

    def set_codes(self, codes: tuple[tuple[str, bool], ...]) -> None:
        """Offer the readers of a study, by their codes."""
        options = [(f"{code} (begun)" if begun else code, code) for code, begun in codes]
        with quiet(self.reader):
            self.reader.clear()
        self.reader.set_options([("…", ""), *options] if len(options) > 1 else options)
        self.reader.setVisible(bool(options))

    def set_stage(self, stage: Stage) -> None:
        """Show what is done next."""
        reading = stage == "reading"
        for part in (self.open, self.new, self.report, self.words, self.status):
            part.setVisible(not reading)
        self.reader.setVisible(stage not in {"closed", "reading"})
        if stage == "choosing" and self.reader.count() > 1:
            self.reader.set_value("")
        self.begin.setVisible(stage in {"begin", "paused", "finished"})
        self.begin.setText({"paused": "Go on", "finished": "Look again"}.get(stage, "Begin"))

    def set_progress(self, progress: RunProgress | None) -> None:
        """Show how far a study or a report is that is being made; None while none is."""
        self._making.setVisible(progress is not None)
        for button in (self.new, self.report):
            button.setEnabled(progress is None)
        if progress is not None:
            self.bar.setValue(round(1000 * progress.fraction))
            self.bar.setFormat(progress.label)

    def set_words(self, words: str) -> None:
        """Say what this is, and what comes next."""
        self.words.setText(words)

    def set_status(self, status: Status) -> None:
        """Show the last message."""
        self.status.setText(status.text)
        dim(self.status, failed=status.failed)

    def _ask(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open a reader study")
        if folder:
            self.folder_requested.emit(folder)


class ScreenSection(Section):
    """Questions about the maps on the canvas, progress, and buttons for all that a reader can do."""

    def __init__(self) -> None:
        super().__init__("")
        self.bar = QProgressBar()
        self.bar.setMaximumHeight(18)
        self.questions = QuestionsView()
        self.image = _button("Image", "The image in the place of its maps. Space", checkable=True)
        self.flicker = _button("Flicker", "Image and maps take turns. F", checkable=True)
        self.large = _button("Large", "The map that is asked about fills the canvas. L", checkable=True)
        self.undo = _button("Undo", "Take the last answer back. U")
        self.pause = _button("Pause", "Stop the time, and show nothing. P")
        self.back = _button("Back", "The screen before. Backspace")
        self.next = _button("Next", "The next screen, once all is answered. Enter")
        self.status = note()
        self.keys = note()
        self.body.addWidget(self.bar)
        self.body.addWidget(self.questions)
        self.body.addLayout(row(self.image, self.flicker, self.large))
        self.body.addLayout(row(self.undo, self.pause, self.back, self.next))
        self.body.addWidget(self.status)
        self.body.addWidget(self.keys)

    def set_screen(self, screen: Screen | None) -> None:
        """Show what is asked."""
        self.questions.set_screen(screen)
        if screen is None:
            return
        self.bar.setRange(0, screen.total)
        self.bar.setValue(screen.complete)
        self.bar.setFormat(f"{screen.number} of {screen.total}")
        self.undo.setEnabled(screen.undoable)
        self.back.setEnabled(screen.number > 1)
        self.next.setEnabled(screen.answered)
        self.next.setText("Finish" if screen.number == screen.total else "Next")
        self.large.setVisible(screen.design == "rating")
        self.keys.setText(f"Keys: {_KEYS[screen.design]}{_OTHER_KEYS}")

    def set_shows_image(self, on: bool) -> None:
        """Show whether the image is in the place of its maps."""
        _check(self.image, on=on)

    def set_flickers(self, on: bool) -> None:
        """Show whether image and maps take turns."""
        _check(self.flicker, on=on)

    def set_large(self, on: bool) -> None:
        """Show whether one map fills the canvas."""
        _check(self.large, on=on)

    def set_status(self, status: Status) -> None:
        """Show the last message."""
        self.status.setText(status.text)
        dim(self.status, failed=status.failed)


def _button(text: str, tip: str, *, checkable: bool = False) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setCheckable(checkable)
    button.setMinimumWidth(50)
    return button


def _check(button: QPushButton, *, on: bool) -> None:
    with quiet(button):
        button.setChecked(on)
