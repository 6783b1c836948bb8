"""List of encoders, and those that are ticked as long as nobody has chosen by hand."""

from collections.abc import Sequence

from napari.layers import Image

from napari_sslmaps.core.units import size_text
from napari_sslmaps.encoders.cards import card_of, verdict_of
from napari_sslmaps.encoders.catalog import ALIASES, CONTROLS, EMBEDDED
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.registry import get_spec
from napari_sslmaps.encoders.spec import Domain, EncoderSpec
from napari_sslmaps.errors import SSLMapsError, WeightsUnavailableError
from napari_sslmaps.sources.colour import is_grey
from napari_sslmaps.viewer.canvas.image_layer import LayerSource
from napari_sslmaps.viewer.encoders.library import Library
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

GROUPS = ("Histology", "Ultrasound", "Controls (untrained)", "Your files", "Published")
PUBLISHED_GROUP = GROUPS[-1]
FOLDED = (GROUPS[2], PUBLISHED_GROUP)
"""Sets that are folded away until somebody looks for them."""


class EncoderList:
    """Ticks the encoders that fit the image until a user ticks others.

    Parameters
    ----------
    workspace
        Workspace whose `available` and `chosen` it sets. A change of `chosen` by anybody else is a choice by
        hand, and is kept from then on.
    library
        Library of the user's files and the published encoders.
    """

    def __init__(self, workspace: WorkspaceModel, library: Library) -> None:
        self._workspace = workspace
        self._library = library
        self._by_hand = False
        self._ticking = False
        self._connections = Connections()
        self._connections.add(workspace.events.chosen, self._on_chosen)

    def list_known(self) -> None:
        """List all encoders there are, say which embedded ones are lost, and tick what fits."""
        self.list_again()
        self.tick_fitting()

    def list_again(self, *, ticked: str = "") -> None:
        """List all encoders there are now, tick one more, and untick those that are of no use any more."""
        specs = []
        for name in (*EMBEDDED, *CONTROLS):
            try:
                specs.append(get_spec(name))
            except SSLMapsError as error:
                self._warn(str(error))
        try:
            specs += self._library.remembered(self._warn) + self._library.published()
        except SSLMapsError as error:
            self._warn(str(error))
        workspace = self._workspace
        workspace.available = tuple(specs)
        usable = {spec.name for spec in specs if not spec.trouble} | set(ALIASES)
        chosen = dict.fromkeys((*workspace.chosen, *([ticked] if ticked else [])))
        kept = tuple(name for name in chosen if name in usable)
        if kept != workspace.chosen:
            workspace.chosen = kept

    def _warn(self, text: str) -> None:
        self._workspace.say(text, failed=True)

    def tick_fitting(self) -> None:
        """Tick the set that fits the image, unless a user has chosen."""
        if self._by_hand:
            return
        self._ticking = True
        self._workspace.chosen = fitting(self._workspace.available, domain_for(self._workspace.image))
        self._ticking = False

    def close(self) -> None:
        """Undo the connection."""
        self._connections.undo()

    def _on_chosen(self) -> None:
        self._by_hand = self._by_hand or not self._ticking


def domain_for(image: Image | None) -> Domain:
    """Return ultrasound for a grey image, histology for a coloured one or none."""
    if image is None:
        return "histology"
    return "ultrasound" if not image.rgb or is_grey(LayerSource(image)) else "histology"


def fitting(specs: Sequence[EncoderSpec], domain: Domain) -> tuple[str, ...]:
    """Return the names of the embedded encoders of a domain; of all of them if it has none."""
    embedded = [spec for spec in specs if spec.origin == "embedded" and not spec.alias_of]
    of_domain = [spec for spec in embedded if spec.domain == domain]
    return tuple(spec.name for spec in of_domain or embedded)


def grouped(specs: Sequence[EncoderSpec]) -> list[tuple[str, list[EncoderSpec]]]:
    """Sort encoders into `GROUPS`, empty ones left out, each in the order of the list.

    An embedded encoder whose domain is not known goes to the first group.
    """
    groups: dict[str, list[EncoderSpec]] = {title: [] for title in GROUPS}
    for spec in specs:
        groups[_group(spec)].append(spec)
    return [(title, members) for title, members in groups.items() if members]


def depths_of(specs: Sequence[EncoderSpec]) -> tuple[str, ...]:
    """Return names of the blocks or stages, from the first, that all of these encoders have."""
    places = [spec.architecture.token_places for spec in specs]
    if not places:
        return ()
    count = min(map(len, places))
    alike = {names[:count] for names in places}
    return alike.pop() if len(alike) == 1 else tuple(f"block or stage {place}" for place in range(count))


def verdict(spec: EncoderSpec) -> tuple[str, str]:
    """Return what the encoder's card says of its worth, in a few words and in a sentence."""
    try:
        return verdict_of(card_of(spec))
    except WeightsUnavailableError as error:
        return "", str(error)


def warning_of(spec: EncoderSpec) -> str:
    """Return in a word or two why an encoder cannot be used as it is; empty if it can."""
    if not spec.trouble:
        return ""
    if spec.origin == "published":
        return f"{size_text(PUBLISHED[spec.name].megabytes)} to download"
    return "changed" if spec.path is not None and spec.path.exists() else "moved"


def _group(spec: EncoderSpec) -> str:
    places = {"control": GROUPS[2], "file": GROUPS[3], "published": GROUPS[4]}
    if spec.origin in places:
        return places[spec.origin]
    return GROUPS[1] if spec.domain == "ultrasound" else GROUPS[0]
