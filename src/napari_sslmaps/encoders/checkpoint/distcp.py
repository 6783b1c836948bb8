"""Sharded ``.distcp`` folders of torch.distributed.checkpoint, tensors only, nothing in them run.

torch's own reader unpickles the folder's ``.metadata`` freely; here only the classes that torch itself writes
there are allowed.
"""

import pathlib
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from napari_sslmaps.encoders.checkpoint.pickled import load_part
from napari_sslmaps.errors import CheckpointError, WeightsUnavailableError

METADATA = ".metadata"
_RECORDS = {
    "torch": {"Size", "device"},
    "torch.serialization": {"_get_layout"},
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "collections": {"OrderedDict"},
}
_PATHS = {"PosixPath": pathlib.PurePosixPath, "WindowsPath": pathlib.PureWindowsPath}
_DAMAGE = (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError)


class _Unpickler(pickle.Unpickler):
    """Builds torch's records of shards and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if module.startswith("pathlib") and name in _PATHS:
            return _PATHS[name]
        if name in _RECORDS.get(module, set()):
            return super().find_class(module, name)
        raise CheckpointError(
            f"Expected a list of shards in {METADATA}; it asks to run or build '{module}.{name}', which is "
            "refused. Convert the folder where it was written, best to safetensors, and load that."
        )


class ShardedTensors(Mapping[str, Tensor]):
    """Tensors of a ``.distcp`` folder by name, each read from its shards when it is asked for.

    Parameters
    ----------
    folder
        With ``.metadata`` and the files it names.
    is_wanted
        Which of the outermost names are weights.

    Raises
    ------
    CheckpointError
        If the metadata are damaged, ask for anything but records, or the shards are compressed.
    """

    def __init__(self, folder: Path, is_wanted: Callable[[str], bool]) -> None:
        self._folder = folder
        metadata = _read_metadata(folder / METADATA)
        self._shapes: dict[str, TensorStorageMetadata] = {}
        left_out: dict[str, None] = {}
        for name, entry in metadata.state_dict_metadata.items():
            outer = name.partition(".")[0]
            if isinstance(entry, TensorStorageMetadata) and is_wanted(outer):
                self._shapes[name] = entry
            else:
                left_out[outer] = None
        self.left_out = tuple(left_out)
        self._places: dict[str, list[tuple[Any, Any]]] = {}
        for index, place in (metadata.storage_data or {}).items():
            self._places.setdefault(index.fqn, []).append((index, place))

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, name: str) -> Tensor:
        """Put a tensor together from the chunks that the shards hold of it."""
        entry = self._shapes[name]
        whole = torch.empty(entry.size, dtype=entry.properties.dtype)
        covered = 0
        for index, place in self._places.get(name, []):
            chunk = self._read(place, name)
            target = whole
            for axis, start in enumerate(index.offset or ()):
                target = target.narrow(axis, start, chunk.shape[axis])
            target.copy_(chunk)
            covered += chunk.numel()
        if covered != whole.numel():
            raise CheckpointError(
                f"Expected {whole.numel()} values of {name} in {self._folder.name}; "
                f"its shards hold {covered}."
            )
        return whole

    def _read(self, place: Any, name: str) -> Tensor:
        file = self._folder / Path(place.relative_path).name
        if not file.is_file():
            raise WeightsUnavailableError(
                f"Expected the shard {file.name} in {self._folder}; it is not there. Bring all shards of it."
            )
        if place.transform_descriptors:
            raise CheckpointError(
                f"Expected plain shards; those of {self._folder.name} are transformed "
                f"({', '.join(place.transform_descriptors)}). Save them without."
            )
        with file.open("rb") as stream:
            stream.seek(place.offset)
            return load_part(stream.read(place.length), f"{name} in {file.name}")


def _read_metadata(path: Path) -> Metadata:
    try:
        with path.open("rb") as file:
            metadata = _Unpickler(file).load()
    except CheckpointError:
        raise
    except _DAMAGE as error:
        raise CheckpointError(
            f"Expected a list of shards in {path}; it is damaged or something else. Fetch it again."
        ) from error
    if not isinstance(metadata, Metadata):
        raise CheckpointError(f"Expected a list of shards in {path}; it holds something else.")
    return metadata
