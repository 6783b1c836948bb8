"""What the Compare page asks of the rooms below."""

from dataclasses import dataclass, field

from napari_sslmaps.viewer.comparison_job import Comparer, RoomComparer
from napari_sslmaps.viewer.evidence_layer import Evidencer, HeadEvidencer
from napari_sslmaps.viewer.export_job import Exporter, RoomExporter
from napari_sslmaps.viewer.folder_job import FolderComparer, RoomFolderComparer
from napari_sslmaps.viewer.loaded import LoadedEncoders
from napari_sslmaps.viewer.probe_job import Prober, TokenProber


@dataclass(frozen=True, slots=True)
class ComparisonServices:
    """What computes and writes.

    Parameters
    ----------
    comparer, folder_comparer
        Compare encoders on a region, and over a folder.
    prober
        Learns from scribbles.
    exporter
        Writes what was found.
    evidencer
        Finds where an image speaks for a class.
    """

    comparer: Comparer
    folder_comparer: FolderComparer
    prober: Prober
    exporter: Exporter
    evidencer: Evidencer = field(default_factory=lambda: HeadEvidencer(LoadedEncoders()))


def real_comparison_services(encoders: LoadedEncoders) -> ComparisonServices:
    """Return services that use these encoders."""
    return ComparisonServices(
        RoomComparer(encoders),
        RoomFolderComparer(encoders),
        TokenProber(),
        RoomExporter(encoders),
        HeadEvidencer(encoders),
    )
