"""The dialog that asks for a folder of images, what is known of them, and where results go."""

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QGridLayout,
    QPushButton,
    QWidget,
)

from napari_sslmaps._qt.parts import ComboBox, PathLine, dim, note, plain
from napari_sslmaps.compare.scores import DEFAULT_SCORES, SCORES, ScoreType
from napari_sslmaps.core.units import listed
from napari_sslmaps.viewer.compare.jobs import SUBFOLDERS, FolderRequest

_LABELS = (("none", ""), ("names of sub-folders", SUBFOLDERS), ("a CSV: image, label", "csv"))
_INTRO = (
    "The ticked encoders and controls are compared on every image of a folder, whole or, where Region "
    "says so, its tissue or field of view. Finished images are kept: choose the same folder of "
    "results to go on."
)
_WIDTH = 520


class FolderDialog(QDialog):
    """Asks, and says what is missing before anything runs.

    Parameters
    ----------
    parent
        The widget it belongs to.
    """

    folder_requested = Signal(object)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Compare over a folder")
        self.images, self.masks, self.out = PathLine(), PathLine(lacking="none"), PathLine()
        self.csv = PathLine(files=True)
        self.labels = ComboBox(_LABELS, "Label of each image as a whole.")
        self.scores = {key: QCheckBox(key) for key, score in SCORES.items() if score.in_folder}
        for key, box in self.scores.items():
            box.setToolTip(_tip(SCORES[key]))
            box.setChecked(key in DEFAULT_SCORES)
        self.message = note()
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.start = QPushButton("Compare")
        self.buttons.addButton(self.start, QDialogButtonBox.ButtonRole.AcceptRole)
        plain(self.buttons)
        self._lay_out()
        self.labels.currentIndexChanged.connect(self._show_csv)
        self.buttons.accepted.connect(self._on_accepted)
        self.buttons.rejected.connect(self.reject)
        self._show_csv()

    def _lay_out(self) -> None:
        ticks = QGridLayout()
        for index, box in enumerate(self.scores.values()):
            ticks.addWidget(box, index // 3, index % 3)
        form = QFormLayout(self)
        form.addRow(note(_INTRO))
        form.addRow("Images", self.images)
        form.addRow("Masks", self.masks)
        form.addRow("Labels", self.labels)
        form.addRow("", self.csv)
        form.addRow("Scores", ticks)
        form.addRow("Results", self.out)
        form.addRow(self.message)
        form.addRow(self.buttons)
        self.resize(_WIDTH, self.sizeHint().height())

    def _show_csv(self) -> None:
        self.csv.setVisible(self.labels.value == "csv")

    def _on_accepted(self) -> None:
        ticked = tuple(name for name, box in self.scores.items() if box.isChecked())
        if lacking := self._lacking(ticked):
            self.message.setText(lacking)
            dim(self.message)
            return
        labels = self.csv.text if self.labels.value == "csv" else self.labels.value
        masks = Path(self.masks.text) if self.masks.text else None
        self.folder_requested.emit(
            FolderRequest(Path(self.images.text), masks, labels, ticked, Path(self.out.text))
        )
        self.accept()

    def _lacking(self, ticked: tuple[str, ...]) -> str:
        """Say what is still to be chosen; empty if nothing is. Masks may be named in a CSV."""
        missing = [name for name, line in (("images", self.images), ("results", self.out)) if not line.text]
        masked = [score for score in ticked if SCORES[score].needs_annotation]
        if missing or not ticked:
            what = f"a folder for {listed(missing)}" if missing else "at least one score"
            return f"Choose {what} first."
        if masked and not self.masks.text and not self.images.text.lower().endswith(".csv"):
            return f"Choose a folder of masks, which {listed(masked)} need, or untick these."
        return ""


def _tip(score: ScoreType) -> str:
    return score.tip if score.needs == "nothing" else f"{score.tip} Needs {score.needs}."
