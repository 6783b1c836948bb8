"""What a person does with weight files and published encoders: review, correct, forget, download."""

from collections.abc import Callable
from pathlib import Path

from napari_sslmaps.encoders.catalog import METHOD_INFO
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.viewer.download import Download
from napari_sslmaps.viewer.library import Library
from napari_sslmaps.viewer.offer import EncoderOffer
from napari_sslmaps.viewer.review import CheckpointReview
from napari_sslmaps.viewer.tasks import TaskRunner
from napari_sslmaps.viewer.workspace import WorkspaceModel


class EncoderFiles:
    """Brings encoders into the list and takes them out.

    Parameters
    ----------
    workspace
        Whose list and status line.
    library
        Knows the user's files and the published encoders.
    offer
        Lists again what has changed.
    runners
        One to read weight files, one to download.
    failed
        Is told what went wrong.
    """

    def __init__(
        self,
        workspace: WorkspaceModel,
        library: Library,
        offer: EncoderOffer,
        runners: tuple[TaskRunner, TaskRunner],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._workspace = workspace
        self._library = library
        self._offer = offer
        self._file_runner, self._download_runner = runners
        self._failed = failed

    def review(self, path: Path, overrides: Overrides | None = None, name: str = "") -> CheckpointReview:
        """Return the review of a weight file or folder, to be started and closed by whoever shows it."""
        review = CheckpointReview(path, self._library, self._file_runner, overrides=overrides, name=name)
        review.accepted.connect(self._on_added)
        return review

    def review_again(self, name: str, path: Path | None = None) -> CheckpointReview:
        """Return the review of a remembered encoder, where it was or where it is now."""
        spec = next(spec for spec in self._workspace.available if spec.name == name)
        return self.review(path or Path(str(spec.path)), Overrides.of(spec.overrides), name)

    def forget(self, name: str) -> None:
        """List a remembered encoder no more; its file stays."""
        try:
            self._library.forget(name)
        except SSLMapsError as error:
            self._failed(error)
            return
        self._offer.list_again()
        self._workspace.say(f"{name} is no longer listed; its file stays where it is.")

    def download(self, name: str) -> Download:
        """Return the download of a published encoder, to be started and closed by whoever shows it."""
        download = Download(PUBLISHED[name], self._library, self._download_runner)
        download.arrived.connect(lambda arrived: self._offer.list_again(ticked=arrived))
        return download

    def _on_added(self, spec: EncoderSpec) -> None:
        self._offer.list_again(ticked=spec.name)
        title = METHOD_INFO[spec.method].title
        self._workspace.say(f"{spec.name}: recognised as {title}, {spec.architecture.summary}.")
