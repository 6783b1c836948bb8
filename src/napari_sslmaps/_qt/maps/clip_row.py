"""Row for the frames of a clip: anchors that go along, and all frames at once."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_sslmaps._qt.parts import quiet, row


class ClipRow(QWidget):
    """A line of buttons, there for an image of several frames alone."""

    track_requested = Signal(bool)
    frames_requested = Signal()
    plot_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.track = QPushButton("Track")
        self.track.setCheckable(True)
        self.track.setToolTip(
            "When the frame changes, anchors go to the best match near their last place, by the method in "
            "front. What is looked for is what was under them where you set them."
        )
        self.all_frames = QPushButton("All frames")
        self.all_frames.setToolTip(
            "Embed all frames ahead, in the background: maps then follow the slider at once, and the map in "
            "view becomes a layer of all frames, one for every method."
        )
        self.plot = QPushButton("Over time")
        self.plot.setToolTip("Plot the similarity to the anchors over all frames, for every method.")
        buttons = (self.track, self.all_frames, self.plot)
        line = row(*buttons)
        for place in range(len(buttons)):
            line.setStretch(place, 1)
        self.setLayout(line)
        self.track.toggled.connect(self.track_requested)
        self.all_frames.clicked.connect(self.frames_requested)
        self.plot.clicked.connect(self.plot_requested)

    def set_track(self, on: bool) -> None:
        """Show whether anchors go along when the frame changes."""
        with quiet(self.track):
            self.track.setChecked(on)

    def set_clip(self, *, there: bool, busy: bool) -> None:
        """Offer the line where the image has several frames; nothing new while work is on."""
        self.setVisible(there)
        self.all_frames.setEnabled(not busy)
