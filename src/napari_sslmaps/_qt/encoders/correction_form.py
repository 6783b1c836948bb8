"""Small form for what a user knows better than a weight file."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QLineEdit, QSpinBox, QWidget

from napari_sslmaps._qt.parts import GAP, ComboBox, quiet
from napari_sslmaps.encoders.families.registry import FAMILIES
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.overrides import BRANCHES, Overrides
from napari_sslmaps.encoders.spec import NORMALISATIONS

if TYPE_CHECKING:
    from napari_sslmaps.encoders.checkpoint.report import RecognitionReport

_AS_FOUND = "as recognised"
_MOST_HEADS = 256
_TIPS = {
    "method": "How it was trained; it decides normalisation, attention and the pretext view.",
    "num_heads": "Heads per block. Most files do not tell; a wrong number loads, and gives wrong tokens.",
    "normalisation": "A preset, or mean/std as 0.5,0.5,0.5/0.25,0.25,0.25; what the training subtracted.",
    "eps": "LayerNorm's epsilon.",
    "branch": "Target: I-JEPA's target encoder, a teacher. Encoder: the one trained by gradients.",
    "token_stage": "For a U-Net, the stage whose features are the tokens.",
}


class CorrectionForm(QWidget):
    """Fields of `Overrides`, each of which can be left to the file.

    Parameters
    ----------
    overrides
        Fields that are corrected already.
    """

    corrected = Signal(dict)
    """The field that was changed, by name; None leaves it to the file."""

    def __init__(self, overrides: Overrides) -> None:
        super().__init__()
        self.method = self._choice([(info.title, name) for name, info in METHODS.items()], "method")
        self.normalisation = self._choice([(name, name) for name in NORMALISATIONS], "normalisation")
        self.normalisation.setEditable(True)
        self.normalisation.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.branch = self._choice([(name, name) for name in BRANCHES], "branch")
        stages = dict.fromkeys(name for family in FAMILIES.values() for name in family.stages)
        self.stage = self._choice([(name, name) for name in stages], "token_stage")
        self.heads = QSpinBox()
        self.heads.setRange(0, _MOST_HEADS)
        self.heads.setSpecialValueText(_AS_FOUND)
        self.heads.setKeyboardTracking(False)
        self.heads.setToolTip(_TIPS["num_heads"])
        self.eps = QLineEdit()
        self.eps.setPlaceholderText(_AS_FOUND)
        self.eps.setToolTip(_TIPS["eps"])
        self._lay_out()
        self._set(overrides)
        self._connect()

    def show_recognised(self, report: "RecognitionReport") -> None:
        """Say beside each field what the file has, and offer only the fields that it can have."""
        architecture = report.architecture
        fitting = FAMILIES[architecture.kind].corrections
        self._name_default(self.method, METHODS[report.method].title)
        self._name_default(self.normalisation, report.normalisation)
        if architecture.token_stage:
            self._name_default(self.stage, architecture.token_stage)
        if architecture.attention_heads and not self.heads.value():
            self.heads.setSpecialValueText(f"{architecture.attention_heads} ({_AS_FOUND})")
        self.heads.setEnabled("num_heads" in fitting)
        self.eps.setEnabled("eps" in fitting)
        self.branch.setEnabled("branch" in fitting)
        self.stage.setEnabled("token_stage" in fitting)

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(GAP)
        fields: tuple[tuple[str, QWidget], ...] = (
            ("Method", self.method),
            ("Normalisation", self.normalisation),
            ("Heads", self.heads),
            ("LayerNorm ε", self.eps),
            ("Branch", self.branch),
            ("Token stage", self.stage),
        )
        for index, (title, widget) in enumerate(fields):
            line, side = divmod(index, 2)
            grid.addWidget(QLabel(title), line, 2 * side)
            grid.addWidget(widget, line, 2 * side + 1)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)

    def _set(self, overrides: Overrides) -> None:
        self.method.set_value(overrides.method)
        self.branch.set_value(overrides.branch)
        self.stage.set_value(overrides.token_stage)
        self.heads.setValue(overrides.num_heads or 0)
        self.eps.setText("" if overrides.eps is None else f"{overrides.eps:g}")
        if overrides.normalisation in NORMALISATIONS:
            self.normalisation.set_value(overrides.normalisation)
        elif overrides.normalisation is not None:
            self.normalisation.setEditText(overrides.normalisation)

    def _connect(self) -> None:
        for name, choice in (("method", self.method), ("branch", self.branch), ("token_stage", self.stage)):
            choice.currentIndexChanged.connect(
                lambda _, name=name, choice=choice: self.corrected.emit({name: choice.value})
            )
        self.heads.valueChanged.connect(lambda count: self.corrected.emit({"num_heads": count or None}))
        self.eps.editingFinished.connect(self._on_eps)
        self.normalisation.activated.connect(
            lambda _: self.corrected.emit({"normalisation": self.normalisation.value})
        )
        typed = self.normalisation.lineEdit()
        if typed is not None:
            typed.editingFinished.connect(self._on_normalisation)

    def _on_eps(self) -> None:
        text = self.eps.text().strip()
        try:
            value: Any = float(text) if text else None
        except ValueError:
            value = float("nan")  # refused in a sentence, as any number outside (0, 1) is
        self.corrected.emit({"eps": value})

    def _on_normalisation(self) -> None:
        text = self.normalisation.currentText().strip()
        index = self.normalisation.findText(text)
        known = self.normalisation.itemData(index) if index >= 0 else text
        self.corrected.emit({"normalisation": known or None})

    @staticmethod
    def _choice(options: list[tuple[str, Any]], name: str) -> ComboBox:
        return ComboBox([(_AS_FOUND, None), *options], _TIPS[name])

    @staticmethod
    def _name_default(choice: ComboBox, value: str) -> None:
        if choice.value is None and choice.currentText() == choice.itemText(0):
            with quiet(choice):
                choice.setItemText(0, f"{value} ({_AS_FOUND})")
