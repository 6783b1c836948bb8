"""Sessions as files: saved by a user, or by itself when the dock is closed, and opened again."""

from collections.abc import Callable
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image
from platformdirs import user_state_path

from napari_sslmaps.core.tiling import TILED
from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.records.session import SessionRecord, SessionView, load_session, save_session
from napari_sslmaps.viewer.canvas.image_layer import frame_of, lead_of_frame
from napari_sslmaps.viewer.canvas.npe2 import read
from napari_sslmaps.viewer.state.session import Sessions
from napari_sslmaps.viewer.state.workspace import GROUP_COLOURS, Anchor, Group, WorkspaceModel


class SessionFiles:
    """Writes what is looked at, and looks at it again.

    Parameters
    ----------
    viewer
        Gets the image, if it is not open.
    workspace
        What is chosen.
    sessions
        What was embedded.
    run
        Embeds what is chosen.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        sessions: Sessions,
        run: Callable[[], None],
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._sessions = sessions
        self._run = run

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
        self._workspace.say(f"Session written to {written.name}.")

    def save_by_itself(self) -> None:
        """Write the session where the next one finds it, if anything was embedded in it."""
        here, record = self._sessions.here, self.record()
        if here is None or record is None or not here[1].embedded:
            return
        try:
            last_session().parent.mkdir(parents=True, exist_ok=True)
            save_session(record, last_session())
        except (OSError, SSLMapsError) as error:
            self._workspace.say(f"The session was not kept: {error}")

    def record(self) -> SessionRecord | None:
        """Return what makes the session again; None without an image."""
        workspace, here = self._workspace, self._sessions.here
        if here is None:
            return None
        image, session = here
        hashes = {item.embedding.provenance.image_sha256 for item in session.embedded.values()}
        camera = self._viewer.scene.camera
        y, x = (float(value) for value in camera.center[-2:])
        return SessionRecord(
            image.name,
            _path_of(image),
            hashes.pop() if len(hashes) == 1 else "",
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
                float(camera.zoom),
            ),
        )

    def open(self, path: Path) -> None:
        """Look at a session's image as it was looked at, and embed it unless it is in the cache."""
        workspace = self._workspace
        try:
            record = load_session(path)
            image = self._image_of(record)
        except SSLMapsError as error:
            workspace.say(str(error), failed=True)
            return
        if image is None:
            where = f" ({record.path})" if record.path else ""
            workspace.say(f"Open {record.image}{where} first: it is not there.", failed=True)
            return
        workspace.touched = True
        workspace.image = image
        for axis, step in enumerate(lead_of_frame(image, record.frame)):
            self._viewer.dims.set_current_step(axis, step)
        listed = {spec.name for spec in workspace.available}
        workspace.chosen = tuple(name for name in record.encoders if name in listed)
        workspace.maps, workspace.options, workspace.tiling = record.maps, record.options, TILED
        self._set_anchors(record)
        view = record.view
        workspace.shown, workspace.side_by_side = view.shown, view.side_by_side
        self._run()
        workspace.front = view.front or workspace.front
        workspace.against, workspace.difference = view.against or workspace.against, view.difference
        camera = self._viewer.scene.camera
        camera.center, camera.zoom = (*camera.center[:-2], *view.centre_yx), view.zoom
        missing = [name for name in record.encoders if name not in listed]
        if missing:
            workspace.say(f"Opened without {', '.join(missing)}: not in the list.")

    def _set_anchors(self, record: SessionRecord) -> None:
        workspace = self._workspace
        workspace.anchors = ()
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

    def _image_of(self, record: SessionRecord) -> Image | None:
        """Return the layer of a session's image, opened if need be; None if it cannot be found."""
        images = [layer for layer in self._viewer.layers if isinstance(layer, Image)]
        for image in images:
            if record.path and _path_of(image) == record.path:
                return image
        for image in images:
            if image.name == record.image and not record.path:
                return image
        if not record.path or not Path(record.path).exists():
            return None
        data, options, _ = read(record.path)[0]
        layer = Image(data, **_with_path(options, record.path))
        self._viewer.add_layer(layer)
        return layer


def _with_path(options: dict[str, object], path: str) -> dict[str, object]:
    metadata = options.get("metadata")
    return {**options, "metadata": {**(metadata if isinstance(metadata, dict) else {}), "path": path}}


def last_session() -> Path:
    """Return where the session of the window that was closed last is kept."""
    return user_state_path("napari-sslmaps") / "last-session.json"


def _path_of(image: Image) -> str:
    path = image.metadata.get("path") or image.source.path
    return str(path) if path else ""
