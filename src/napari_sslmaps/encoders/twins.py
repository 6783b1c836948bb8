"""The untrained twin of any encoder: what its architecture gives without any training."""

from dataclasses import replace

from napari_sslmaps.encoders.baselines import twin_name
from napari_sslmaps.encoders.catalog import CONTROLS
from napari_sslmaps.encoders.control import draw_control, hash_weights
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.header import read_header, starting_gain
from napari_sslmaps.encoders.registry import weights_path
from napari_sslmaps.errors import InvalidOptionError


def untrained_twin(encoder: Encoder) -> Encoder:
    """Return an encoder of the same architecture with the weights its method's training starts from.

    Of an embedded encoder it is the control that the catalog lists; of any other, the user's own or a
    published one, it is drawn the same way, from the same seed.

    Parameters
    ----------
    encoder
        Loaded; its twin gets the same preprocessing, device and precision.

    Returns
    -------
    Encoder
        Its `spec` has origin ``control``, a name that ends in ``-untrained`` and the hash of the drawn
        weights.

    Raises
    ------
    InvalidOptionError
        If the encoder is itself untrained.
    """
    spec = encoder.spec
    if spec.origin == "control":
        raise InvalidOptionError(f"Expected a trained encoder; {spec.name} is itself an untrained control.")
    name = twin_name(spec.name)
    bare = replace(
        spec, name=name, origin="control", path=None, domain="", alias_of="", overrides={}, trouble=""
    )
    checkpoint = draw_control(bare, patch_gain=_recorded_gain(name))
    drawn = replace(bare, sha256=hash_weights(checkpoint.network))
    network = checkpoint.network.to(encoder.device)
    extractor = type(encoder.extractor)(network)  # type: ignore[call-arg]  # families wrap one network each
    return Encoder(drawn, checkpoint.report, extractor, encoder.device, encoder.precision)


def _recorded_gain(name: str) -> float | None:
    """Return what a listed twin's training multiplied the patch embedding by; None for the method's own."""
    trained = CONTROLS.get(name)
    return None if trained is None else starting_gain(read_header(weights_path(trained)))
