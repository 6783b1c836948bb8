"""Which maps, and how they are made."""

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QSlider

from napari_sslmaps._qt.parts import GAP, Choice, Section, quiet, row
from napari_sslmaps.viewer.workspace import AttentionOptions, MapKind, PcaOptions, SimilarityOptions

_REDUCTIONS = (("mean over heads", "mean"), ("maximum over heads", "max"), ("one head", "head"))
_RENDERINGS = (("stretched 2–98 %", "stretch"), ("whitened", "whitened"))
_COMBINES = (("mean direction", "mean"), ("maximum", "max"))
_DISPLAYS = (
    ("shared by all encoders", "shared"),
    ("fixed, −1 to 1", "fixed"),
    ("stretched for each", "each"),
)


class MapSection(Section):
    """A tick per map, with its options beside it."""

    maps_requested = Signal(tuple)
    attention_requested = Signal(object)
    pca_requested = Signal(object)
    similarity_requested = Signal(object)

    def __init__(self) -> None:
        super().__init__("Maps")
        self.boxes: dict[MapKind, QCheckBox] = {
            "attention": QCheckBox("Attention"),
            "pca": QCheckBox("PCA"),
            "similarity": QCheckBox("Similarity"),
        }
        self.boxes["attention"].setToolTip("Attention of the last block; a CNN's activation.")
        self.boxes["pca"].setToolTip("The first three principal components as red, green and blue.")
        self.boxes["similarity"].setToolTip("Cosine of every token to the tokens under the anchors.")
        self.reduction = Choice(_REDUCTIONS, "How the heads become one map.")
        self.head = QSlider(Qt.Orientation.Horizontal)
        self.head.setToolTip("Which head.")
        self.head_label = QLabel()
        self.head_label.setMinimumWidth(74)
        self.rendering = Choice(_RENDERINGS, "How scores become colours.")
        self.combine = Choice(_COMBINES, "Of several anchors: their mean direction, or the largest map.")
        self.centred = QCheckBox("centred")
        self.centred.setToolTip("Subtract the region's mean token first: more contrast.")
        self.display = Choice(_DISPLAYS, "Contrast limits of the similarity maps.")
        self._lay_out()
        self.set_heads(0)
        for box in self.boxes.values():
            box.toggled.connect(self._on_maps)
        self.reduction.currentIndexChanged.connect(self._on_attention)
        self.head.valueChanged.connect(self._on_attention)
        self.rendering.currentIndexChanged.connect(self._on_pca)
        self.combine.currentIndexChanged.connect(self._on_similarity)
        self.display.currentIndexChanged.connect(self._on_similarity)
        self.centred.toggled.connect(self._on_similarity)

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(GAP + 4)
        grid.setVerticalSpacing(GAP)
        grid.setColumnStretch(1, 1)
        grid.addWidget(self.boxes["attention"], 0, 0)
        grid.addWidget(self.reduction, 0, 1)
        heads = row(self.head, self.head_label)
        heads.setStretch(0, 1)
        grid.addLayout(heads, 1, 1)
        grid.addWidget(self.boxes["pca"], 2, 0)
        grid.addWidget(self.rendering, 2, 1)
        grid.addWidget(self.boxes["similarity"], 3, 0)
        similarity = row(self.combine, self.centred)
        similarity.setStretch(0, 1)
        grid.addLayout(similarity, 3, 1)
        contrast = QLabel("Contrast")
        contrast.setIndent(22)
        grid.addWidget(contrast, 4, 0)
        grid.addWidget(self.display, 4, 1)
        self.body.addLayout(grid)

    def set_maps(self, maps: Sequence[MapKind]) -> None:
        """Tick these maps."""
        for kind, box in self.boxes.items():
            with quiet(box):
                box.setChecked(kind in maps)

    def set_attention(self, options: AttentionOptions) -> None:
        """Show how attention is reduced."""
        self.reduction.set_value(options.reduction if options.head is None else "head")
        if options.head is not None:
            with quiet(self.head):
                self.head.setValue(options.head)
        self._label_head()

    def set_heads(self, count: int) -> None:
        """Offer that many heads; 0 while unknown."""
        with quiet(self.head):
            self.head.setMaximum(max(0, count - 1))
        self._label_head()

    def set_pca(self, options: PcaOptions) -> None:
        """Show how PCA becomes colours."""
        self.rendering.set_value(options.rendering)

    def set_similarity(self, options: SimilarityOptions) -> None:
        """Show how similarity is made."""
        self.combine.set_value(options.combine)
        self.display.set_value(options.display)
        with quiet(self.centred):
            self.centred.setChecked(options.centred)

    def _label_head(self) -> None:
        single = self.reduction.value == "head"
        self.head.setEnabled(single and self.head.maximum() > 0)
        self.head_label.setEnabled(single)
        count = self.head.maximum() + 1
        self.head_label.setText(f"{self.head.value() + 1} of {count}" if count > 1 else "all heads")

    def _on_maps(self) -> None:
        self.maps_requested.emit(tuple(kind for kind, box in self.boxes.items() if box.isChecked()))

    def _on_attention(self) -> None:
        self._label_head()
        value = self.reduction.value
        head = self.head.value() if value == "head" else None
        self.attention_requested.emit(AttentionOptions(head, "mean" if value == "head" else value))

    def _on_pca(self) -> None:
        self.pca_requested.emit(PcaOptions(self.rendering.value))

    def _on_similarity(self) -> None:
        self.similarity_requested.emit(
            SimilarityOptions(self.centred.isChecked(), self.combine.value, self.display.value)
        )
