"""An encoder that its authors publish: where, of which network, on which terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.encoders.spec import Architecture

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names of the weight file in a repository, the preferred one first; one of them is there."""
DESCRIPTIONS = ("config.json", "preprocessor_config.json")
"""Files beside the weights that say what they are."""


@dataclass(frozen=True, slots=True)
class Published:
    """An encoder that its authors publish.

    Parameters
    ----------
    name
        Name as `load_encoder` takes it.
    method, architecture
        Method and architecture, as its authors state them; once it is here, its files do.
    repository
        Name of the repository on the hub.
    megabytes
        Size of the download, about, in MB (10⁶ bytes).
    licence
        Licence in a few words.
    terms
        Conditions of the licence, in a sentence, and where to read it.
    gated
        Whether its authors ask for a form to be filled in first.
    has_pretext
        Whether the file carries the networks of its pretext task too.
    overrides
        Values that its files leave open, as keywords of `load_encoder`.
    normalisation
        Normalisation that the model card states, until its files do.
    trained
        The resolution that it learned at; of several the one that is used most.
    citation
        Reference that describes it; empty where that is its method's paper.
    tried
        Whether its own files were read here; of the others only files of their layout.
    weights
        Name of its weight file, where that is none of `WEIGHTS`; it has no description beside it then.
    elsewhere
        Address where its authors keep it, if that is not the hub: then it has to be brought by hand.
    """

    name: str
    method: str
    architecture: Architecture
    repository: str
    megabytes: float
    licence: str
    terms: str
    gated: bool = False
    has_pretext: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)
    normalisation: str = "imagenet"
    trained: Resolution | None = None
    citation: str = ""
    tried: bool = True
    weights: str = ""
    elsewhere: str = ""

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names that its weight file can have."""
        return (self.weights,) if self.weights else WEIGHTS

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Names of the files beside it that say what it is, the first of which has to be there."""
        return () if self.weights else DESCRIPTIONS

    @property
    def page(self) -> str:
        """Address of the page that shows it to a reader."""
        return self.elsewhere or f"https://huggingface.co/{self.repository}"


class Terms(NamedTuple):
    """A licence in a few words, and what it asks, in a sentence."""

    licence: str
    terms: str


NON_COMMERCIAL = Terms(
    "CC-BY-NC-4.0",
    "Free for use that is not commercial, with attribution: https://creativecommons.org/licenses/by-nc/4.0",
)
APACHE = Terms("Apache-2.0", "Free for any use, with its notice: https://www.apache.org/licenses/LICENSE-2.0")
