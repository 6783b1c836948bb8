"""Anchors as Points layers: a × per positive anchor and a bar per negative one, in the colours of groups."""

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Points

from napari_sslmaps.viewer.canvas.image_layer import OWN, frame_of, lead_of_frame
from napari_sslmaps.viewer.canvas.map_layers import frame_of_reference, keeping_selection
from napari_sslmaps.viewer.state.workspace import Anchor, WorkspaceModel

NEGATIVE = "#2b8cff"
"""Colour of negative anchors while there is one group; of several, each has its own colour for both kinds."""
FAINT = 0.55
"""Opacity of anchors whose group is not the active one."""
SIZE = 24.0
"""Side of the × in canvas pixels, whatever the zoom. napari's `canvas_size_limits` would widen the border to
the whole mark (0.9.2), so the size in data units follows the zoom."""


BAR = 1.5
"""Length of a negative anchor's bar over the side of the ×: a bar of the same side looks half as large."""


def colour_of(anchor: Anchor, workspace: WorkspaceModel) -> str:
    """Return the colour of an anchor, as ``#rrggbb``."""
    colours = {group.key: group.colour for group in workspace.groups}
    return NEGATIVE if anchor.negative and len(colours) == 1 else colours.get(anchor.group, "#808080")


class AnchorMarks:
    """Keeps the Points layers of one viewer in step with the workspace's anchors.

    Parameters
    ----------
    viewer
        Viewer of the layers.
    workspace
        Workspace whose anchors are drawn; edited when a user edits the points by hand.
    """

    def __init__(self, viewer: ViewerModel, workspace: WorkspaceModel) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._main: Points | None = None
        self._image: Image | None = None
        self._drawing = self._due = self._aside = False
        self.later: Callable[[Callable[[], None]], object] = lambda make: make()
        """Makes the layer, which takes a fifth of a second; a window lets a click's maps be painted first."""

    @property
    def main(self) -> Points | None:
        """The layer for the stacked view, if there is one."""
        return self._main

    def update(self) -> None:
        """Draw the workspace's anchors."""
        image = self._workspace.image
        if image is not self._image:
            self._image = image
            self._follow_image()
        if image is None:
            return
        if self._main is not None:
            self._draw(self._main)
        elif self._workspace.anchors and not self._due:
            self._due = True
            self.later(self._bring)

    def _follow_image(self) -> None:
        """Take the layer along to another image, where it fits, and away if that turns out to have no anchor.

        Making it anew takes a fifth of a second.
        """
        layer, image = self._main, self._image
        if layer is None:
            self._due = False
        elif image is None or image.ndim != layer.ndim:
            self.remove()
        else:
            layer.name = f"{image.name} / anchors"
            layer.metadata[OWN]["image"] = str(image.unique_id)
            self.place_again()
            self.stay_on_top()
            self.later(self._drop_empty)

    def _drop_empty(self) -> None:
        if not self._workspace.anchors:
            self.remove()

    def _bring(self) -> None:
        """Make the layer, if it is still wanted."""
        wanted, self._due = self._due, False
        image = self._image
        if not wanted or image is None or not self._workspace.anchors:
            return
        self._main = self._make(image, f"{image.name} / anchors")
        self._draw(self._main)  # before anyone listens to each of its changes
        with keeping_selection(self._viewer):
            self._viewer.layers.append(self._main)
        self._main.events.data.connect(self._on_points_edited)

    def stay_on_top(self) -> None:
        """Move the layer above one that was added: labels would hide the ×."""
        layers = self._viewer.layers
        if self._main is not None and self._main in layers:
            layers.move(layers.index(self._main), len(layers))

    def follow_zoom(self) -> None:
        """Keep the size on the canvas when the zoom changes."""
        if self._image is not None and self._main is not None:
            self._main.size = self._sizes(self._image)

    def _size(self, image: Image) -> float:
        """Return `SIZE` in napari's terms: its markers heed the last scale, not units, not affine."""
        return float(SIZE / self._viewer.scene.camera.zoom / abs(image.scale[-1]))

    def _sizes(self, image: Image) -> Any:
        """Return the size of each mark, in the order of the anchors."""
        bars = np.array([anchor.negative for anchor in self._shown], bool)
        return np.where(bars, BAR, 1.0) * self._size(image) if len(bars) else self._size(image)

    def _make(self, image: Image, name: str) -> Points:
        """Return an empty layer of anchors that lies on `image`."""
        return Points(
            np.empty((0, image.ndim)),
            ndim=image.ndim,
            name=name,
            metadata={OWN: {"role": "anchors", "image": str(image.unique_id)}},
            symbol="x",
            size=self._size(image),
            face_color="white",
            border_color="white",
            border_width=0.04,
            features={"negative": np.empty(0, bool), "group": np.empty(0, int)},
            blending="translucent_no_depth",
            **placed_on(image),
        )

    def stand_aside(self, *, aside: bool) -> None:
        """Hide the layer while something else than maps is shown; one that a user has hidden stays so."""
        if self._main is None:
            self._aside = False
        elif aside and self._main.visible:
            self._main.visible, self._aside = False, True
        elif not aside and self._aside:
            self._main.visible, self._aside = True, False

    def place_again(self) -> None:
        """Move the layer to where the image is now."""
        if self._main is not None and self._image is not None:
            for name, value in placed_on(self._image).items():
                if not _alike(getattr(self._main, name), value):  # each makes napari slice the layer again
                    setattr(self._main, name, value)

    def forget(self, layer: Any) -> bool:
        """Take note that a layer was removed; tell whether it was the one of the stacked view."""
        if layer is not self._main or self._main is None:
            return False
        self._main.events.data.disconnect(self._on_points_edited)
        self._main = None
        return True

    def remove(self) -> None:
        """Remove the layer of the stacked view."""
        layer, self._due = self._main, False
        if layer is not None:
            self.forget(layer)
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def _draw(self, layer: Points) -> None:
        anchors, image = self._shown, self._image
        if image is None:
            return
        lead = lead_of_frame(image, frame_of(self._viewer, image))
        data = np.array([[*lead, *anchor.pixel_yx] for anchor in anchors], float).reshape(-1, image.ndim)
        looks = [(colour, symbol) for _, colour, symbol in self.marks()]
        if layer.metadata[OWN].get("looks") == looks and layer.data.shape == data.shape:
            np.copyto(layer.data, data)
            layer.refresh(extent=False, thumbnail=False, highlight=False)
            return
        self._drawing = True
        try:
            layer.data = data
            layer.set_view_slice()  # napari leaves a hidden layer's as it was, and then reads beyond its data
            layer.features = {
                "negative": np.array([anchor.negative for anchor in anchors], bool),
                "group": np.array([anchor.group for anchor in anchors], int),
            }
            layer.size = self._sizes(image)
            if anchors:
                layer.face_color = [colour for colour, _ in looks]
                layer.symbol = [symbol for _, symbol in looks]
            layer.selected_data = set()
            layer.metadata[OWN]["looks"] = looks
        finally:
            self._drawing = False

    @property
    def _shown(self) -> tuple[Anchor, ...]:
        """Anchors of this image; none while those of another one are looked for."""
        return self._workspace.anchors if self._workspace.reference is None else ()

    def marks(self) -> list[tuple[Anchor, str, str]]:
        """Return each anchor of the image with its colour, ``#rrggbb`` or ``#rrggbbaa``, and its symbol."""
        workspace = self._workspace
        looks = []
        for anchor in self._shown:
            colour = colour_of(anchor, workspace)
            faint = "" if anchor.group == workspace.group else f"{round(255 * FAINT):02x}"
            looks.append((anchor, colour + faint, "hbar" if anchor.negative else "x"))
        return looks

    def _on_points_edited(self) -> None:
        """Take over what a user did to the points with napari's own tools."""
        if self._drawing or self._main is None:
            return
        features, active = self._main.features, self._workspace.group
        flags = features["negative"].fillna(value=False).to_numpy(dtype=bool)
        groups = features["group"].fillna(value=active).to_numpy(dtype=int)
        positions = np.asarray(self._main.data, float)[:, -2:]
        if len(flags) == len(positions):
            self._workspace.anchors = tuple(
                Anchor((float(y), float(x)), bool(flag), int(group))
                for (y, x), flag, group in zip(positions, flags, groups, strict=True)
            )


def _alike(one: Any, other: Any) -> bool:
    """Whether two values of a transform are equal."""
    if isinstance(one, tuple):
        return one == tuple(other)
    return np.array_equal(*(getattr(value, "affine_matrix", value) for value in (one, other)))


def placed_on(image: Image) -> dict[str, Any]:
    """Return the transforms with which data coordinates are the image's pixels."""
    return {**frame_of_reference(image), "scale": image.scale, "translate": image.translate}
