"""Channels of a file, as it names them, and the choice among them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.whole import whole_number
from napari_sslmaps.errors import ChannelsError, InvalidOptionError
from napari_sslmaps.sources.base import Contents, ImageLayout, SourceBase, SpacingYX
from napari_sslmaps.sources.protocol import ImageSource

Channel = int | str
ChannelChoice = Channel | Sequence[Channel] | None
_RED_GREEN_BLUE = (("FF0000", "00FF00", "0000FF"), ("RED", "GREEN", "BLUE"), ("R", "G", "B"))
_SAYS_NOTHING = re.compile(r"|\d+|#?[0-9a-f]{6}|(channel|ch|c)?[\s:_-]*\d+([\s:_-]+\d+)*", re.IGNORECASE)
"""Names that a program numbered: ``2``, ``Channel 2``, ``Channel:0:2``, ``C:2``, or a colour."""


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """Facts that a file has on its channels.

    Parameters
    ----------
    names
        Names of the channels, empty where one has none; or nothing at all.
    colours
        Colours that channels are shown in, as six hexadecimal digits; or nothing at all.
    colours_first
        Whether the file says that the first three are red, green and blue, whatever follows.
    """

    names: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    colours_first: bool = False

    def are_red_green_blue(self, dtype: np.dtype[Any]) -> bool:
        """Whether three channels are a colour image: bytes, or so named, and nothing said against it."""
        said = tuple(name.strip().upper() for name in self.names)
        if said in _RED_GREEN_BLUE[1:]:
            return True
        named = any(not _SAYS_NOTHING.fullmatch(name) for name in said)
        stained = bool(self.colours) and tuple(map(str.upper, self.colours)) != _RED_GREEN_BLUE[0]
        return dtype == np.uint8 and not named and not stained

    def described(self, count: int) -> tuple[str, ...]:
        """Return number and name of each of `count` channels."""
        names = self.names if len(self.names) == count else ("",) * count
        return tuple(f"{number} {name.strip()}".strip() for number, name in enumerate(names))


def chosen_channels(choice: ChannelChoice) -> tuple[Channel, ...]:
    """Return a choice of channels as a tuple, numbers as numbers; empty where none is asked for.

    Parameters
    ----------
    choice
        A number from 0, a name, or up to three of them.

    Raises
    ------
    InvalidOptionError
        If there are more than three, or one is neither.
    """
    if choice is None:
        return ()
    several: list[Any]
    try:
        several = [choice] if isinstance(choice, str) else list(choice)  # type: ignore[arg-type]  # a number is none
    except TypeError:
        several = [choice]
    picked = [each if isinstance(each, str) else whole_number(each) for each in several]
    known = tuple(each for each in picked if each is not None)
    if len(known) < len(picked):
        raise InvalidOptionError(
            f"Expected a channel as its number, from 0, or its name, or a list of them; got {choice!r}."
        )
    if len(several) > 3:
        raise InvalidOptionError(
            f"Expected one channel, or up to three to show as red, green and blue; got {len(several)}."
        )
    return known


def pick_channels(choice: ChannelChoice, facts: ChannelFacts, count: int, name: str) -> tuple[int, ...]:
    """Return the numbers of the channels that are asked for.

    Raises
    ------
    InvalidOptionError
        If the image `name` has no such channel.
    """
    lowered = [known.strip().lower() for known in facts.names]
    picked = []
    for wanted in chosen_channels(choice):
        text = str(wanted).strip().lower()
        number = lowered.index(text) if text in lowered else int(text) if text.isdecimal() else -1
        if not 0 <= number < count:
            raise InvalidOptionError(
                f"Expected channels among {', '.join(facts.described(count))} of {name}; got {wanted!r}."
            )
        picked.append(number)
    return tuple(picked)


COLOURS = ChannelFacts(("red", "green", "blue"))


def _facts_of(source: ImageSource) -> ChannelFacts:
    return COLOURS if source.channels == 3 else ChannelFacts()


class _OfColours(SourceBase):
    """Some channels of a colour image, whose source has no choice of its own."""

    def __init__(self, source: ImageSource, picked: tuple[int, ...]) -> None:
        self._source, self._picked = source, picked
        layout = ImageLayout(
            source.levels,
            3 if len(picked) > 1 else 1,
            source.dtype,
            source.frames,
            source.spacing_um_yx,
            window=getattr(source, "window", None),
            aspect_yx=getattr(source, "aspect_yx", (1.0, 1.0)),
            notes=tuple(getattr(source, "notes", ())),
            contents=replace(
                getattr(source, "contents", Contents()),
                channels=_facts_of(source).described(source.channels),
                picked=picked,
            ),
        )
        super().__init__(source.name, layout)

    def spacing_at(self, point_yx: tuple[float, float], frame: int) -> SpacingYX:
        """Micrometres per pixel at a point of level 0."""
        at = getattr(self._source, "spacing_at", None)
        spacing: SpacingYX = self.spacing_um_yx if at is None else at(point_yx, frame)
        return spacing

    def _decode(self, region: Region) -> NDArray[Any]:
        pixels = self._source.read(region)
        stored = pixels[..., None] if pixels.ndim == 2 else pixels
        chosen = stored[..., list(self._picked)]
        return filled(chosen) if self.channels == 3 else np.ascontiguousarray(chosen[..., 0])

    def _release(self) -> None:
        self._source.close()


def of_colours(source: ImageSource, channel: ChannelChoice) -> ImageSource:
    """Return an image of some channels of a grey or RGB one; the same where none is asked for.

    Raises
    ------
    InvalidOptionError
        If there is no such channel.
    """
    if channel is None:
        return source
    try:
        picked = pick_channels(channel, _facts_of(source), source.channels, source.name)
    except InvalidOptionError:
        source.close()
        raise
    return _OfColours(source, picked)


def filled(colours: NDArray[Any]) -> NDArray[Any]:
    """Return (height, width, 3) of two or three channels; a blue that nobody asked for is 0."""
    missing = 3 - colours.shape[-1]
    return np.ascontiguousarray(np.pad(colours, ((0, 0), (0, 0), (0, missing))) if missing else colours)


def ask_for_channels(facts: ChannelFacts, count: int, said: str, name: str) -> ChannelsError:
    """Return the error that says which channels an image has, and how to choose."""
    described = facts.described(count)
    return ChannelsError(
        f"Expected grey or RGB pixels in {name}; got {said}. Choose a channel by number or name, or up to "
        f"three to show as red, green and blue, with channel=… or --channel: {', '.join(described)}.",
        described,
    )


def omero_facts(attributes: Mapping[str, Any]) -> ChannelFacts:
    """Understand the ``omero`` section of OME-Zarr's attributes."""
    section = attributes.get("omero")
    said = section.get("channels") if isinstance(section, Mapping) else None
    if not isinstance(said, list) or not all(isinstance(channel, Mapping) for channel in said):
        return ChannelFacts()
    colours = tuple(str(channel.get("color", "")).lstrip("#")[:6] for channel in said)
    return ChannelFacts(
        tuple(str(channel.get("label", "")) for channel in said), colours if all(colours) else ()
    )


def ome_facts(pixels: Mapping[str, Any]) -> ChannelFacts:
    """Understand the Pixels element of OME-XML, as tifffile gives it."""
    said = pixels.get("Channel", ())
    channels = [said] if isinstance(said, Mapping) else list(said)
    colours = tuple(_hexadecimal(channel.get("Color")) for channel in channels)
    names = tuple(str(channel.get("Name", "")) for channel in channels)
    return ChannelFacts(names, colours if channels and all(colours) else ())


def _hexadecimal(rgba: Any) -> str:
    """Six digits of OME's colour, a signed number of 32 bits."""
    try:
        return f"{(int(rgba) & 0xFFFFFFFF) >> 8:06X}"
    except (TypeError, ValueError):
        return ""


def qptiff_facts(descriptions: Sequence[str]) -> ChannelFacts:
    """Understand the descriptions of a QPTIFF's pages: the biomarker, else the name of the filter."""
    names = []
    for text in descriptions:
        found = [re.search(rf"<{tag}>([^<]*)</{tag}>", text) for tag in ("Biomarker", "Name")]
        names.append(next((match[1].strip() for match in found if match and match[1].strip()), ""))
    return ChannelFacts(tuple(names)) if any(names) else ChannelFacts()


def imagej_facts(metadata: Mapping[str, Any], count: int) -> ChannelFacts:
    """Understand ImageJ's labels of slices, where there is one for each channel of a page."""
    labels = metadata.get("Labels")
    said = tuple(str(label) for label in labels[:count]) if isinstance(labels, list | tuple) else ()
    return ChannelFacts(said if len(said) == count else ())
