"""Principal components: kept for the images that come, as files and from files; turned alike side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidOptionError, SSLMapsError
from napari_sslmaps.maps.pca import ComponentBasis, ComponentMap
from napari_sslmaps.records.basis import load_basis, save_basis
from napari_sslmaps.viewer.canvas.map_layers import LayerManager
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

Elsewhere = Mapping[str, Sequence[Embedding]]
"""By encoder, embeddings of other images."""


class AlignedColours:
    """Turns colours of components alike while methods are side by side, where a user has not said otherwise.

    Side by side, colours are compared: components of two encoders have none in common unless turned.

    Parameters
    ----------
    workspace
        Workspace whose option is set.
    """

    def __init__(self, workspace: WorkspaceModel) -> None:
        self._workspace = workspace
        self._by_itself = self._refused = False

    def follow_side_by_side(self, on: bool) -> None:
        """Align as the cells come, and leave it as the cells go."""
        pca = self._workspace.pca
        if on and not pca.aligned and pca.basis != "kept" and not self._refused:
            self._by_itself = True
            self._workspace.pca = replace(pca, aligned=True)
        elif not on and self._by_itself:
            self._by_itself = False
            self._workspace.pca = replace(pca, aligned=False)

    def follow_options(self) -> None:
        """Take note of a user who takes the alignment back."""
        if self._by_itself and not self._workspace.pca.aligned:
            self._by_itself, self._refused = False, True


class Bases:
    """Keeps principal components: as they are now, as a file, and from a file.

    Parameters
    ----------
    workspace
        Workspace whose `bases` are kept.
    layer_manager
        Layers that hold the present maps.
    """

    def __init__(self, workspace: WorkspaceModel, layer_manager: LayerManager) -> None:
        self._workspace = workspace
        self._layer_manager = layer_manager

    def lock(self) -> None:
        """Keep the components that every method shows now, for the images that come."""
        shown = self._shown()
        if not shown:
            self._say_nothing_is_shown()
            return
        self._keep(*shown.values())
        names = ", ".join(shown)
        self._workspace.say(f"Kept: components of {names}. Other images are now drawn with them.")

    def save(self, path: Path) -> None:
        """Write the components of the method in front to a file."""
        basis = self._shown().get(self._workspace.front)
        if basis is None:
            self._say_nothing_is_shown()
            return
        try:
            written = save_basis(basis, path if path.suffix else path.with_suffix(".json"))
        except SSLMapsError as error:
            self._workspace.say(str(error), failed=True)
            return
        self._workspace.say(f"Components of {basis.encoder} written to {written.name}.")

    def load(self, path: Path) -> None:
        """Keep the components of a file, if their encoder is the one in the list."""
        try:
            basis = load_basis(path)
            self._check(basis, path)
        except SSLMapsError as error:
            self._workspace.say(str(error), failed=True)
            return
        self._keep(basis)
        self._workspace.say(f"Kept: components of {basis.encoder} from {path.name}.")

    def _keep(self, *bases: ComponentBasis) -> None:
        workspace, names = self._workspace, {basis.encoder for basis in bases}
        others = tuple(basis for basis in workspace.bases if basis.encoder not in names)
        workspace.bases = (*others, *bases)
        workspace.pca = replace(workspace.pca, basis="kept", aligned=False)

    def _shown(self) -> dict[str, ComponentBasis]:
        image, found = self._workspace.image, {}
        for layer in [] if image is None else self._layer_manager.maps_of(image):
            result = self._layer_manager.result_of(layer)
            if isinstance(result, ComponentMap):
                found[result.provenance.encoder] = result.basis
        return found

    def _check(self, basis: ComponentBasis, path: Path) -> None:
        spec = next((spec for spec in self._workspace.available if spec.name == basis.encoder), None)
        if spec is None:
            raise InvalidOptionError(
                f"Expected components of an encoder in the list; {path.name} holds those of "
                f"{basis.encoder!r}. Add that encoder first."
            )
        if basis.weights_sha256 and spec.sha256 and basis.weights_sha256 != spec.sha256:
            raise InvalidOptionError(
                f"Expected components of the {spec.name} in the list; those in {path.name} belong to other "
                "weights. Fit them again, with these weights."
            )

    def _say_nothing_is_shown(self) -> None:
        self._workspace.say("Run first: the method in front has no PCA map yet.")
