"""Anchors with their groups as a file: kept, and set on another image."""

from pathlib import Path

from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.records.anchors import AnchorSet, load_anchors, save_anchors
from napari_sslmaps.viewer.canvas.region_selection import RegionSelection
from napari_sslmaps.viewer.state.session import Sessions
from napari_sslmaps.viewer.state.workspace import GROUP_COLOURS, Anchor, Group, WorkspaceModel


class AnchorSets:
    """Writes the anchors of the image that is shown, and reads those of another one.

    Parameters
    ----------
    workspace
        Workspace with the anchors and groups.
    sessions
        Sessions that know which pixels they were set on.
    region_selection
        Selection that knows the size of the image.
    """

    def __init__(
        self, workspace: WorkspaceModel, sessions: Sessions, region_selection: RegionSelection
    ) -> None:
        self._workspace = workspace
        self._sessions = sessions
        self._region_selection = region_selection

    def save(self, path: Path) -> None:
        """Write all groups with their anchors."""
        workspace, here = self._workspace, self._sessions.here
        if here is None or not workspace.anchors:
            workspace.say("Click on the image first: there are no anchors to write.")
            return
        image, session = here
        try:
            source = self._region_selection.source(image)
            hashes = {item.embedding.provenance.image_sha256 for item in session.embedded.values()}
            written = save_anchors(
                AnchorSet(
                    workspace.anchor_groups,
                    image.name,
                    hashes.pop() if len(hashes) == 1 else "",
                    source.levels[0].shape_yx,
                    source.spacing_um_yx,
                ),
                path if path.suffix else path.with_suffix(".json"),
            )
        except SSLMapsError as error:
            workspace.say(str(error), failed=True)
            return
        workspace.say(f"{_count(len(workspace.anchors))} written to {written.name}.")

    def load(self, path: Path) -> None:
        """Set a file's anchors on the image that is shown, at the same pixels, instead of its own."""
        workspace, here = self._workspace, self._sessions.here
        if here is None:
            workspace.say("Open an image first, to set the anchors on.")
            return
        try:
            found = load_anchors(path)
            groups = found.on_image(self._region_selection.source(here[0]).levels[0].shape_yx)
        except SSLMapsError as error:
            workspace.say(str(error), failed=True)
            return
        workspace.reference = None
        workspace.groups = tuple(
            Group(key, group.name, group.colour or GROUP_COLOURS[key % len(GROUP_COLOURS)])
            for key, group in enumerate(groups)
        ) or (Group(),)
        workspace.group = workspace.groups[0].key
        workspace.anchors = tuple(
            Anchor(pixel, negative, key)
            for key, group in enumerate(groups)
            for negative, pixels in ((False, group.anchors), (True, group.negative))
            for pixel in pixels
        )
        where = "" if found.image in {"", here[0].name} else f", set on {found.image}, at the same pixels"
        workspace.say(f"{_count(len(workspace.anchors))} from {path.name}{where}.")


def _count(anchors: int) -> str:
    return f"{anchors} anchor{'' if anchors == 1 else 's'}"
