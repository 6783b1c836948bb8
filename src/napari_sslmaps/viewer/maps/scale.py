"""The scale that tokens are compared at: its steps, its size on the image, and following the zoom."""

from math import log

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image

from napari_sslmaps.core.scale import TokenScale
from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.viewer.canvas.region_selection import RegionSelection
from napari_sslmaps.viewer.canvas.scale_rings import ScaleRings
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.session import Sessions
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

SMALLER_KEY, LARGER_KEY = "Shift-S", "S"
STEPS: tuple[float, ...] = (0.0, *(round(12.5 * 2 ** (step / 2), 2) for step in range(-10, 1)))
"""Per cent of the region's shorter side: single patches, then up to an eighth, each √2 times the last."""
_SEEN = 0.05
"""Share of what the canvas shows that the scale is, where it follows the zoom."""


class ScaleSteps:
    """Steps the scale, by slider, keys or zoom, and says and shows how large it is.

    Parameters
    ----------
    viewer
        Viewer whose keys and zoom are followed.
    workspace
        Workspace whose options hold the scale.
    sessions, look
        Sessions with what was embedded of the image, and its pixels.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        sessions: Sessions,
        region_selection: RegionSelection,
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._sessions = sessions
        self._region_selection = region_selection
        self.rings = ScaleRings(viewer, workspace, self.sigma_px, lambda: workspace.scale_text)
        self._usual = workspace.scale
        self._connections = Connections()
        events = workspace.events
        for name in ("options", "anchors", "groups", "group", "reference", "image", "task", "spacing_um"):
            self._connections.add(getattr(events, name), self.update)
        for name in ("chosen", "available"):
            self._connections.add(getattr(events, name), self._take_usual)
        self._connections.add(events.follow_zoom, self._follow_zoom)
        self._connections.add(viewer.scene.camera.events.zoom, self._follow_zoom)
        viewer.bind_key(SMALLER_KEY, lambda _: self.walk(-1), overwrite=True)
        viewer.bind_key(LARGER_KEY, lambda _: self.walk(1), overwrite=True)

    @property
    def step(self) -> int:
        """The step that is nearest to the scale of now."""
        scale, sigma = self._workspace.options.scale, self.sigma_px()
        percent = scale.value if scale.unit == "%" else 100 * sigma / max(1.0, self._side())
        if not percent:
            return 0
        return 1 + int(np.argmin([abs(log(step / percent)) for step in STEPS[1:]]))

    def choose(self, step: int) -> None:
        """Compare at one of `STEPS`."""
        chosen = TokenScale(STEPS[max(0, min(step, len(STEPS) - 1))], "%")
        self._workspace.scale = chosen if chosen.value else TokenScale()

    def walk(self, steps: int) -> None:
        """Go on by so many steps; the scale follows the zoom no more."""
        self._workspace.follow_zoom = False
        self.choose(self.step + steps)

    def sigma_px(self) -> float:
        """Return the standard deviation in pixels of level 0; 0 for single patches."""
        scale, here = self._workspace.options.scale, self._sessions.here
        if not scale.value or here is None:
            return 0.0
        if scale.unit == "%":
            return scale.value / 100 * self._side()
        embedded = next(iter(here[1].embedded.values()), None)
        return scale.value if embedded is None else scale.pixels(embedded.embedding)

    def words(self) -> str:
        """Say the scale in pixels, and in µm where the image tells how large they are."""
        sigma, scale = self.sigma_px(), self._workspace.options.scale
        if not sigma:  # of a scale in per cent without an image
            return f"σ {scale.value:.3g} {scale.unit}" if scale.value else "one patch"
        image, spacing = self._workspace.image, None
        if image is not None:
            spacing = self._region_selection.source(image).spacing_um_yx
        of_um = "" if spacing is None else f", {sigma * (spacing[0] * spacing[1]) ** 0.5:.3g} µm"
        return f"σ {sigma:.3g} px{of_um}"

    def update(self) -> None:
        """Say the scale of now."""
        try:
            self._workspace.scale_text = self.words()
        except SSLMapsError as error:
            self._workspace.say(str(error), failed=True)

    def close(self) -> None:
        """Undo every connection, and give the keys back."""
        self._connections.undo()
        for key in (SMALLER_KEY, LARGER_KEY):
            self._viewer.bind_key(key, None)

    def _take_usual(self) -> None:
        """Compare at the scale that the first encoder usually is, unless another one was chosen."""
        specs, workspace = self._workspace.specs, self._workspace
        if not specs or workspace.scale != self._usual:
            return
        self._usual = specs[0].scale or TokenScale()
        workspace.scale = self._usual

    def _side(self) -> float:
        """Return the shorter side, in pixels of level 0, of what is embedded, else of the image."""
        here = self._sessions.here
        if here is None:
            return 0.0
        image, session = here
        embedded = next(iter(session.embedded.values()), None)
        if embedded is not None:
            return float(min(embedded.embedding.grid.extent_yx))
        return float(min(self._region_selection.source(image).levels[0].shape_yx))

    def _follow_zoom(self) -> None:
        image = self._workspace.image
        if not self._workspace.follow_zoom or image is None or not self._side():
            return
        share = 100 * _SEEN * self._seen_px(image) / self._side()
        step = 1 + int(np.argmin([abs(log(one / share)) for one in STEPS[1:]]))
        # what is smaller than all steps is a single patch
        self.choose(0 if share < STEPS[1] / 2**0.5 else step)

    def _seen_px(self, image: Image) -> float:
        """Return the shorter side of what the canvas shows, in pixels of the image."""
        size = np.asarray(self._viewer.canvas.viewbox_size(self._viewer.layers), float)
        return float(size.min() / self._viewer.scene.camera.zoom / abs(image.scale[-1]))
