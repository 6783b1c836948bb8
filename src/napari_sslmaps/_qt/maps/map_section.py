"""Section that chooses maps and their options."""

from collections.abc import Sequence
from dataclasses import replace

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSlider,
    QSpinBox,
    QToolButton,
    QWidget,
)

from napari_sslmaps._qt.parts import GAP, ComboBox, FileMenu, Section, quiet, row
from napari_sslmaps.maps.attention import AttentionOptions, Reduction
from napari_sslmaps.maps.clusters import MOST, ClusterOptions
from napari_sslmaps.maps.registry import MapOptions, selectable

_QUERIES = (("output", "output"), ("anchor", "anchor"), ("rollout", "rollout"))
_REDUCTIONS = (("mean over heads", "mean"), ("maximum over heads", "max"), ("one head", "head"))
_RENDERINGS = (("stretched 2–98 %", "stretch"), ("whitened", "whitened"))
_BASES = (("of this region", "region"), ("of all images together", "joint"), ("kept", "kept"))
_COMBINES = (("mean direction", "mean"), ("maximum", "max"))


class MapSection(Section):
    """A tick per map, with its options beside it."""

    maps_requested = Signal(tuple)
    options_requested = Signal(object)
    stack_requested = Signal()
    basis_locked = Signal()
    basis_saved = Signal(str)
    basis_loaded = Signal(str)

    def __init__(self) -> None:
        super().__init__("Maps")
        self._options = MapOptions()
        self.boxes = {kind.key: QCheckBox(kind.heading) for kind in selectable()}
        for kind in selectable():
            self.boxes[kind.key].setToolTip(kind.tip)
        self.query = ComboBox(
            _QUERIES,
            "Whose attention: that of the output (the CLS token, or the mean of all tokens); that of the "
            "token under "
            "the last anchor; or rollout, followed from the output through all blocks (arXiv 2005.00928).",
        )
        self.block = QSpinBox()
        self.block.setPrefix("block ")
        self.block.setSpecialValueText("last block")
        self.block.setMaximumWidth(128)  # all that its words take; the choice beside it needs the rest
        self.block.setToolTip(
            "Block whose attention is shown, counted from 1; methods with fewer blocks show their last."
        )
        self.reduction = ComboBox(_REDUCTIONS, "How the heads are combined into one map.")
        self.head = QSlider(Qt.Orientation.Horizontal)
        self.head.setToolTip("Attention head that is shown.")
        self.head_label = QLabel()
        self.head_label.setMinimumWidth(48)
        self.stack = QToolButton()
        self.stack.setText("≡")
        self.stack.setToolTip("Add all heads of the method in front as one layer with a slider.")
        self.rendering = ComboBox(
            _RENDERINGS,
            "How the components become red, green and blue: by their own spread, cut at 2 and 98 %, or each "
            "brought to the same spread (whitened), so that the weaker ones are seen, too.",
        )
        self.aligned = QCheckBox("aligned")
        self.aligned.setToolTip(
            "Turn the colours of every method towards those of the first, so that like places have like "
            "colours (orthogonal Procrustes). Ticked automatically when methods are side by side, unless you "
            "untick it."
        )
        self.basis = ComboBox(_BASES, "Tokens that the components are fitted to.")
        self.basis_files = FileMenu(
            "components", "Keep the present components for other images, save them to a file, or load them."
        )
        self.combine = ComboBox(
            _COMBINES,
            "For several anchors: compare with their mean direction, or take the maximum of their maps.",
        )
        self.centred = QCheckBox("centred")
        self.centred.setToolTip(
            "Subtract the region's mean token first; tokens share a large part that hides their differences."
        )
        self.count = QSlider(Qt.Orientation.Horizontal)
        self.count.setRange(2, MOST)
        self.count.setToolTip("Number of clusters.")
        self.count_label = QLabel()
        self.joint = QCheckBox("joint")
        self.joint.setToolTip(
            "Cluster all images and frames together, so that a colour means the same in all of them."
        )
        self.matched = QCheckBox("matched")
        self.matched.setToolTip(
            "Give each cluster the colour of the cluster of the first method that it overlaps most."
        )
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
        controls = self._controls()
        index = 0
        for key, box in self.boxes.items():
            grid.addWidget(box, index, 0)
            for place, line in enumerate(controls.get(key, ())):
                grid.addLayout(line, index + place, 1)
            index += max(1, len(controls.get(key, ())))
        self.body.addLayout(grid)

    def _controls(self) -> dict[str, tuple[QHBoxLayout, ...]]:
        """Return the lines of controls beside each box."""
        return {
            "attention": (
                _line(self.query, self.block),
                _line(self.reduction, self.head, self.head_label, self.stack, wide=(0, 1)),
            ),
            "pca": (_line(self.rendering, self.aligned), _line(self.basis, self.basis_files)),
            "similarity": (_line(self.combine, self.centred),),
            "clusters": (_line(self.count, self.count_label, self.joint, self.matched),),
        }

    def _connect(self) -> None:
        for box in self.boxes.values():
            box.toggled.connect(self._on_maps)
        choices = (self.query, self.reduction, self.rendering, self.basis, self.combine)
        for choice in choices:
            choice.currentIndexChanged.connect(self._on_options)
        for number in (self.head, self.block, self.count):
            number.valueChanged.connect(self._on_options)
        for tick in (self.aligned, self.centred, self.joint, self.matched):
            tick.toggled.connect(self._on_options)
        self.stack.clicked.connect(self.stack_requested)
        self.basis_files.kept.connect(self.basis_locked)
        self.basis_files.saved.connect(self.basis_saved)
        self.basis_files.loaded.connect(self.basis_loaded)

    def set_maps(self, maps: Sequence[str]) -> None:
        """Tick these maps."""
        for kind, box in self.boxes.items():
            with quiet(box):
                box.setChecked(kind in maps)

    def set_options(self, options: MapOptions) -> None:
        """Show how maps are made."""
        self._options = options
        attention, pca, similarity = options.attention, options.pca, options.similarity
        self.query.set_value(attention.query)
        self.reduction.set_value(attention.reduction if attention.head is None else "head")
        self.rendering.set_value(pca.rendering)
        self.basis.set_value(pca.basis)
        self.combine.set_value(similarity.combine)
        with quiet(self.head, self.block, self.aligned, self.centred, self.count, self.joint, self.matched):
            self.count.setValue(options.clusters.count)
            self.joint.setChecked(options.clusters.basis == "joint")
            self.matched.setChecked(options.clusters.matched)
            self.block.setValue(attention.block or 0)
            if attention.head is not None:
                self.head.setValue(attention.head)
            self.aligned.setChecked(pca.aligned)
            self.centred.setChecked(similarity.centred)
        self._label_sliders()

    def set_heads(self, count: int) -> None:
        """Offer that many heads; 0 while unknown."""
        with quiet(self.head):
            self.head.setMaximum(max(0, count - 1))
        self._label_sliders()

    def set_blocks(self, count: int) -> None:
        """Offer that many blocks; 0 while unknown."""
        with quiet(self.block):
            self.block.setMaximum(count)
        self.block.setEnabled(count > 0)

    def _label_sliders(self) -> None:
        self.count_label.setText(f"k = {self.count.value()}")
        single = self.reduction.value == "head"
        count = self.head.maximum() + 1
        self.head.setVisible(single)
        self.head.setEnabled(count > 1)
        self.head_label.setVisible(single)
        self.head_label.setText(f"{self.head.value() + 1} of {count}" if count > 1 else "all heads")

    def _on_maps(self) -> None:
        self.maps_requested.emit(tuple(kind for kind, box in self.boxes.items() if box.isChecked()))

    def _on_options(self) -> None:
        self._label_sliders()
        value = self.reduction.value
        head = self.head.value() if value == "head" else None
        reduction: Reduction = "max" if value == "max" else "mean"
        self._options = replace(
            self._options,
            attention=AttentionOptions(head, reduction, self.block.value() or None, self.query.value),
            pca=replace(
                self._options.pca,
                rendering=self.rendering.value,
                basis=self.basis.value,
                aligned=self.aligned.isChecked(),
            ),
            similarity=replace(
                self._options.similarity, centred=self.centred.isChecked(), combine=self.combine.value
            ),
            clusters=ClusterOptions(
                self.count.value(), "joint" if self.joint.isChecked() else "region", self.matched.isChecked()
            ),
        )
        self.options_requested.emit(self._options)


def _line(*widgets: QWidget, wide: tuple[int, ...] = (0,)) -> QHBoxLayout:
    """Lay widgets in a line; those at the places `wide` share the room there is."""
    layout = row(*widgets)
    for place in wide:
        layout.setStretch(place, 1)
    return layout
