"""Sessions as files: saved by a user, or by itself when the dock is closed, and opened again."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol, get_args

from napari.components import ViewerModel
from napari.layers import Image, Labels, Points, Shapes
from platformdirs import user_state_path

from napari_sslmaps.core.tiling import TILED
from napari_sslmaps.encoders.controls import controls_of
from napari_sslmaps.errors import RegionError, SSLMapsError
from napari_sslmaps.files import hash_path
from napari_sslmaps.maps.similarity import COSINES, MARGINS
from napari_sslmaps.records.places import Places
from napari_sslmaps.records.session import (
    SessionRecord,
    SessionSearch,
    SessionView,
    load_session,
    located_search,
    save_session,
)
from napari_sslmaps.sources.formats import is_url
from napari_sslmaps.viewer.canvas.image_layer import OWN, frame_of, lead_of_frame, path_of, uncover
from napari_sslmaps.viewer.canvas.npe2 import contents_of, read, read_chosen
from napari_sslmaps.viewer.canvas.region_selection import REGION_OF, chosen_rectangles
from napari_sslmaps.viewer.canvas.region_shapes import RegionShapes
from napari_sslmaps.viewer.canvas.shared_contrast import SharedContrast
from napari_sslmaps.viewer.maps.areas import AreaController
from napari_sslmaps.viewer.maps.coordinator import MapCoordinator
from napari_sslmaps.viewer.pretext.controller import Camera
from napari_sslmaps.viewer.state.session import Sessions
from napari_sslmaps.viewer.state.workspace import GROUP_COLOURS, Anchor, Group, RegionChoice, WorkspaceModel

_HASHED_BYTES = 64_000_000
"""Files up to this size are hashed while a user waits: a fifth of a second."""
_CHANGED = (
    "{} has changed since the session was saved: maps are of what it is now, anchors at their old pixels."
)


class Archive(Protocol):
    """The page Search, as a session keeps it."""

    @property
    def choice(self) -> SessionSearch | None:
        """What is kept; None where no archive is open."""
        ...

    def restore(self, choice: SessionSearch) -> None:
        """Open it again."""
        ...


class SessionTools(NamedTuple):
    """Tools that know, and put back, what is not in the workspace: maps, rectangles, looks, the archive.

    ``camera`` returns the centre and zoom of the page Maps, whatever page is open; ``restart`` begins the
    steps that can be undone anew. ``annotation`` returns the file of the annotation, empty where it has none;
    ``annotate`` chooses it again.
    """

    coordinator: MapCoordinator
    run: Callable[[], None]
    restart: Callable[[], None]
    camera: Callable[[], Camera]
    shapes: RegionShapes
    shared_contrast: SharedContrast
    archive: Archive
    areas: AreaController
    annotation: Callable[[], str]
    annotate: Callable[[Path], None]


class SessionFiles:
    """Saves the session of the image that is shown, and opens it again.

    Parameters
    ----------
    viewer
        Viewer that gets the image, if it is not open.
    workspace
        Workspace with what is chosen.
    sessions
        Sessions with what was embedded.
    tools
        Tools whose settings are saved and put back too.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        sessions: Sessions,
        tools: SessionTools,
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._sessions = sessions
        self._tools = tools
        self._opened: SessionRecord | None = None
        self._note = ""

    def save(self, path: Path) -> None:
        """Write the session."""
        record = self.record()
        if record is None:
            self._workspace.say("There is no image whose session could be saved. Open one.")
            return
        try:
            written = save_session(record, path if path.suffix else path.with_suffix(".json"))
        except SSLMapsError as error:
            self._workspace.say(str(error), failed=True)
            return
        self._workspace.say(f"Session written to {written.name}.{self._not_kept(record)}")

    def _not_kept(self, record: SessionRecord) -> str:
        """Say which layers that a user made are in no file, and not in the session either."""
        kept = {labels.name for labels in record.labels}
        lost = [
            layer.name
            for layer in self._viewer.layers
            if isinstance(layer, Labels | Points | Shapes)
            and not (layer.source.path or layer.name in kept or {OWN, REGION_OF} & {*layer.metadata})
            and len(layer.data)
        ]
        return f" Not in it, save these yourself (File, Save): {', '.join(lost)}." if lost else ""

    def save_by_itself(self) -> None:
        """Write the session where the next one finds it, if anything was embedded or an archive opened."""
        here, record = self._sessions.here, self.record()
        if here is None or record is None or not (here[1].embedded or record.search):
            return
        try:
            last_session().parent.mkdir(parents=True, exist_ok=True)
            save_session(record, last_session(), here=True)
        except (OSError, SSLMapsError) as error:
            self._workspace.say(f"The session was not kept: {error}")

    def record(self) -> SessionRecord | None:
        """Return what makes the session again; None without an image."""
        workspace, here = self._workspace, self._sessions.here
        if here is None:
            return None
        image, session = here
        hashes = {item.embedding.provenance.image_sha256 for item in session.embedded.values()}
        centre, zoom = self._tools.camera()
        y, x = centre[-2:]
        path = path_of(image)
        size, sha256 = _file_facts(path)
        annotation = self._tools.annotation()
        return SessionRecord(
            image.name,
            path,
            hashes.pop() if len(hashes) == 1 and session.mask is None else "",
            session.region,
            frame_of(self._viewer, image),
            workspace.chosen,
            workspace.maps,
            workspace.options,
            tuple(group for group in workspace.anchor_groups if group.anchors or group.negative),
            SessionView(
                workspace.shown,
                workspace.front,
                workspace.against,
                workspace.side_by_side,
                workspace.difference,
                (y, x),
                zoom,
            ),
            size,
            sha256,
            workspace.region,
            self._rectangles(image),
            workspace.resolution,
            workspace.detail,
            tuple(control.name for control in workspace.controls),
            self._tools.shared_contrast.looks(image),
            *_choice_of(image),
            workspace.token_block,
            workspace.token_norm,
            self._tools.archive.choice,
            workspace.area_options,
            workspace.areas_shown,
            self._tools.areas.kept(image),
            annotation,
            _file_facts(annotation)[1],
        )

    def _rectangles(self, image: Image) -> tuple[tuple[tuple[float, float], ...], ...]:
        if self._workspace.region != "rectangle":
            return ()
        try:
            found = chosen_rectangles(self._viewer, image)
        except RegionError:
            return ()
        return tuple(tuple((float(y), float(x)) for y, x in corners) for corners in found)

    def open(self, path: Path) -> None:
        """Show a session's image as it was shown, and embed it unless it is in the cache."""
        workspace = self._workspace
        try:
            record = load_session(path)
            image, note = self._image_of(record, path.parent)
        except SSLMapsError as error:
            workspace.say(str(error), failed=True)
            return
        if image is None:
            where = f" ({record.path})" if record.path else ""
            beside = ", nor beside the session" if record.path else ""
            workspace.say(f"Open the session's image, {record.image}{where}, first: it is not there{beside}.")
            return
        workspace.touched = True
        if workspace.task == "pretext":  # which has a camera of its own
            workspace.task = "maps"
        workspace.image = image
        uncover(self._viewer, image)
        with self._tools.coordinator.holding():  # a map for each of these would be made in vain
            self._choose(image, record)
        if not workspace.anchors:
            self._tools.coordinator.follow_anchors()
        if record.search is not None:
            self._tools.archive.restore(located_search(record.search, path.parent))
        view = record.view
        self._tools.areas.restore(image, record.labels)
        self._opened, self._note = record, f"{note} {self._annotate(record, path.parent)}".strip()
        self._tools.restart()
        workspace.anchor_mode = True  # as after a run
        self._tools.run()
        if workspace.progress is None:
            self._tools.coordinator.repaint(*workspace.maps)
        workspace.front = view.front or workspace.front
        workspace.against, workspace.difference = view.against or workspace.against, view.difference
        camera = self._viewer.scene.camera
        camera.center, camera.zoom = (*camera.center[:-2], *view.centre_yx), view.zoom
        listed = {spec.name for spec in workspace.available}
        missing = [name for name in record.encoders if name not in listed]
        if missing:
            self._note = f"Opened without {', '.join(missing)}: not in the list. {self._note}".strip()
        self.check()

    def _choose(self, image: Image, record: SessionRecord) -> None:
        """Choose all that a session was made with."""
        workspace, view = self._workspace, record.view
        for axis, step in enumerate(lead_of_frame(image, record.frame)):
            self._viewer.dims.set_current_step(axis, step)
        listed = {spec.name for spec in workspace.available}
        workspace.chosen = tuple(name for name in record.encoders if name in listed)
        workspace.shown, workspace.side_by_side = view.shown, view.side_by_side  # before options: it aligns
        workspace.maps, workspace.options, workspace.tiling = record.maps, record.options, TILED
        workspace.resolution, workspace.detail = record.resolution, record.detail
        workspace.token_block, workspace.token_norm = record.token_block, record.token_norm
        workspace.controls = tuple(
            control
            for spec in workspace.specs
            for control in controls_of(spec)
            if control.name in record.controls
        )
        self._set_region(image, record)
        self._tools.shared_contrast.use(image, record.looks)
        self._set_anchors(record)
        negative = bool(workspace.request.anchors.negative)
        workspace.area_range = MARGINS if negative else COSINES  # which the threshold that was saved is of
        workspace.area_options, workspace.areas_shown = record.areas, record.areas_shown

    def _annotate(self, record: SessionRecord, folder: Path) -> str:
        """Choose the annotation's file again; say what has become of it, where it is not as it was."""
        if not record.annotation:
            return ""
        file = Places(folder).find(record.annotation, record.annotation_sha256)
        if not file.is_file():
            return f"The annotation {file.name} is not there."
        self._tools.annotate(file)
        changed = record.annotation_sha256 and _file_facts(str(file))[1] != record.annotation_sha256
        return f"The annotation {file.name} has changed." if changed else ""

    def check(self) -> None:
        """Say what has changed since the session was saved, once what it embedded is embedded again."""
        record, here, workspace = self._opened, self._sessions.here, self._workspace
        if record is None or here is None or workspace.progress is not None:
            return
        self._opened = None
        session = here[1]
        hashes = {item.embedding.provenance.image_sha256 for item in session.embedded.values()}
        alike = session.mask is None and session.region == record.region and len(hashes) == 1
        if alike and record.image_sha256 and record.image_sha256 not in hashes:
            self._note = _CHANGED.format(here[0].name)
        if self._note:
            workspace.say(f"{self._note} {workspace.status.text}".strip(), failed=workspace.status.failed)

    def _set_region(self, image: Image, record: SessionRecord) -> None:
        """Choose the region as it was chosen."""
        if record.rectangles:
            self._tools.shapes.restore(image, record.rectangles)
        chosen: list[RegionChoice] = [each for each in get_args(RegionChoice) if each == record.region_choice]
        lost = record.region_choice == "rectangle" and not record.rectangles
        self._workspace.region = chosen[0] if chosen and not lost else "whole"

    def _set_anchors(self, record: SessionRecord) -> None:
        workspace = self._workspace
        workspace.groups = tuple(
            Group(key, group.name, group.colour or GROUP_COLOURS[key % len(GROUP_COLOURS)])
            for key, group in enumerate(record.groups)
        ) or (Group(),)
        workspace.group = workspace.groups[0].key
        workspace.anchors = tuple(
            Anchor(pixel, negative, key)
            for key, group in enumerate(record.groups)
            for negative, pixels in ((False, group.anchors), (True, group.negative))
            for pixel in pixels
        )

    def _image_of(self, record: SessionRecord, folder: Path) -> tuple[Image | None, str]:
        """Return the layer of a session's image, opened if need be; and what is to be known of it."""
        found = _file_of(record, folder)
        note = ""
        if found is not None and record.file_sha256 and _file_facts(str(found)) != _facts_of(record):
            note = _CHANGED.format(found.name)
        elif found is not None and not _is_there(folder / record.path, found):
            note = f"{found.name} was found beside the session."
        return self._layer_for(record, str(found or "")), note

    def _layer_for(self, record: SessionRecord, path: str) -> Image | None:
        """Return the layer of an image that is open, or of the file that it is in."""
        images = [layer for layer in self._viewer.layers if isinstance(layer, Image)]
        for image in images:
            same = bool(path_of(image)) and path_of(image) in {record.path, path}
            if same and _is_chosen(image, record):
                return image
        for image in images:
            if image.name == record.image and not record.path:
                return image
        if not path:
            return next((image for image in images if _is_file_of(image, record)), None)
        chosen = record.series is not None or bool(record.channel)
        data, options, _ = read_chosen(path, record.series, record.channel) if chosen else read(path)[0]
        layer = Image(data, **_with_path(options, path))
        self._viewer.add_layer(layer)
        return layer


def _with_path(options: dict[str, object], path: str) -> dict[str, object]:
    metadata = options.get("metadata")
    return {**options, "metadata": {**(metadata if isinstance(metadata, dict) else {}), "path": path}}


def _file_of(record: SessionRecord, folder: Path) -> Path | None:
    """Return where the image of a session lies now: at its path, beside the session, or there by its hash."""
    if not record.path or is_url(record.path):
        return None
    path = Places(folder).find(record.path, record.file_sha256)
    if path.exists():
        return path
    if not record.file_sha256:
        return None
    alike = (path for path in sorted(folder.iterdir()) if path.is_file())
    return next((path for path in alike if _file_facts(str(path)) == _facts_of(record)), None)


def _is_there(path: Path, found: Path) -> bool:
    """Whether a file lies at a path."""
    return path.exists() and path.samefile(found)


def _is_file_of(image: Image, record: SessionRecord) -> bool:
    """Whether a layer is of the file of a session, which lies where nobody but the user can find it."""
    path, name = path_of(image), PurePosixPath(record.path.replace("\\", "/")).name
    alike = bool(path) and Path(path).name == name and _file_facts(path) == _facts_of(record)
    return alike and _is_chosen(image, record)


def _facts_of(record: SessionRecord) -> tuple[int, str]:
    return record.file_bytes, record.file_sha256


def _file_facts(path: str) -> tuple[int, str]:
    """Return size and hash of a file; no hash of a large one or of a folder, nothing of what is no file."""
    file = Path(path)
    if not path or not file.is_file():
        return 0, ""
    size = file.stat().st_size
    return size, hash_path(file) if size <= _HASHED_BYTES else ""


def last_session() -> Path:
    """Return where the session of the window that was closed last is kept."""
    return user_state_path("napari-sslmaps") / "last-session.json"


def _choice_of(image: Image) -> tuple[int | None, tuple[int, ...]]:
    """Which image of its file, and which of its channels, a layer shows; nothing where there is no choice."""
    contents = contents_of(image.metadata)
    return contents.shown if contents.series else None, contents.picked


def _is_chosen(image: Image, record: SessionRecord) -> bool:
    """Whether a layer shows what a session says of its file; sessions of before say nothing."""
    said = record.series, record.channel
    return said in ((None, ()), _choice_of(image))
