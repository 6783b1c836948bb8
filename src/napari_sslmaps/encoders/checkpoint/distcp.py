"""Sharded ``.distcp`` folders of torch.distributed.checkpoint, tensors only, nothing in them run.

torch's own reader unpickles the folder's ``.metadata`` freely; here only the classes that torch itself writes
there are allowed.
"""

import io
import pathlib
import pickle
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from napari_sslmaps.encoders.checkpoint.pickled import load_part
from napari_sslmaps.errors import CheckpointError, WeightsUnavailableError
from napari_sslmaps.files import read_regular

METADATA = ".metadata"
_MOST_BYTES = 500_000_000
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
_DAMAGE = (
    *(pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError),
    *(RuntimeError, ArithmeticError, MemoryError),
)


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
        Folder with ``.metadata`` and the files it names.
    is_wanted
        Function that tells of each outermost name whether it holds weights.

    Raises
    ------
    CheckpointError
        If the metadata are damaged, ask for anything but records, or the shards are compressed.
    """

    def __init__(self, folder: Path, is_wanted: Callable[[str], bool]) -> None:
        self._folder = folder
        metadata = _read_metadata(folder / METADATA)
        self._shapes: dict[str, TensorStorageMetadata] = {}
        self._places: dict[str, list[tuple[Any, Any]]] = {}
        try:
            self._list(metadata, is_wanted)
        except _DAMAGE as error:
            raise CheckpointError(
                f"Expected a list of shards in {folder / METADATA}; it is damaged or something else. "
                "Fetch it again."
            ) from error

    def _list(self, metadata: Metadata, is_wanted: Callable[[str], bool]) -> None:
        left_out: dict[str, None] = {}
        for name, entry in metadata.state_dict_metadata.items():
            outer = name.partition(".")[0]
            if isinstance(entry, TensorStorageMetadata) and is_wanted(outer):
                self._shapes[name] = entry
            else:
                left_out[outer] = None
        self.left_out = tuple(left_out)
        for index, place in (metadata.storage_data or {}).items():
            self._places.setdefault(index.fqn, []).append((index, place))

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, name: str) -> Tensor:
        """Put a tensor together from the chunks that the shards hold of it."""
        try:
            return self._whole(name)
        except _DAMAGE as error:
            raise CheckpointError(
                f"Expected a list of shards that fits them; what {METADATA} in {self._folder.name} says of "
                f"{name} does not ({' '.join(str(error).split())[:120]}). Fetch it again."
            ) from error

    def _whole(self, name: str) -> Tensor:
        entry = self._shapes[name]
        chunks = [(index, self._read(place, name)) for index, place in self._places.get(name, [])]
        wanted, covered = prod(entry.size), sum(chunk.numel() for _, chunk in chunks)
        if covered != wanted:
            raise CheckpointError(
                f"Expected {wanted} values of {name} in {self._folder.name}; its shards hold {covered}."
            )
        whole = torch.empty(entry.size, dtype=entry.properties.dtype)
        for index, chunk in chunks:
            target = whole
            for axis, start in enumerate(index.offset or ()):
                target = target.narrow(axis, start, chunk.shape[axis])
            target.copy_(chunk)
        return whole

    def _read(self, place: Any, name: str) -> Tensor:
        file = self._folder / Path(place.relative_path).name
        if not file.is_file():
            raise WeightsUnavailableError(
                f"Expected the shard {file.name} in {self._folder}; it is not there. Copy all of its shards."
            )
        if place.transform_descriptors:
            raise CheckpointError(
                f"Expected plain shards; those of {self._folder.name} are transformed "
                f"({', '.join(place.transform_descriptors)}). Save them without."
            )
        start, length = int(place.offset), int(place.length)
        if min(start, length) < 0 or start + length > file.stat().st_size:
            raise CheckpointError(
                f"Expected bytes {start} to {start + length} in the shard {file.name}; it has "
                f"{file.stat().st_size}. Fetch it again."
            )
        with file.open("rb") as stream:
            stream.seek(start)
            return load_part(stream.read(length), f"{name} in {file.name}")


def _read_metadata(path: Path) -> Metadata:
    try:
        metadata = _Unpickler(io.BytesIO(read_regular(path, _MOST_BYTES))).load()
    except CheckpointError:
        raise
    except (OSError, *_DAMAGE) as error:
        raise CheckpointError(
            f"Expected a list of shards in {path}; it is damaged or something else. Fetch it again."
        ) from error
    if not isinstance(metadata, Metadata):
        raise CheckpointError(f"Expected a list of shards in {path}; it holds something else.")
    return metadata
