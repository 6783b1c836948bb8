"""Which maps, and how they are made."""

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QSlider, QSpinBox, QToolButton

from napari_sslmaps._qt.parts import GAP, Choice, FileMenu, Section, quiet, row
from napari_sslmaps.maps.attention import AttentionOptions, Reduction
from napari_sslmaps.maps.pca import PcaOptions
from napari_sslmaps.maps.similarity import SimilarityOptions
from napari_sslmaps.viewer.state.workspace import MapKind

_QUERIES = (("output", "output"), ("last anchor", "anchor"), ("rollout", "rollout"))
_REDUCTIONS = (("mean over heads", "mean"), ("maximum over heads", "max"), ("one head", "head"))
_RENDERINGS = (("stretched 2–98 %", "stretch"), ("whitened", "whitened"))
_BASES = (("of this region", "region"), ("of all images together", "joint"), ("kept", "kept"))
_COMBINES = (("mean direction", "mean"), ("maximum", "max"))
_DISPLAYS = (
    ("shared by all methods", "shared"),
    ("fixed, −1 to 1", "fixed"),
    ("stretched for each", "each"),
)


class MapSection(Section):
    """A tick per map, with its options beside it."""

    maps_requested = Signal(tuple)
    attention_requested = Signal(object)
    stack_requested = Signal()
    pca_requested = Signal(object)
    basis_locked = Signal()
    basis_saved = Signal(str)
    basis_loaded = Signal(str)
    similarity_requested = Signal(object)

    def __init__(self) -> None:
        super().__init__("Maps")
        self.boxes: dict[MapKind, QCheckBox] = {
            "attention": QCheckBox("Attention"),
            "pca": QCheckBox("PCA"),
            "similarity": QCheckBox("Similarity"),
            "groups": QCheckBox("Groups"),
        }
        self.boxes["attention"].setToolTip("Which tokens a token reads; a CNN's activation.")
        self.boxes["pca"].setToolTip("The first three principal components as red, green and blue.")
        self.boxes["similarity"].setToolTip("Cosine of every token to the active group's anchors.")
        self.boxes["groups"].setToolTip("Of several groups of anchors, the one every token is most like.")
        self.query = Choice(
            _QUERIES,
            "Whose attention: of what the output reads (CLS, or the mean of all tokens); of the token under "
            "the last anchor; or followed from the output through all blocks (arXiv 2005.00928).",
        )
        self.block = QSpinBox()
        self.block.setPrefix("block ")
        self.block.setSpecialValueText("last block")
        self.block.setToolTip("Of which block, from 1; methods with fewer blocks show their last.")
        self.reduction = Choice(_REDUCTIONS, "How the heads become one map.")
        self.head = QSlider(Qt.Orientation.Horizontal)
        self.head.setToolTip("Which head.")
        self.head_label = QLabel()
        self.head_label.setMinimumWidth(48)
        self.stack = QToolButton()
        self.stack.setText("≡")
        self.stack.setToolTip("All heads of the method in front as one layer to slide through.")
        self.rendering = Choice(_RENDERINGS, "How scores become colours.")
        self.aligned = QCheckBox("aligned")
        self.aligned.setToolTip("Turn every method's colours towards the first's (orthogonal Procrustes).")
        self.basis = Choice(_BASES, "To which tokens the components are fitted.")
        self.basis_files = FileMenu("components", "Keep the components of now, or those of a file.")
        self.combine = Choice(_COMBINES, "Of several anchors: their mean direction, or the largest map.")
        self.centred = QCheckBox("centred")
        self.centred.setToolTip("Subtract the region's mean token first: more contrast.")
        self.display = Choice(_DISPLAYS, "Contrast limits of attention and similarity.")
        self._lay_out()
        self.set_heads(0)
        self.set_blocks(0)
        self._connect()

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(GAP + 4)
        grid.setVerticalSpacing(GAP - 2)
        grid.setColumnStretch(1, 1)
        attention = row(self.query, self.block)
        heads = row(self.reduction, self.head, self.head_label, self.stack)
        pca = row(self.rendering, self.aligned)
        basis = row(self.basis, self.basis_files)
        similarity = row(self.combine, self.centred)
        for layout in (attention, heads, pca, basis, similarity):
            layout.setStretch(0, 1)
        heads.setStretch(1, 1)
        for index, layout in enumerate((attention, heads, pca, basis, similarity)):
            grid.addLayout(layout, index, 1)
        for index, box in zip((0, 2, 4, 5), self.boxes.values(), strict=True):
            grid.addWidget(box, index, 0)
        contrast = row(QLabel("contrast"), self.display)
        contrast.setStretch(1, 1)
        grid.addLayout(contrast, 5, 1)
        self.body.addLayout(grid)

    def _connect(self) -> None:
        for box in self.boxes.values():
            box.toggled.connect(self._on_maps)
        for choice in (self.query, self.reduction):
            choice.currentIndexChanged.connect(self._on_attention)
        for number in (self.head, self.block):
            number.valueChanged.connect(self._on_attention)
        self.stack.clicked.connect(self.stack_requested)
        for choice in (self.rendering, self.basis):
            choice.currentIndexChanged.connect(self._on_pca)
        self.aligned.toggled.connect(self._on_pca)
        self.basis_files.kept.connect(self.basis_locked)
        self.basis_files.saved.connect(self.basis_saved)
        self.basis_files.loaded.connect(self.basis_loaded)
        self.combine.currentIndexChanged.connect(self._on_similarity)
        self.display.currentIndexChanged.connect(self._on_similarity)
        self.centred.toggled.connect(self._on_similarity)

    def set_maps(self, maps: Sequence[MapKind]) -> None:
        """Tick these maps."""
        for kind, box in self.boxes.items():
            with quiet(box):
                box.setChecked(kind in maps)

    def set_attention(self, options: AttentionOptions) -> None:
        """Show whose attention it is, and how it is reduced."""
        self.query.set_value(options.query)
        self.reduction.set_value(options.reduction if options.head is None else "head")
        with quiet(self.head, self.block):
            self.block.setValue(options.block or 0)
            if options.head is not None:
                self.head.setValue(options.head)
        self._label_head()

    def set_heads(self, count: int) -> None:
        """Offer that many heads; 0 while unknown."""
        with quiet(self.head):
            self.head.setMaximum(max(0, count - 1))
        self._label_head()

    def set_blocks(self, count: int) -> None:
        """Offer that many blocks; 0 while unknown."""
        with quiet(self.block):
            self.block.setMaximum(count)
        self.block.setEnabled(count > 0)

    def set_pca(self, options: PcaOptions) -> None:
        """Show how PCA becomes colours."""
        self.rendering.set_value(options.rendering)
        self.basis.set_value(options.basis)
        with quiet(self.aligned):
            self.aligned.setChecked(options.aligned)

    def set_similarity(self, options: SimilarityOptions) -> None:
        """Show how similarity is made."""
        self.combine.set_value(options.combine)
        self.display.set_value(options.display)
        with quiet(self.centred):
            self.centred.setChecked(options.centred)

    def _label_head(self) -> None:
        single = self.reduction.value == "head"
        count = self.head.maximum() + 1
        self.head.setVisible(single)
        self.head.setEnabled(count > 1)
        self.head_label.setVisible(single)
        self.head_label.setText(f"{self.head.value() + 1} of {count}" if count > 1 else "all heads")

    def _on_maps(self) -> None:
        self.maps_requested.emit(tuple(kind for kind, box in self.boxes.items() if box.isChecked()))

    def _on_attention(self) -> None:
        self._label_head()
        value = self.reduction.value
        head = self.head.value() if value == "head" else None
        reduction: Reduction = "max" if value == "max" else "mean"
        block = self.block.value() or None
        self.attention_requested.emit(AttentionOptions(head, reduction, block, self.query.value))

    def _on_pca(self) -> None:
        self.pca_requested.emit(PcaOptions(self.rendering.value, self.basis.value, self.aligned.isChecked()))

    def _on_similarity(self) -> None:
        self.similarity_requested.emit(
            SimilarityOptions(self.centred.isChecked(), self.combine.value, self.display.value)
        )
