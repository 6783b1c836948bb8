"""Model cards, in Markdown, without importing torch; and what those of embedded encoders say as data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from napari_sslmaps.core.resolution import in_words
from napari_sslmaps.encoders.catalog import CONTROLS
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.published.entry import Published
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import WeightsUnavailableError

_FACTS = "\n<!-- facts "
_FACTS_END = " -->\n"
_CONTROL = """# {name}

**It is not trained.** It is a control: a network for {title}, with the weights its training starts from.

Maps of untrained networks can look as anatomical as those of trained ones, because colour and position pass
through random weights. Run it beside `{twin}`: what both show need not have been learned.

| | |
|---|---|
| architecture | {architecture} |
| weights | drawn from seed 0 each time it is loaded, by the code that pretraining begins with |
| in the package | no file; its SHA-256 is that of the drawn tensors |
| repeats | bit for bit with one version of torch on one kind of processor |
| input | normalisation `{normalisation}` |

## Limits

One draw of many: how far untrained networks differ from each other is in the scores of the trained encoders'
cards, which have several.

## Licence

{licence}. Method: {citation}.
"""
_FILE = """# {name}

**Nothing is known of what it learned.** It comes from a file of yours, which carries no scores. Compare its
maps with those of an untrained control before you read anything into them.

| | |
|---|---|
| recognised as | {title}: it {objective} |
| architecture | {architecture} |
| input | normalisation `{normalisation}` |
| file | `{path}`, {megabytes:.1f} MB |
| SHA-256 | `{sha256}` |
| licence | {licence} |

{own}
Attention: {attention}.
Method: {citation}.
"""
_PUBLISHED = """# {name}

**It is as its authors published it.** Its page says which images it was trained on; it carries no scores
here. Compare its maps with those of an untrained control before you read anything into them.

| | |
|---|---|
| method | {title}: it {objective} |
| architecture | {architecture} |
| input | normalisation `{normalisation}` |
| published at | {page} |
| here | {place} |
| its pretext task | {pretext} |

Attention: {attention}.
Method: {citation}.{own}

## Licence

{licence}. {terms}.
"""


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Findings on the worth of an encoder, and the words for it in window, list and card.

    Parameters
    ----------
    beats_simulated
        Whether it beat its controls on simulated images.
    real_sets
        The sets of real images that it was judged on: name, and what is on how many images.
    ahead_on
        Names of the sets among them on which it beat its controls.
    """

    beats_simulated: bool
    real_sets: Mapping[str, str] = field(default_factory=dict)
    ahead_on: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """The verdict in as many words as fit beside a name."""
        if not self.real_sets:
            return f"simulated: {'beats' if self.beats_simulated else 'does not beat'} controls"
        return f"ahead on {len(self.ahead_on)}/{len(self.real_sets)} sets"

    @property
    def label(self) -> str:
        """The verdict in a clause, which begins with *It*."""
        if not self.real_sets:
            return "It beats its controls" if self.beats_simulated else "It does not beat its controls"
        if not self.ahead_on:
            return f"It does not beat its controls on real images ({self._counted} sets)"
        return f"It beats its controls on {self._counted} sets of real images"

    @property
    def explained(self) -> str:
        """What was tested on real images, on which, and against what."""
        found = "; ".join(self.real_sets[name] for name in self.ahead_on) or "none"
        sets = "; ".join(self.real_sets.values())
        return (
            "Tested: of a click on a structure, how well the map of similarity finds the rest of it, as "
            f"experts drew it. On: {sets}. Against: the same network untrained, colour, pixels and position. "
            f"It has to be clearly better than each of them; it is on: {found}. Distance from the anchor "
            "alone, which Compare adds, is not among them."
        )

    @property
    def _counted(self) -> str:
        return f"{len(self.ahead_on)} of {len(self.real_sets)}"

    def written(self) -> str:
        """Return the last line of a card, which no reader of Markdown shows."""
        return f"{_FACTS}{json.dumps(asdict(self))}{_FACTS_END}"


def facts_of(spec: EncoderSpec) -> CardFacts | None:
    """Return what the card of an embedded encoder says as data; None where there is no such card."""
    if spec.origin != "embedded" or spec.path is None or not spec.path.with_suffix(".md").is_file():
        return None
    written = spec.path.with_suffix(".md").read_text(encoding="utf-8").partition(_FACTS)[2]
    if not written:
        return None
    found = json.loads(written.removesuffix(_FACTS_END))
    return CardFacts(bool(found["beats_simulated"]), dict(found["real_sets"]), tuple(found["ahead_on"]))


def card_of(spec: EncoderSpec, *, doubts: Sequence[str] = ()) -> str:
    """Return the model card of an encoder; of an alias, the card of what it stands for.

    Parameters
    ----------
    spec
        The encoder as it is listed.
    doubts
        Sentences on what the recognition report of a user's file doubted.

    Returns
    -------
    str
        Markdown. The first paragraph begins with the verdict in bold: whether it beat its controls.

    Raises
    ------
    WeightsUnavailableError
        If the installation has lost the card.
    """
    if spec.origin == "embedded" and spec.path is not None:
        path = spec.path.with_suffix(".md")
        if not path.is_file():
            raise WeightsUnavailableError(
                f"The model card of {spec.name} is missing from the installation ({path}). "
                "Install napari-sslmaps again."
            )
        return path.read_text(encoding="utf-8").partition(_FACTS)[0]
    info = METHODS[spec.method]
    facts = {
        "name": spec.name,
        "title": info.title,
        "objective": info.objective,
        "architecture": spec.architecture.summary,
        "normalisation": spec.normalisation,
        "licence": spec.licence,
        "citation": info.citation,
        "attention": info.attention_note,
    }
    if spec.origin == "control":
        return _CONTROL.format(**facts, twin=CONTROLS[spec.name])
    if spec.origin == "published":
        return _published_card(spec, facts)
    known = spec.sha256 or "not computed"
    own = _own_words(spec, doubts)
    return _FILE.format(**facts, path=spec.path, megabytes=spec.megabytes, sha256=known, own=own)


def _published_card(spec: EncoderSpec, facts: Mapping[str, str]) -> str:
    entry = PUBLISHED[spec.name]
    return _PUBLISHED.format(
        **facts,
        page=entry.page,
        place=f"`{spec.path}`" if spec.path else f"not downloaded; about {entry.megabytes:.0f} MB",
        pretext="its networks come with the file" if entry.has_pretext else "the file has the encoder alone",
        terms=entry.terms,
        own=_own_facts(entry),
    )


def _own_facts(entry: Published) -> str:
    """Say where an encoder itself is described, what it learned at, and whether its files were tried."""
    facts = [f"Encoder: {entry.citation}."] if entry.citation else []
    if entry.trained is not None:
        facts.append(f"It learned at {in_words(entry.trained)}; --resolution trained reads images at that.")
    if not entry.tried:
        facts.append(
            "Its own files were not tried here, only files of their layout: read its recognition report."
        )
    return "".join(f"\n{fact}" for fact in facts)


def _own_words(spec: EncoderSpec, doubts: Sequence[str]) -> str:
    """Say what its user corrected and what its report doubted."""
    given = ", ".join(f"{name} = {value}" for name, value in spec.overrides.items())
    parts = [f"Corrected by you: {given}.\n"] if given else []
    parts += ["## Doubts\n", *(f"- {doubt}" for doubt in doubts), ""] if doubts else []
    return "\n".join(parts)


def verdict_of(card: str) -> tuple[str, str]:
    """Return a card's verdict.

    Returns
    -------
    label, paragraph
        Bold words at its beginning, and the whole paragraph, without Markdown's signs; empty if a card has
        none.
    """
    for paragraph in card.split("\n\n"):
        if paragraph.startswith("**"):
            label = paragraph[2:].partition("**")[0]
            return label, " ".join(paragraph.replace("**", "").split())
    return "", ""
