"""The Search page at work: an index is looked into or built, anchors are searched for, a place is opened."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from psygnal import Signal

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import Cancelled
from napari_sslmaps.records.session import SessionSearch
from napari_sslmaps.search.index import IndexState
from napari_sslmaps.search.query import Place
from napari_sslmaps.sources.formats import is_url
from napari_sslmaps.sources.protocol import Level
from napari_sslmaps.viewer.canvas.image_layer import (
    LayerSource,
    frame_of,
    is_own,
    lead_of_frame,
    path_of,
    pixel_to_world,
    uncover,
)
from napari_sslmaps.viewer.maps.coordinator import MapCoordinator
from napari_sslmaps.viewer.maps.visibility import VisibilityController
from napari_sslmaps.viewer.search.jobs import (
    Archive,
    BuildJob,
    FindJob,
    Found,
    Opened,
    OpenJob,
    Pictured,
    PicturesJob,
    Question,
    Searcher,
    StateJob,
)
from napari_sslmaps.viewer.search.model import SearchModel, nothing_found, what_to_do
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.session import Embedded, Sessions
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskRunner, Work
from napari_sslmaps.viewer.state.workspace import Anchor, RunProgress, WorkspaceModel

_ADVICE = "What was found before stays; search again."
_ACROSS = 48
"""Tokens along the shorter side of the canvas, where a place is opened."""


class SearchParts(NamedTuple):
    """Parts that the page shares with the page of maps: what was computed, makes maps, shows them."""

    sessions: Sessions
    coordinator: MapCoordinator
    stage: VisibilityController


class SearchController:
    """Everything between the Search page's model and an archive.

    Parameters
    ----------
    viewer, workspace
        Viewer that images are opened in; state whose anchors are searched for.
    parts
        Embeddings, and the parts that make and show maps of them.
    runners
        Runners: one searches, one opens images.
    searcher
        Service that knows archives.
    """

    pictured = Signal(int, object)
    """Number of a place, and (height, width, 3) uint8 pixels around it."""

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        parts: SearchParts,
        runners: tuple[TaskRunner, TaskRunner],
        searcher: Searcher,
    ) -> None:
        self.model = SearchModel()
        self._viewer = viewer
        self._workspace = workspace
        self._sessions, self._coordinator, self._stage = parts
        self._runner, self._opener = runners
        self._searcher = searcher
        self._running = False
        self._place: Place | None = None
        self.later: Callable[[Callable[[], None]], object] = lambda look: look()
        """Looks at a place once its image is there: napari takes a fifth of a second for each layer, and a
        window stays awake between them."""

    def choose_store(self, store: Path) -> None:
        """Look into the folder of a batch."""
        self._read_state(store, "")

    @property
    def choice(self) -> SessionSearch | None:
        """What a session keeps of the page; None where no archive is open."""
        model = self.model
        if model.store is None:
            return None
        return SessionSearch(
            str(model.store),
            "" if model.images is None else str(model.images),
            "" if model.state is None else model.state.encoder,
            model.count,
            model.per_image,
            model.apart,
            model.other_images,
        )

    def restore(self, choice: SessionSearch) -> None:
        """Open an archive again, beside whatever else runs."""
        model, store = self.model, Path(choice.store)
        if self._running:
            return
        model.count, model.per_image, model.apart = choice.count, choice.per_image, choice.apart
        model.other_images = choice.other_images

        def returned(state: IndexState) -> None:
            model.places = ()
            model.store, model.images = store, Path(choice.images) if choice.images else None
            self._on_state(state)

        def failed(error: BaseException) -> None:  # an archive may be on a disk that is not there
            self._workspace.say(sentence(error, _ADVICE))

        self._runner.submit(
            StateJob(self._searcher, store, choice.encoder), TaskCallbacks(_ignore, returned, failed)
        )

    def choose_encoder(self, encoder: str) -> None:
        """Search another encoder's tokens of the same store."""
        if self.model.store is not None:
            self._read_state(self.model.store, encoder)

    def choose_images(self, folder: Path) -> None:
        """Look for the images in a folder; what was found gets its pictures from there."""
        self.model.images = folder
        self._draw()

    def build(self) -> None:
        """Bring the index up to date."""
        model = self.model
        if model.store is None or model.state is None:
            self._workspace.say("Open the folder that a batch wrote first.")
            return
        job = BuildJob(self._searcher, model.store, model.state.encoder)

        def returned(state: IndexState) -> None:
            self._on_state(state)
            self._workspace.say(f"Indexed: {state.tokens} tokens of {state.images} images.")

        self._begin("Learning from a sample of tokens", job, returned)

    def search(self) -> None:
        """Find the places most like the anchors of the active group, and least like its negative ones."""
        workspace, archive = self._workspace, self._archive()
        here = self._sessions.here
        group = next(
            one
            for one in zip(workspace.groups, workspace.anchor_groups, strict=True)
            if one[0].key == workspace.group
        )[1]
        if archive is None or here is None or not group.anchors:
            workspace.say(self._lacks(has_archive=archive is not None))
            return
        image, session = here
        known = session.embedded.get(archive.encoder)
        frame = frame_of(self._viewer, image)
        of_frame = session.region is not None and session.region.frame == frame
        question = Question(
            image.name,
            path_of(image),
            frame,
            tuple(group.anchors),
            tuple(group.negative),
            known.embedding if known is not None and known.complete and of_frame else None,
            self.model.count,
            self.model.apart,
            self.model.per_image,
            self.model.other_images,
        )
        self._begin("Searching", FindJob(self._searcher, archive, question), self._on_found)

    def open(self, number: int) -> None:
        """Open the image of a place there, with the archive's map of it where its encoder is ticked."""
        archive, places, workspace = self._archive(), self.model.places, self._workspace
        if archive is None or not 0 <= number < len(places):
            return
        place = places[number]
        workspace.touched = True
        workspace.say(f"Opening {place.name} …")
        shown = tuple(filter(None, (path_of(image) for image in self._images())))
        job = OpenJob(self._searcher, archive, place, shown, archive.encoder in workspace.methods)
        returned = partial(self._show, place, archive.encoder)
        self._opener.submit(job, TaskCallbacks(_ignore, returned, self._on_not_drawn))

    def cancel(self) -> None:
        """Stop a search or the building of an index; what is indexed stays so."""
        if self._running:
            self._runner.cancel()

    def _archive(self) -> Archive | None:
        """Return what is searched; None if nothing can be."""
        store, state = self.model.store, self.model.state
        return (
            None
            if store is None or state is None or not state.images
            else Archive(store, state.encoder, self._roots())
        )

    def _roots(self) -> tuple[Path, ...]:
        """Return the folders that images are looked for in: a batch keeps no paths of its owner."""
        paths = (path_of(image) for image in self._images())
        beside = dict.fromkeys(Path(path).parent for path in paths if path and not is_url(path))
        chosen = [self.model.images] if self.model.images is not None else list(beside)
        return tuple(folder for folder in (*chosen, self.model.store) if folder is not None)

    def _lacks(self, *, has_archive: bool) -> str:
        if not has_archive:
            state = self.model.state
            lacks = f"No index yet by {state.encoder}. {what_to_do(state)}" if state else ""
            return lacks or "Open the folder that a batch wrote first."
        return "Set an anchor on the image: places like it are searched for."

    def _read_state(self, store: Path, encoder: str) -> None:
        model = self.model

        def returned(state: IndexState) -> None:
            model.places = ()
            model.store = store
            self._on_state(state)

        self._begin(f"Looking into {store.name}", StateJob(self._searcher, store, encoder), returned)

    def _begin(self, label: str, job: Work, returned: Callable[..., None]) -> None:
        """Submit what a user waits for, unless something else runs."""
        workspace = self._workspace
        if workspace.progress is not None:
            workspace.say("Wait until the run is done, or press Cancel.")
            return
        workspace.say("")
        workspace.progress = RunProgress(label, 0.0)
        self._running = True

        def done(answer: object) -> None:
            self._end()
            returned(answer)

        self._runner.submit(job, TaskCallbacks(self._on_reported, done, self._on_failed))

    def _end(self) -> None:
        self._running = False
        self._workspace.progress = None

    def _on_reported(self, progress: RunProgress) -> None:
        self._workspace.progress = progress

    def _on_state(self, state: IndexState) -> None:
        self.model.state = state

    def _on_failed(self, error: BaseException) -> None:
        self._end()
        stopped = isinstance(error, Cancelled)
        text = "Stopped; what is indexed stays so." if stopped else sentence(error, _ADVICE)
        self._workspace.say(text, failed=not stopped)
        store, state = self.model.store, self.model.state
        if stopped and store is not None and state is not None:
            job = StateJob(self._searcher, store, state.encoder)
            self._runner.submit(job, TaskCallbacks(_ignore, self._on_state, self._on_not_drawn))

    def _on_found(self, found: Found) -> None:
        self.model.places = places = found.places
        images = len({place.image for place in places})
        said = f"{len(places)} places in {images} images." if places else nothing_found(self.model)
        self._workspace.say(" ".join([said, *found.notes]))
        self._draw()

    def _draw(self) -> None:
        """Read what is around the places, beside whatever else runs."""
        archive, places = self._archive(), self.model.places
        if archive is None or not places or self._running:
            return
        job = PicturesJob(self._searcher, archive, places)
        self._runner.submit(job, TaskCallbacks(self._on_pictured, self._on_drawn, self._on_not_drawn))

    def _on_pictured(self, picture: Pictured) -> None:
        self.pictured.emit(picture.number, picture.pixels)

    def _on_drawn(self, count: int) -> None:
        lacking = len(self.model.places) - count
        if lacking:
            self._workspace.say(
                f"{lacking} of {len(self.model.places)} places without a picture: the image is not in "
                f"{' or '.join(map(str, self._roots()))}, or has changed since it was embedded. Choose "
                "the folder of the images."
            )

    def _on_not_drawn(self, error: BaseException) -> None:
        self._workspace.say(sentence(error, _ADVICE), failed=True)

    def _images(self) -> list[Image]:
        return [layer for layer in self._viewer.layers if isinstance(layer, Image) and not is_own(layer)]

    def _show(self, place: Place, encoder: str, opened: Opened) -> None:
        """Bring the image of a place into the viewer, and then look at the place."""
        image = self._layer_of(opened, Anchor((place.y, place.x), group=self._workspace.group))
        if image is None:
            self._workspace.say(f"{place.name} was closed meanwhile. Choose the place again.")
            return
        self._place = place
        self.later(partial(self._look_at, place, image, encoder, opened))

    def _look_at(self, place: Place, image: Image, encoder: str, opened: Opened) -> None:
        workspace, viewer = self._workspace, self._viewer
        if place is not self._place or image not in viewer.layers:
            return
        workspace.image = image
        uncover(viewer, image)
        for axis, step in enumerate(lead_of_frame(image, place.frame)):
            viewer.dims.set_current_step(axis, step)
        others = (one for one in workspace.anchors if one.negative or one.group != workspace.group)
        anchor = Anchor((place.y, place.x), group=workspace.group)
        with self._coordinator.holding():  # one painting for tokens and anchor
            is_mapped = self._take(image, encoder, opened.embedding)
            workspace.anchors = (*others, anchor)
        if is_mapped:
            workspace.front, workspace.shown = encoder, "similarity"
            self._coordinator.repaint("similarity", *workspace.maps)  # no other is then listed meanwhile
        self._centre(image, place)
        unmapped = "" if is_mapped or opened.embedding else f" Tick {encoder} on the page Maps for its map."
        if opened.embedding is not None and not is_mapped:
            unmapped = " Its file has another size than the batch saw, so that there is no map."
        workspace.say(f"{image.name} at ({place.y:.0f}, {place.x:.0f}).{unmapped}")

    def _layer_of(self, opened: Opened, anchor: Anchor) -> Image | None:
        """Return the image's layer, added if need be, and then with an anchor from the first."""
        for image in self._images():
            if path_of(image) == opened.path:
                return image
        layers = [Layer.create(data, options, kind) for data, options, kind in opened.layers]
        for layer in layers:
            if isinstance(layer, Image):
                self._sessions.begin(layer, (anchor,))
            self._viewer.add_layer(layer)
        return next((layer for layer in layers if isinstance(layer, Image)), None)

    def _take(self, image: Image, encoder: str, embedding: Embedding | None) -> bool:
        """Let the session have the archive's tokens; tell whether they are of this image."""
        here = self._sessions.here
        region = None if embedding is None else _region_of(embedding, LayerSource(image).levels)
        if embedding is None or region is None or here is None:
            return False
        session = here[1]
        if session.region != region:
            session.forget()
        session.region = region
        session.embedded.setdefault(encoder, Embedded(embedding))
        self._stage.choose_front()
        return True

    def _centre(self, image: Image, place: Place) -> None:
        """Bring a place to the middle of the canvas, with some of what is around it."""
        viewer, camera = self._viewer, self._viewer.scene.camera
        lead = lead_of_frame(image, place.frame)
        at = pixel_to_world(viewer, image, (*lead, place.y, place.x))[-2:]
        pixel = np.linalg.norm(pixel_to_world(viewer, image, (*lead, place.y + 1, place.x))[-2:] - at)
        sides = LayerSource(image).levels[0].shape_yx
        side = min(_ACROSS * max(place.token_px), max(sides)) * pixel
        camera.center = (*camera.center[:-2], *(float(value) for value in at))
        camera.zoom = float(min(viewer.canvas.viewbox_size(viewer.layers)) / side)


def _region_of(embedding: Embedding, levels: Sequence[Level]) -> Region | None:
    """Return the region of an image that an embedding is of; None if it reaches beyond the image.

    What was read at a resolution that the file has not stored is told by its place on level 0, as a run in
    the window would have asked for it.
    """
    region, grid = embedding.provenance.region, embedding.grid
    if region is None:
        return None
    if region.level >= len(levels):
        numbers = (*grid.origin_yx, *grid.extent_yx)
        y, x, height, width = (round(number) for number in numbers)
        region = Region(y, x, height, width, 0, region.frame)
    height, width = levels[region.level].shape_yx
    fits = region.y + region.height <= height and region.x + region.width <= width
    return region if fits else None


def _ignore(_: object) -> None:
    return
