"""The dialog that asks for a new reader study, and says beside a field what is wrong with it."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSpinBox,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)

from napari_sslmaps._qt.parts import (
    GAP,
    ComboBox,
    PathLine,
    dim,
    note,
    plain,
    row,
    tool,
)
from napari_sslmaps.compare.scores import CONTROL_TIPS
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.readers.study import CONTROLS, MAPS, REPEATS, Design, judged_maps
from napari_sslmaps.viewer.readers.new_study import Problems, StudyForm

_INTRO = (
    "Maps of all images are made now; each reader then judges them blind. The folder gets a page for every "
    "reader, and the key to its letters, which stays with you."
)
_DESIGNS: tuple[tuple[str, Design], ...] = (
    ("rating: every map from 1 to 5", "rating"),
    ("pairwise: which of two is better", "pairwise"),
    ("best–worst: of up to four", "best-worst"),
)
_WIDTH = 620
_COLUMNS = 5
_ALSO: Mapping[str, tuple[str, ...]] = {
    "images": ("anchors",),
    "encoders": ("controls",),
    "controls": ("encoders",),
    "maps": ("anchors", "encoders"),
    "design": ("questions",),
}
"""Field → others that it may be at fault for: an edit of it may mend those."""
_LINES = {"images": 3, "encoders": 5}
"""Lines of text that a list shows at once."""


class StudyDialog(QDialog):
    """Form of a new study; what was typed stays for the next time.

    Parameters
    ----------
    parent
        The widget it belongs to.
    """

    form_requested = Signal(object)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("New reader study")
        self._placed: Mapping[str, AnchorGroup] = {}
        self.images = QTextEdit()
        self.images.setPlaceholderText("Images, folders, or a CSV with a column image: one path a line")
        self.images.setAcceptRichText(False)
        self.images.setTabChangesFocus(True)
        self.encoders = QListWidget()
        self.controls = _boxes(CONTROL_TIPS.items(), CONTROLS)
        self.maps = _boxes([(kind.key, kind.heading) for kind in judged_maps()], MAPS)
        self.anchors = ComboBox(tip="Similarity and groups are to the anchors of each image.")
        self.anchors_file = PathLine(files=True, lacking="a set that the window saved, for every image")
        self.design = ComboBox(_DESIGNS, "How maps are judged.")
        self.questions = PathLine(files=True, lacking="those of the package, or a TOML file of your own")
        self.readers = QLineEdit()
        self.readers.setPlaceholderText("names, with commas between them; you alone see them")
        self.repeats = QSpinBox()
        self.repeats.setRange(0, 100)
        self.repeats.setSuffix(" %")
        self.repeats.setValue(round(100 * REPEATS))
        self.repeats.setToolTip(
            "Share of items that every reader sees twice, to tell how far they agree with themselves."
        )
        self.out = PathLine(lacking="an empty folder")
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.start = QPushButton("Make study")
        self.buttons.addButton(self.start, QDialogButtonBox.ButtonRole.AcceptRole)
        plain(self.buttons)
        self.problems: dict[str, QLabel] = {}
        self._dialog: QFileDialog | None = None
        self._lay_out()
        self.anchors.currentIndexChanged.connect(self._show_file)
        self._forget_what_is_edited()
        self.buttons.accepted.connect(self._on_accepted)
        self.buttons.rejected.connect(self.reject)

    def offer(self, encoders: Sequence[tuple[EncoderSpec, bool]], placed: Mapping[str, AnchorGroup]) -> None:
        """Offer encoders, of which some are ticked, and the images that are open with their anchors."""
        self._placed = placed
        known = {item.text(): item.checkState() for item in self._items()}
        self.encoders.clear()
        for spec, ticked in encoders:
            item = QListWidgetItem(spec.name)
            state = Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked
            item.setCheckState(known.get(spec.name, state))
            self.encoders.addItem(item)
        if not self.images.toPlainText().strip():
            self.images.setPlainText("\n".join(placed))
        marked = sum(bool(group.anchors) for group in placed.values())
        counted = f"{marked} of {len(placed)} open images have some" if placed else "open images and set some"
        self.anchors.set_options(((f"each image's own: {counted}", ""), ("one set from a file", "file")))
        self.show_problems({})
        self._show_file()

    def show_problems(self, problems: Problems) -> None:
        """Say what is wrong beside its field; what is merely empty is no failure."""
        for name, label in self.problems.items():
            text = problems.get(name, "")
            label.setText(text)
            label.setVisible(bool(text))
            dim(label, failed=bool(text) and not self._is_empty(name))
        self.start.setEnabled(True)
        self._fit()

    def _forget_what_is_edited(self) -> None:
        """Take back what was said of a field as soon as it is another."""
        edits: dict[str, tuple[Any, ...]] = {
            "images": (self.images.textChanged,),
            "encoders": (self.encoders.itemChanged,),
            "controls": tuple(box.toggled for box in self.controls.values()),
            "maps": tuple(box.toggled for box in self.maps.values()),
            "anchors": (self.anchors.currentIndexChanged, self.anchors_file.line.textChanged),
            "design": (self.design.currentIndexChanged,),
            "questions": (self.questions.line.textChanged,),
            "readers": (self.readers.textChanged,),
            "repeats": (self.repeats.valueChanged,),
            "out": (self.out.line.textChanged,),
        }
        for name, signals in edits.items():
            for signal in signals:
                signal.connect(partial(self._forget, name))

    def _forget(self, name: str, *_: object) -> None:
        told = [self.problems[one] for one in (name, *_ALSO.get(name, ()), "") if self.problems[one].text()]
        for label in told:
            label.clear()
            label.hide()
        if told:
            self._fit()

    def _lay_out(self) -> None:
        pick = QVBoxLayout()
        for text, tip, files in (
            ("Files…", "Add images.", True),
            ("Folder…", "Add all images of a folder.", False),
        ):
            button = tool(text, tip)
            button.clicked.connect(lambda _=False, files=files: self._ask_for_images(files=files))
            pick.addWidget(button)
        pick.addStretch(1)
        images = row(self.images)
        images.addLayout(pick)
        for box, lines in ((self.images, _LINES["images"]), (self.encoders, _LINES["encoders"])):
            box.setFixedHeight(lines * (self.fontMetrics().lineSpacing() + 4) + 2 * GAP)
        anchors = QVBoxLayout()
        anchors.addWidget(self.anchors)
        anchors.addWidget(self.anchors_file)
        form = QFormLayout(self)
        form.setVerticalSpacing(GAP)
        form.addRow(note(_INTRO))
        for name, title, content in (
            ("images", "Images", images),
            ("encoders", "Encoders", row(self.encoders)),
            ("controls", "Controls", _grid(self.controls)),
            ("maps", "Maps", _grid(self.maps)),
            ("anchors", "Anchors", anchors),
            ("design", "Design", row(self.design)),
            ("questions", "Questions", row(self.questions)),
            ("readers", "Readers", row(self.readers)),
            ("repeats", "Shown twice", row(self.repeats)),
            ("out", "Write to", row(self.out)),
        ):
            label = self.problems[name] = note()
            column = QVBoxLayout()
            column.setSpacing(0)
            column.addLayout(content)
            column.addWidget(label)
            form.addRow(title, column)
        self.problems[""] = note()
        form.addRow(self.problems[""])
        form.addRow(self.buttons)

    def _fit(self) -> None:
        """Be as high as all that is shown."""
        layout = self.layout()
        if layout is not None:
            layout.activate()
            width = max(_WIDTH, self.width())
            self.resize(width, layout.totalHeightForWidth(width))

    def _items(self) -> list[QListWidgetItem]:
        found = (self.encoders.item(at) for at in range(self.encoders.count()))
        return [item for item in found if item is not None]

    def _ask_for_images(self, *, files: bool) -> None:
        self._dialog = QFileDialog(self, "Images of the study")
        self._dialog.setFileMode(
            QFileDialog.FileMode.ExistingFiles if files else QFileDialog.FileMode.Directory
        )
        self._dialog.filesSelected.connect(self._add_images)
        self._dialog.open()

    def _add_images(self, paths: Sequence[str]) -> None:
        before = [line for line in self.images.toPlainText().splitlines() if line.strip()]
        self.images.setPlainText("\n".join(dict.fromkeys([*before, *paths])))

    def _show_file(self) -> None:
        self.anchors_file.setVisible(self.anchors.value == "file")
        self._fit()

    def _is_empty(self, name: str) -> bool:
        return {
            "images": not self.form.images,
            "readers": not self.form.readers,
            "encoders": not self.form.encoders,
            "maps": not self.form.maps,
            "out": not self.form.out,
            "anchors": not self.form.anchors,
            "": True,
        }.get(name, False)

    @property
    def form(self) -> StudyForm:
        """What is filled in."""
        lines = [line.strip() for line in self.images.toPlainText().splitlines()]
        names = [name.strip() for name in self.readers.text().split(",")]
        return StudyForm(
            images=tuple(filter(None, lines)),
            encoders=tuple(
                item.text() for item in self._items() if item.checkState() == Qt.CheckState.Checked
            ),
            readers=tuple(filter(None, names)),
            out=self.out.text,
            maps=tuple(key for key, box in self.maps.items() if box.isChecked()),
            controls=tuple(kind for kind in CONTROL_TIPS if self.controls[kind].isChecked()),
            design=self.design.value,
            repeats=self.repeats.value() / 100,
            questions=self.questions.text,
            anchors=self.anchors_file.text if self.anchors.value == "file" else "",
            placed=self._placed,
        )

    def _on_accepted(self) -> None:
        self.start.setEnabled(False)
        self.form_requested.emit(self.form)


def _boxes(words: Iterable[tuple[str, str]], ticked: Sequence[str]) -> dict[str, QCheckBox]:
    boxes = {}
    for key, tip in words:
        box = boxes[key] = QCheckBox(key)
        box.setToolTip(tip)
        box.setChecked(key in ticked)
    return boxes


def _grid(boxes: Mapping[str, QCheckBox]) -> QGridLayout:
    grid = QGridLayout()
    for place, box in enumerate(boxes.values()):
        grid.addWidget(box, place // _COLUMNS, place % _COLUMNS)
    return grid
