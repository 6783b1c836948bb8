"""The one place where guards name modules inside the package; after a move, change it here alone."""

from napari_sslmaps.batch.store import read_embedding
from napari_sslmaps.cache.store import Cache
from napari_sslmaps.encoders.header import read_header
from napari_sslmaps.errors import Cancelled
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.lab.study.design import Design, design_to_toml
from napari_sslmaps.lab.training.monitoring import read_log
from napari_sslmaps.pipeline.cost import Throughput
from napari_sslmaps.records.map_files import read_map
from napari_sslmaps.run.compute import compute_run
from napari_sslmaps.run.request import RunRequest
from napari_sslmaps.run.write import write_run
from napari_sslmaps.sources.identity import FileIdentity
from napari_sslmaps.sources.samples import SAMPLES
from napari_sslmaps.viewer.maps.throughput import MeasuredPaces
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders

__all__ = [
    "SAMPLES",
    "Cache",
    "Cancelled",
    "Design",
    "EncoderChoice",
    "FileIdentity",
    "LoadedEncoders",
    "MeasuredPaces",
    "RunRequest",
    "Throughput",
    "compute_run",
    "design_to_toml",
    "read_embedding",
    "read_header",
    "read_log",
    "read_map",
    "write_run",
]
