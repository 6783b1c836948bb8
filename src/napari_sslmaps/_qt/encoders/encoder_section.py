"""The encoders as a checklist, set by set."""

from collections.abc import Sequence
from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLabel, QMenu, QPushButton, QVBoxLayout

from napari_sslmaps._qt.encoders.encoder_row import EncoderGroup, EncoderRow
from napari_sslmaps._qt.parts import ComboBox, Section, quiet, row
from napari_sslmaps.encoders.controls import Control
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.viewer.encoders.encoder_list import FOLDED, PUBLISHED_GROUP, grouped

_FILES = "Weights (*.safetensors *.pth *.pt *.bin *.ckpt *.tar);;All files (*)"


class EncoderSection(Section):
    """Checklist of encoders, and the way to add one's own."""

    chosen_requested = Signal(tuple)
    checkpoint_requested = Signal(str)
    """Path of a file or folder."""
    download_requested = Signal(str)
    action_requested = Signal(str, str)
    """An action of `EncoderRow`, and the encoder's name."""
    controls_requested = Signal(tuple)
    """All controls that are ticked, of any encoder."""
    depth_requested = Signal(object, bool)
    """Block or stage, from 0, None for each encoder's own; and whether tokens are normed."""
    located = Signal(str, str)
    """A remembered encoder's name, and where it is now."""

    def __init__(self) -> None:
        super().__init__("Encoders")
        self._rows: dict[str, EncoderRow] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._chosen: tuple[str, ...] = ()
        self.groups: dict[str, EncoderGroup] = {}
        self._controls: tuple[Control, ...] = ()
        self._folded = dict.fromkeys(FOLDED, True)
        self._layout = QVBoxLayout()
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(1)
        self.add_button = QPushButton("Add checkpoint…")
        self.add_button.setToolTip(
            "Open your own weights; what they are is recognised and shown for you to check."
        )
        self.add_menu = QMenu(self.add_button)
        for text, ask in (("File…", self._ask_for_file), ("Folder…", self._ask_for_folder)):
            entry = self.add_menu.addAction(text)
            if entry is not None:
                entry.triggered.connect(ask)
        self.add_button.setMenu(self.add_menu)
        self.tokens_of = ComboBox(
            tip="Block or stage whose output is used as tokens, counted from 0. A change embeds the "
            "region again, or "
            "takes it from the cache."
        )
        self.normed = QCheckBox("normalised")
        self.normed.setToolTip(
            "Let the tokens pass the encoder's last layer, which brings them all to a like spread, where it "
            "has one (a layer norm)."
        )
        self.set_depth(None, (), normed=True)
        self.body.addLayout(self._layout)
        depth = row(QLabel("Tokens of"), self.tokens_of, self.normed)
        depth.setStretch(1, 1)
        self.body.addLayout(depth)
        self.tokens_of.currentIndexChanged.connect(self._on_depth)
        self.normed.toggled.connect(self._on_depth)
        self.top.addWidget(self.add_button)

    def set_available(self, specs: Sequence[EncoderSpec]) -> None:
        """List these encoders."""
        for old in self.groups.values():
            self._layout.removeWidget(old)
            old.deleteLater()
        self._rows, self.groups, self._names = {}, {}, {}
        for title, members in grouped(specs):
            self._names[title] = tuple(spec.name for spec in members)
            make = partial(self._make_rows, tuple(members))
            group = self.groups[title] = EncoderGroup(title, make, tickable=title != PUBLISHED_GROUP)
            group.fold(away=self._folded.get(title, False))
            group.folded.connect(partial(self._folded.__setitem__, title))
            group.ticked.connect(self._on_ticked)
            self._layout.addWidget(group)

    @property
    def rows(self) -> dict[str, EncoderRow]:
        """Rows of all encoders, those made that were not looked at yet."""
        for group in self.groups.values():
            group.make()
        return {name: self._rows[name] for names in self._names.values() for name in names}

    def _make_rows(self, specs: Sequence[EncoderSpec]) -> list[EncoderRow]:
        rows = {spec.name: EncoderRow(spec) for spec in specs}
        for name, line in rows.items():
            line.download_requested.connect(partial(self.download_requested.emit, name))
            line.action_requested.connect(partial(self._on_action, name))
            line.control_requested.connect(self._on_control)
            line.set_controls(self._controls)
            with quiet(line.box):
                line.box.setChecked(name in self._chosen)
        self._rows |= rows
        return list(rows.values())

    def set_chosen(self, names: Sequence[str]) -> None:
        """Tick these encoders."""
        self._chosen = tuple(names)
        for title, members in self._names.items():
            if set(members) & set(names):
                self.groups[title].make()
        for name, line in self._rows.items():
            with quiet(line.box):
                line.box.setChecked(name in names)
        self._follow_rows()
        self._fold_by_itself()

    def set_controls(self, controls: Sequence[Control]) -> None:
        """Tick these controls of any encoder."""
        self._controls = tuple(controls)
        for line in self._rows.values():
            line.set_controls(controls)

    def set_depth(self, place: int | None, names: Sequence[str], *, normed: bool) -> None:
        """Show of which block or stage the tokens are, of those that all ticked encoders have."""
        options: list[tuple[str, int | None]] = [("each encoder's own", None)]
        options += [(name, number) for number, name in enumerate(names)]
        if place is not None and place >= len(names):
            options.append((f"block {place}, which some have not", place))
        self.tokens_of.set_options(options)
        self.tokens_of.set_value(place)
        with quiet(self.normed):
            self.normed.setChecked(normed)

    def ask_where(self, spec: EncoderSpec) -> None:
        """Ask where the file or folder of a remembered encoder is now."""
        title = f"Where is {spec.name} now?"
        if spec.path is not None and not spec.path.suffix:
            path = QFileDialog.getExistingDirectory(self, title)
        else:
            path, _ = QFileDialog.getOpenFileName(self, title, "", _FILES)
        if path:
            self.located.emit(spec.name, path)

    def _on_ticked(self) -> None:
        self._follow_rows()
        self.chosen_requested.emit(self._ticked())

    def _ticked(self) -> tuple[str, ...]:
        """Return the names of the ticked encoders, in the order of the list; none is in a row not made."""
        names = [name for members in self._names.values() for name in members]
        return tuple(name for name in names if name in self._rows and self._rows[name].box.isChecked())

    def _on_depth(self) -> None:
        self.depth_requested.emit(self.tokens_of.value, self.normed.isChecked())

    def _on_control(self, control: Control, on: bool) -> None:
        others = tuple(other for other in self._controls if other != control)
        self.controls_requested.emit((*others, control) if on else others)

    def _on_action(self, name: str, action: str) -> None:
        self.action_requested.emit(action, name)

    def _fold_by_itself(self) -> None:
        """Show what is ticked and fold away what is not, where a user has not folded or shown it."""
        for title, group in self.groups.items():
            if title not in self._folded and len(self.groups) > 1:
                with quiet(group):
                    group.fold(away=not any(line.box.isChecked() for line in group.rows))

    def _follow_rows(self) -> None:
        for group in self.groups.values():
            group.follow_rows()

    def _ask_for_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Add a weight file", "", _FILES)
        if path:
            self.checkpoint_requested.emit(path)

    def _ask_for_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Add a folder of weights")
        if path:
            self.checkpoint_requested.emit(path)
