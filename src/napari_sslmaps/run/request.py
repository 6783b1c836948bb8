"""Requests for runs, and the image that their anchors lie in."""

from dataclasses import dataclass, field

from napari_sslmaps.core.grid import Points
from napari_sslmaps.core.region import Region
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.pca import ComponentBasis
from napari_sslmaps.records.run import MaskRecord, RunOptions


@dataclass(frozen=True, slots=True)
class Reference:
    """Another image, whose tokens under the anchors are looked for.

    Parameters
    ----------
    image, region, mask
        Image, region and mask, as in `RunRequest`.
    """

    image: str
    region: Region | None = None
    mask: MaskRecord | None = None


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Request for maps of one image by several encoders.

    Parameters
    ----------
    image
        A path, or ``sample:histology``, ``sample:ultrasound``.
    encoders
        Encoders to compare, at least one.
    anchors, negative
        (row, column) pixels of level 0; without anchors there is no similarity map.
    region
        Region to embed; None for the whole image.
    options
        Options of tokens and maps.
    groups
        Named groups of anchors: each gives a similarity map, and all of them a map of labels.
    bases
        PCA bases that are applied to the encoders they belong to, instead of a fit.
    mask
        File that says which tokens are wanted; None for all, or for what ``options.mask`` finds.
    reference
        Image that all anchors lie in; None if it is the image itself.
    anonymous
        Whether files are called by numbers, and text around an ultrasound sector is left out of figures.
    """

    image: str
    encoders: tuple[EncoderChoice, ...]
    anchors: Points = ()
    negative: Points = ()
    region: Region | None = None
    options: RunOptions = field(default_factory=RunOptions)
    groups: tuple[AnchorGroup, ...] = ()
    bases: tuple[ComponentBasis, ...] = ()
    mask: MaskRecord | None = None
    reference: Reference | None = None
    anonymous: bool = False
