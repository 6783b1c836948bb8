import subprocess
import sys

import numpy as np
import pytest
import torch
from encoders_factory import write_encoder

from napari_sslmaps.encoders.catalog import CONTROLS
from napari_sslmaps.encoders.controls import Control, controls_of
from napari_sslmaps.encoders.registry import get_spec, load_encoder
from napari_sslmaps.encoders.untrained import untrained_twin
from napari_sslmaps.errors import InvalidOptionError

KINDS = ["untrained", "constant", "position", "pixels", "colour"]


def loaded(name):
    return load_encoder(name, device="cpu", precision="float32")


@pytest.mark.parametrize(("control", "trained"), CONTROLS.items())
def test_an_embedded_encoder_s_twin_is_the_listed_control(control, trained):
    twin, listed = untrained_twin(loaded(trained)), loaded(control)
    assert (twin.spec.name, twin.spec.sha256) == (control, listed.spec.sha256)
    assert controls_of(get_spec(trained))[0].name == control


@pytest.mark.parametrize("method", ["mae", "ijepa", "dino", "dinov2", "dinov3", "dira"])
def test_a_user_s_own_encoder_gets_an_untrained_twin(tmp_path, method):
    own = loaded(write_encoder(tmp_path / "own.safetensors", method, seed=1))
    twin = untrained_twin(own)
    tiles = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)
    assert twin.spec.name == "own-untrained"
    assert twin.spec.origin == "control"
    assert twin.spec.architecture == own.spec.architecture
    assert twin.spec.sha256 == untrained_twin(own).spec.sha256 != own.spec.sha256
    tokens, other = twin.encode(tiles).tokens, own.encode(tiles).tokens
    assert tokens.shape == other.shape
    assert not torch.allclose(tokens, other, atol=0.1)
    with pytest.raises(InvalidOptionError, match="itself an untrained control"):
        untrained_twin(twin)


def test_controls_without_a_network_are_shared_by_encoders_of_one_stride():
    mae, ijepa = (controls_of(get_spec(f"{method}-histology")) for method in ("mae", "ijepa"))
    assert [control.kind for control in mae] == KINDS
    assert {control.kind for control in set(mae) & set(ijepa)} == {"position", "pixels", "colour"}
    assert len({control.name for control in (*mae, *ijepa)}) == len(set(mae) | set(ijepa))


def test_a_control_has_no_untrained_twin_and_an_alias_that_of_its_original():
    assert [control.kind for control in controls_of(get_spec("mae-untrained"))] == KINDS[1:]
    assert controls_of(get_spec("mae-demo")) == controls_of(get_spec("mae-histology"))
    assert controls_of(loaded("mae-histology")) == controls_of(get_spec("mae-histology"))


def test_an_unknown_kind_is_refused():
    with pytest.raises(InvalidOptionError, match="got 'random'"):
        Control("random", 8, "", "random")


def test_listing_them_loads_no_torch():
    code = (
        "import sys; from napari_sslmaps.encoders.controls import controls_of; "
        "from napari_sslmaps.encoders.registry import get_spec; "
        "controls_of(get_spec('mae-histology')); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
