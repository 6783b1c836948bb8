"""``napari-sslmaps demo``: napari on a real sample, the four methods computed, an anchor set."""

from typing import TYPE_CHECKING

from napari_sslmaps.sources.samples import SAMPLES
from napari_sslmaps.viewer.canvas.npe2 import histology, ultrasound
from napari_sslmaps.viewer.state.workspace import Anchor

if TYPE_CHECKING:
    import napari

    from napari_sslmaps._qt.dock import SSLMapsWidget


def run_demo(sample: str = "histology", *, block: bool = True) -> "napari.Viewer":
    """Open napari on a sample with the dock, and run every embedded encoder.

    Parameters
    ----------
    sample
        ``histology`` or ``ultrasound``.
    block
        Whether to stay in Qt's event loop until the window is closed. If not, the computation goes on
        while the caller processes events.

    Returns
    -------
    napari.Viewer
        The viewer; closed already if `block`.
    """
    import napari

    viewer = napari.Viewer(title="napari-sslmaps")
    widget = open_demo(viewer, sample)
    if block:
        _fill_screen(widget)
        napari.run()
    return viewer


def _fill_screen(widget: "SSLMapsWidget") -> None:
    """Give four cells room beside the dock."""
    window = widget.window()
    if window is not None:
        window.showMaximized()


def open_demo(viewer: "napari.Viewer", sample: str = "histology") -> "SSLMapsWidget":
    """Add a sample and the dock to a viewer, start the encoders, and set an anchor."""
    from napari_sslmaps._qt.dock import SSLMapsWidget

    for data, options, _ in {"histology": histology, "ultrasound": ultrasound}[sample]():
        viewer.add_image(data, **options)
    widget = SSLMapsWidget(viewer)
    viewer.window.add_dock_widget(widget, name="SSL Maps", area="right")
    widget.workspace.side_by_side = True
    widget.workspace.anchor_mode = True
    widget.workspace.add_anchor(Anchor(SAMPLES[sample].anchor_yx), keep=False)
    return widget
