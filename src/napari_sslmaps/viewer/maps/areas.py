"""Areas above a threshold of similarity: shown as it moves, made Labels, counted and written."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Float32
from napari_sslmaps.core.segments import SegmentOptions, Segments, segments_of, top_places
from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.maps.similarity import MARGINS, SimilarityMap
from napari_sslmaps.records.areas import write_areas
from napari_sslmaps.records.session import SessionLabels
from napari_sslmaps.viewer.canvas.anchor_layers import placed_on
from napari_sslmaps.viewer.canvas.image_layer import (
    AREAS,
    OWN,
    PLACES,
    LayerSource,
    lead_of_frame,
    spacing_of,
)
from napari_sslmaps.viewer.canvas.map_layers import (
    LayerManager,
    LayerSpec,
    Picture,
    keeping_selection,
    placement,
)
from napari_sslmaps.viewer.state.session import Sessions
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

ROLE = "areas"
_OPACITY = 0.4
"""Of areas and of Labels made of them: the image is to be seen through both."""
_EVEN = 0.0
"""Margin above which a token is more like the anchors than like the negative ones."""
_RANKS = {"string": "{rank}", "size": 10, "color": "white", "anchor": "upper_left"}
_GUIDE_SIDE = 1024
"""Cells of the guide along the longer side of a region."""


class AreaController:
    """Keeps areas of every method's similarity in step with the threshold while they are wanted.

    Parameters
    ----------
    viewer
        Viewer that gets Labels and Points for the user.
    workspace
        Workspace with the threshold, and with whether areas are shown.
    sessions
        Sessions with what was embedded.
    layer_manager
        Layers that hold the maps.
    source
        Function that returns the pixels of an image.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        sessions: Sessions,
        layer_manager: LayerManager,
        source: Callable[[Image], LayerSource],
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._sessions = sessions
        self._layer_manager = layer_manager
        self._source = source
        self._found: dict[str, Segments] = {}
        self._thresholds = {MARGINS: _EVEN}
        self.later: Callable[[Callable[[], None]], None] = lambda do: do()
        self._guide: tuple[object, Float32] | None = None

    def update(self) -> None:
        """Find the areas of all methods anew, or hide them; say how large those of the one in front are."""
        workspace, here = self._workspace, self._sessions.here
        self._found = {}
        if here is None or not workspace.areas_shown:
            for layer in [] if here is None else self._layer_manager.layers_of(here[0], ROLE):
                self._layer_manager.bring(layer, visible=False)
            workspace.areas_text = ""
            return
        image = here[0]
        for result in self._maps(image):
            name = result.provenance.encoder
            self._found[name] = self._segments(image, result)
            self._draw(image, name, self._found[name])
        workspace.areas_text = self._text(self._found.get(workspace.front))

    def follow_range(self) -> None:
        """Take another threshold where the map in front became a margin, or is none more.

        A cosine of 0.5 is no margin of 0.5. Each kind of value keeps the threshold that was chosen for it.
        """
        workspace, here = self._workspace, self._sessions.here
        found = None if here is None else self._map_of(here[0], workspace.front)
        if found is None or found.value_range == workspace.area_range:
            return
        self._thresholds[workspace.area_range] = workspace.area_options.threshold
        workspace.area_range = found.value_range
        threshold = self._thresholds.get(found.value_range, SegmentOptions().threshold)
        workspace.area_options = replace(workspace.area_options, threshold=threshold)

    def over(self, picture: Picture, image: Image) -> Picture | None:
        """Return the areas that lie on a map of similarity, while they are shown."""
        mark = picture.metadata[OWN]
        if not self._workspace.areas_shown or mark["kind"] != "similarity":
            return None
        return self._layer_manager.find(image, ROLE, mark["encoder"], ROLE)

    def places_over(self, picture: Picture, image: Image) -> list[Points]:
        """Return the places that were marked on a method's similarity, and are not hidden, over its map."""
        encoder = picture.metadata[OWN].get("encoder")  # a reader's picture says none: blind
        here = {"image": str(image.unique_id), "encoder": encoder}
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Points) and layer.visible and layer.metadata.get(PLACES) == here
        ]

    def arrange(self) -> None:
        """Show the areas of the method in front where its similarity is in view."""
        workspace, here = self._workspace, self._sessions.here
        if here is None:
            return
        wanted = workspace.areas_shown and workspace.task == "maps" and not workspace.side_by_side
        for layer in self._layer_manager.layers_of(here[0], ROLE):
            in_front = layer.metadata[OWN]["encoder"] == workspace.front
            self._layer_manager.bring(layer, visible=wanted and in_front)

    def to_labels(self) -> None:
        """Add the areas of the method in front as a Labels layer of the user's own."""
        workspace, here, found = self._workspace, self._sessions.here, self._front()
        if here is None or found is None:
            return
        image, frame = here[0], 0 if here[1].region is None else here[1].region.frame
        name = f"{image.name} / labels / {workspace.front}"
        self._add(image, SessionLabels.of(name, found.labels, found.grid, workspace.area_options, frame))
        said = self._text(found)
        workspace.areas_shown = False  # both, one over the other, would hide the image
        workspace.say(f"{said} They are a Labels layer now.")

    def _add(self, image: Image, kept: SessionLabels) -> None:
        mark = {
            "image": str(image.unique_id),
            "grid": kept.grid,
            "options": kept.options,
            "frame": kept.frame,
        }
        with keeping_selection(self._viewer):
            self._viewer.add_labels(
                kept.labels[(None,) * (image.ndim - 2)],
                name=kept.name,
                metadata={AREAS: mark},
                opacity=_OPACITY,
                **placement(image, kept.grid, kept.frame),
            )

    def kept(self, image: Image) -> tuple[SessionLabels, ...]:
        """Return the Labels that areas of an image were made into, as a session keeps them."""
        return tuple(found for layer in self._viewer.layers if (found := _kept(layer, image)) is not None)

    def restore(self, image: Image, kept: Sequence[SessionLabels]) -> None:
        """Add Labels that a session kept, unless they are there."""
        there = self.kept(image)
        for labels in kept:
            if labels not in there:
                self._add(image, labels)

    def save(self, path: Path) -> None:
        """Write the areas of the method in front as GeoJSON, CSV or OME-Zarr, by the suffix."""
        workspace, here, found = self._workspace, self._sessions.here, self._front()
        if here is None or found is None:
            return
        group = next(group for group in workspace.groups if group.key == workspace.group)
        name = group.name if len(workspace.groups) > 1 else f"like anchor ({workspace.front})"
        try:
            written = write_areas(path, found, name, group.colour, self._spacing(here[0]))
        except SSLMapsError as error:
            workspace.say(str(error), failed=True)
            return
        count = len(found.sizes_px)
        workspace.say(f"{count} area{'' if count == 1 else 's'} written to {written.name}.")

    def mark_most_similar(self, count: int) -> None:
        """Add the places most similar to the anchors as a Points layer, the most similar first."""
        workspace, here = self._workspace, self._sessions.here
        found = None if here is None else self._map_of(here[0], workspace.front)
        if here is None or found is None:
            workspace.say("Set an anchor first: places are found by their similarity to it.")
            return
        image, frame = here[0], 0 if here[1].region is None else here[1].region.frame
        least = workspace.area_options.threshold
        best = top_places(found.values, count)
        tokens = [token for token in best if found.values[token] > least]
        bar = f"{'margin' if found.value_range == MARGINS else 'cosine'} {number_text(least)}"
        if not tokens:
            highest = number_text(float(found.values[best[0]])) if best else "none"
            workspace.say(f"No place is above {bar}; the highest is {highest}. Lower the threshold of areas.")
            return
        lead = lead_of_frame(image, frame)
        pixels = np.array([[*lead, *found.grid.token_to_pixel(token)] for token in tokens])
        scores = [round(float(found.values[token]), 3) for token in tokens]
        with keeping_selection(self._viewer):
            layer = self._viewer.add_points(
                pixels,
                name=f"{image.name} / most similar / {workspace.front}",
                features={"rank": list(range(1, len(tokens) + 1)), "similarity": scores},
                metadata={PLACES: {"image": str(image.unique_id), "encoder": workspace.front}},
                symbol="ring",
                face_color="transparent",
                border_color="white",
                size=2 * min(found.grid.stride_yx),
                **placed_on(image),
            )
        # digits are drawn one by one for the first text of a window, which takes a third of a second
        self.later(lambda: setattr(layer, "text", _RANKS))
        places = f"{len(tokens)} place{'s' * (len(tokens) != 1)} marked"
        ends = (
            number_text(scores[0])
            if len(tokens) == 1
            else " to ".join(map(number_text, (scores[0], scores[-1])))
        )
        left = len(best) - len(tokens)
        fewer = f" {left} of {len(best)} left out: below {bar} (areas)." if left else ""
        workspace.say(f"{places}, similarity {ends}.{fewer}")

    def _front(self) -> Segments | None:
        name, here = self._workspace.front, self._sessions.here
        found = None if here is None else self._map_of(here[0], name)
        if here is None or found is None:
            self._workspace.say("Set an anchor first: areas are what is as similar to it.")
            return None
        return self._found.get(name) or self._segments(here[0], found)  # kept only while they are shown

    def _segments(self, image: Image, found: SimilarityMap) -> Segments:
        options = self._workspace.area_options
        guide = self._guide_of(image, self._sessions.of(image).region) if options.guided else None
        return segments_of(found.values, found.grid, options, guide)

    def _maps(self, image: Image) -> list[SimilarityMap]:
        found = (self._map_of(image, name) for name in self._workspace.methods)
        return [result for result in found if result is not None]

    def _map_of(self, image: Image, encoder: str) -> SimilarityMap | None:
        layer = self._layer_manager.find(image, "similarity", encoder)
        result = None if layer is None else self._layer_manager.result_of(layer)
        return result if isinstance(result, SimilarityMap) else None

    def _draw(self, image: Image, name: str, found: Segments) -> None:
        workspace, region = self._workspace, self._sessions.of(image).region
        group = next(group for group in workspace.groups if group.key == workspace.group)
        record = {"grid": asdict(found.grid), "options": asdict(workspace.area_options)}
        drawing = LayerSpec(
            ROLE,
            "areas",
            name,
            (found.labels > 0).astype(np.int32),
            found.grid,
            None,
            record,
            0 if region is None else region.frame,
            role=ROLE,
            opacity=_OPACITY,
            palette=(group.colour,),
        )
        self._layer_manager.show(image, drawing, live=True)

    def _spacing(self, image: Image) -> tuple[float, float] | None:
        typed = self._workspace.spacing_um
        return spacing_of(image) or (None if typed is None else (typed, typed))

    def _text(self, found: Segments | None) -> str:
        here = self._sessions.here
        if found is None or here is None:
            return "Set an anchor: areas are what is as similar to it."
        total, count = sum(found.sizes_px), len(found.sizes_px)
        spacing = self._spacing(here[0])
        share = total / (found.grid.extent_yx[0] * found.grid.extent_yx[1])
        edges = ", edges from the image" if self._workspace.area_options.guided else ""
        size = f"{total:.0f} px" if spacing is None else area_text(total * spacing[0] * spacing[1])
        areas = f"{count} area{'s' * (count != 1)}"
        small = f"; {found.left_out} smaller left out" if found.left_out else ""
        return f"{self._workspace.front}: {areas}, {size}, {100 * share:.0f} % of the map{edges}{small}."

    def _guide_of(self, image: Image, region: Region | None) -> Float32 | None:
        """Return the brightness of the region, (height, width) in [0, 1]; kept for the next threshold."""
        if region is None:
            return None
        key = (image, region)
        if self._guide is None or self._guide[0] != key:
            step = max(1, -(-max(region.height, region.width) // _GUIDE_SIDE))
            pixels = np.asarray(self._source(image).read(region), np.float32)[::step, ::step]
            grey = pixels.mean(axis=-1) if pixels.ndim == 3 else pixels
            low, high = np.percentile(grey, (1, 99))
            self._guide = key, np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)
        return self._guide[1]


def _kept(layer: Layer, image: Image) -> SessionLabels | None:
    """Return labels that areas of an image were made into; None of another layer, or one of another size."""
    mark = layer.metadata.get(AREAS)
    if not isinstance(layer, Labels) or mark is None or mark.get("image") != str(image.unique_id):
        return None
    grid: TokenGrid = mark["grid"]
    if layer.multiscale or np.size(layer.data) != grid.rows * grid.cols:
        return None
    values = np.asarray(layer.data).reshape(grid.shape)
    return SessionLabels.of(layer.name, values, grid, mark["options"], mark["frame"])


def number_text(value: float) -> str:
    """Say a cosine or a margin in two digits, with a minus sign."""
    return f"{value:.2f}".replace("-", "−")


def area_text(um2: float) -> str:
    """Say an area in µm², or in mm² from a hundredth on."""
    return f"{um2:.0f} µm²" if um2 < 1e4 else f"{um2 / 1e6:.3g} mm²"
