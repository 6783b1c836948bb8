"""Batches on a device that computes while the host goes on: pixels go up as stored, what is kept comes down.

The host never waits for the device while it launches a batch; a thread behind it waits. So one batch is
computed while the next is queued, its pixels there already, and the kept tokens of the one before come down
and are stitched. Scaling, the search for flat tokens and the moments are the device's work too: on a fast
one, each of them would take longer on the host than the network takes there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.moments import TokenMoments
from napari_sslmaps.core.preprocess import flat_tokens_of, stored_to_unit
from napari_sslmaps.core.tiling import Tile
from napari_sslmaps.core.tokens import LARGEST_HALF
from napari_sslmaps.encoders.spec import Architecture
from napari_sslmaps.pipeline.assembly import PREFIX, Canvas, Planes, planes_of
from napari_sslmaps.pipeline.batches import Batch, Pixels, check_finite_tokens
from napari_sslmaps.pipeline.reading import TileReader

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sslmaps.encoders.encoder import Encoder
    from napari_sslmaps.encoders.transfers import Transfers


@dataclass(frozen=True, eq=False, slots=True)
class Launched:
    """A batch that the device was asked for: planes of each canvas, there, where they may still be computed.

    Parameters
    ----------
    kept
        Values (M, channels) of the tokens that are kept, tile after tile, by name; ``prefix_attention`` is
        (B, heads).
    bad, count
        Number of token values that are not finite, on the device, and of all.
    computed
        Event that comes when all of it is computed.
    """

    kept: Sequence[dict[str, "Tensor"]]
    bad: Sequence["Tensor"]
    count: Sequence[int]
    computed: Any


class DeviceQueue:
    """Computes batches on a device, and puts them onto canvases.

    Parameters
    ----------
    reader, encoder
        Reader of the tiles, and encoder that computes them.
    canvases
        Canvases of the reader's plan, one for each depth.
    depths
        Depths at which tokens are taken; the encoder's own if none are given.
    transfers
        Copies to and from the encoder's device.
    """

    def __init__(
        self,
        reader: TileReader,
        encoder: "Encoder",
        canvases: Sequence[Canvas],
        depths: Sequence[Architecture],
        transfers: "Transfers",
    ) -> None:
        self._reader, self._encoder, self._depths = reader, encoder, depths
        self._canvases, self._transfers = canvases, transfers
        self._moments = [_DeviceMoments() for _ in canvases]

    def read(self, tile: Tile) -> Pixels:
        """Read what `encode` takes of a tile; safe to call from several threads."""
        return self._reader.read_stored(tile)

    def encode(self, tiles: Batch, stored: Pixels) -> Launched:
        """Ask the device for a batch, without waiting for it."""
        plan = self._reader.plan
        pixels = self._transfers.up(stored)
        unit = pixels if stored.dtype == np.float32 else stored_to_unit(pixels, self._reader.window)
        foreground = (~flat_tokens_of(unit, plan.stride)).float().unsqueeze(-1)
        features = self._encoder.features_at(unit, self._depths)
        kept = self._up_if(self._canvases[0].kept_of(tiles))
        wanted = self._up_if(_wanted_of(tiles, plan.mask))
        found, added = [], []
        for each, canvas in zip(features, self._canvases, strict=True):
            planes = planes_of(each) | {"foreground": foreground}
            rows = {
                name: plane if name == PREFIX else _chosen(plane.flatten(0, 2), kept)
                for name, plane in planes.items()
            }
            added.append(_chosen(rows["tokens"], wanted))
            if canvas.halves(rows["tokens"].shape[-1]):
                rows["tokens"] = rows["tokens"].clamp(-LARGEST_HALF, LARGEST_HALF).half()
            found.append(rows)
        bad = [(~each.tokens.isfinite()).sum() for each in features]
        for canvas, moments, tokens in zip(self._canvases, self._moments, added, strict=True):
            if canvas.takes_moments:  # last: a batch that did not fit comes again
                moments.update(tokens)
        return Launched(found, bad, [each.tokens.numel() for each in features], self._transfers.mark())

    def take_up(self, tiles: Batch, launched: Launched) -> list[Sequence[Planes]]:
        """Wait for a batch, bring it down and put it onto the canvases; return what `Canvas.put` takes again.

        Raises
        ------
        CheckpointError
            If a token is no number.
        """
        shapes = self._canvases[0].shapes_of(tiles)
        names = [(place, name) for place, rows in enumerate(launched.kept) for name in rows]
        wanted = [launched.kept[place][name] for place, name in names]
        values = self._transfers.down([*wanted, *launched.bad], launched.computed)
        for bad, count in zip(values[len(wanted) :], launched.count, strict=True):
            check_finite_tokens(int(bad), count, self._encoder)
        parts: list[list[dict[str, NDArray[Any]]]] = [[{} for _ in tiles] for _ in self._canvases]
        stops = np.cumsum([rows * cols for rows, cols in shapes])
        for (place, name), rows in zip(names, values, strict=False):
            pieces = rows.numpy() if name == PREFIX else np.split(rows.numpy(), stops[:-1])
            for part, piece, shape in zip(parts[place], pieces, shapes, strict=True):
                part[name] = piece.copy() if name == PREFIX else piece.reshape(*shape, -1)
        for canvas, several in zip(self._canvases, parts, strict=True):
            for tile, part in zip(tiles, several, strict=True):
                canvas.place(tile, part)
        return list(parts)

    def finish(self) -> None:
        """Bring down the moments of all that was computed."""
        for canvas, moments in zip(self._canvases, self._moments, strict=True):
            if moments.count:
                canvas.merge(moments.moments())

    def _up_if(self, places: NDArray[np.int64] | None) -> "Tensor | None":
        return None if places is None else self._transfers.up(places)


def _chosen(rows: "Tensor", places: "Tensor | None") -> "Tensor":
    return rows if places is None else rows.index_select(0, places)


def _wanted_of(tiles: Batch, mask: NDArray[np.bool_] | None) -> NDArray[np.int64] | None:
    """Places of the tokens inside the mask among those that tiles keep."""
    if mask is None:
        return None
    inside = [mask[tile.rows.kept, tile.cols.kept].reshape(-1) for tile in tiles]
    return np.flatnonzero(np.concatenate(inside))


class _DeviceMoments:
    """`MomentAccumulator` on the device: sums of a batch in single precision, of all in double."""

    def __init__(self) -> None:
        self.count = 0
        self._shift: Any = None
        self._sum: Any = None
        self._gram: Any = None

    def update(self, tokens: "Tensor") -> None:
        """Add (M, dim) tokens."""
        if not len(tokens):
            return
        if not self.count:
            self._shift = tokens.mean(0)
            self._sum = tokens.new_zeros(tokens.shape[-1]).double()
            self._gram = self._sum.new_zeros(2 * tokens.shape[-1:])
        shifted = tokens - self._shift
        self._sum += shifted.sum(0).double()
        self._gram += (shifted.T @ shifted).double()
        self.count += len(tokens)

    def moments(self) -> TokenMoments:
        """Wait for the device, and return mean and covariance."""
        offset = self._sum / self.count
        covariance = self._gram / self.count - offset.outer(offset)
        return TokenMoments(self.count, (self._shift + offset).cpu().numpy(), covariance.cpu().numpy())
