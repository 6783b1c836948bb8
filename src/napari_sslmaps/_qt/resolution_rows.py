"""At which resolution an image is embedded: a level by its number, or by the size of its pixels."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QSpinBox, QVBoxLayout, QWidget

from napari_sslmaps._qt.parts import GAP, Choice, note, quiet, titled

_UNIT = " µm/px"
_USUAL_UM = 0.5
_WIDTH = 150


class ResolutionRows(QWidget):
    """Level or target, and the size of a pixel where the file does not tell; hidden for a single level."""

    level_requested = Signal(int)
    target_requested = Signal(object)
    spacing_requested = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._tells = False
        self.by = Choice(
            (("by level", False), ("by µm/px", True)),
            tip="Which resolution of the pyramid is embedded.",
        )
        self.level = QSpinBox()
        self.level.setToolTip("0 is the finest.")
        self.level.setFixedWidth(_WIDTH)
        self.target = _lengths("Micrometres per pixel to look at; the nearest finer level is taken.")
        self.target.setMinimum(0.001)
        self.target.setValue(_USUAL_UM)
        self.spacing = _lengths("Size of a pixel of the finest level, which the file does not tell.")
        self.spacing.setSpecialValueText("not known")
        self.pixel = QWidget()
        self.pixel.setLayout(titled("", note("pixel of level 0"), self.spacing))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GAP)
        column.addLayout(titled("Detail", self.by, self.level, self.target))
        column.addWidget(self.pixel)
        self.set_target(None)
        self.hide()
        self.by.currentIndexChanged.connect(self._on_target)
        self.level.valueChanged.connect(self.level_requested)
        self.target.valueChanged.connect(self._on_target)
        self.spacing.valueChanged.connect(lambda value: self.spacing_requested.emit(value or None))

    def set_levels(self, count: int, *, tells: bool) -> None:
        """Offer that many levels of an image that tells the size of its pixels, or does not."""
        self._tells = tells
        with quiet(self.level):
            self.level.setMaximum(count - 1)
        self.setVisible(count > 1)
        self._show_fields()

    def set_level(self, level: int) -> None:
        """Show which level is chosen."""
        with quiet(self.level):
            self.level.setValue(level)

    def set_target(self, target_um: float | None) -> None:
        """Show the target; None goes by the level's number."""
        self.by.set_value(target_um is not None)
        if target_um is not None:
            with quiet(self.target):
                self.target.setValue(target_um)
        self._show_fields()

    def set_spacing(self, spacing_um: float | None) -> None:
        """Show the size of a pixel that was typed."""
        with quiet(self.spacing):
            self.spacing.setValue(spacing_um or 0.0)

    def _show_fields(self) -> None:
        by_size = bool(self.by.value)
        self.level.setVisible(not by_size)
        self.target.setVisible(by_size)
        self.pixel.setVisible(by_size and not self._tells)

    def _on_target(self) -> None:
        self._show_fields()
        self.target_requested.emit(self.target.value() if self.by.value else None)


def _lengths(tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setDecimals(3)
    box.setMaximum(10_000.0)
    box.setSuffix(_UNIT)
    box.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
    box.setKeyboardTracking(False)
    box.setFixedWidth(_WIDTH)
    box.setToolTip(tip)
    return box
