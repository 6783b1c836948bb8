"""What can be said of an encoder's shape before it is loaded is what it has then."""

from pathlib import Path
from typing import Any

import pytest
from encoders_factory import TINY_UNET, TINY_VIT, write_encoder

from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import architecture_of, attention_size, load_encoder
from napari_sslmaps.encoders.user_encoders import remember
from napari_sslmaps.errors import EncoderNotFoundError, InvalidOptionError, WeightsUnavailableError


def as_loaded(name: str, given: dict[str, Any]) -> bool:
    loaded = load_encoder(name, device="cpu", precision="float32", **given)
    return architecture_of(name, given) == loaded.spec.architecture


@pytest.mark.parametrize("name", ["mae-histology", "mae-demo", "ijepa-untrained", "dira-untrained"])
def test_a_named_encoder_has_the_listed_shape_with_what_is_corrected(name: str) -> None:
    assert as_loaded(name, {})
    is_unet = name.startswith("dira")
    assert as_loaded(name, {"token_stage": "encoder.layer1"} if is_unet else {"num_heads": 2})


@pytest.mark.parametrize("given", [{}, {"num_heads": 8, "eps": 1e-5}])
def test_a_file_is_looked_into(given: dict[str, Any], tmp_path: Path) -> None:
    assert as_loaded(str(write_encoder(tmp_path / "own.safetensors")), given)


@pytest.mark.parametrize("given", [{}, {"num_heads": 8}, {"normalisation": "unit"}])
def test_a_remembered_file_has_the_corrections_it_was_added_with(
    given: dict[str, Any], tmp_path: Path
) -> None:
    remember(write_encoder(tmp_path / "own.safetensors"), Overrides(num_heads=4), name="liver")
    assert as_loaded("liver", given)
    assert attention_size([architecture_of("liver", given)]) == (2, given.get("num_heads", 4))


def test_what_cannot_be_loaded_has_no_shape(tmp_path: Path) -> None:
    with pytest.raises(EncoderNotFoundError, match="got 'resnet'"):
        architecture_of("resnet")
    with pytest.raises(InvalidOptionError, match="divides the width"):
        architecture_of("mae-untrained", {"num_heads": 7})
    path = write_encoder(tmp_path / "own.safetensors")
    remember(path, name="liver")
    path.unlink()
    with pytest.raises(WeightsUnavailableError):
        architecture_of("liver")


def test_most_blocks_and_heads_are_those_of_the_transformers() -> None:
    assert attention_size([TINY_UNET, TINY_VIT]) == (2, 2)
    assert attention_size([TINY_UNET]) == attention_size([]) == (0, 0)
