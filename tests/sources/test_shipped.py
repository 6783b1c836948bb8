"""Every image that pydicom and scikit-image ship, against independent decoders."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pydicom
import pytest
import skimage

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_shipped_images.py"
AGREE = ("identical", "identical but for rounding", "of more bits than theirs", "refused by all")
"""What no decoder here contradicts."""
KNOWN = {
    "badVR.dcm": "its number of frames is 1A",
}


@pytest.fixture(scope="module")
def comparison() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_shipped_images", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("package", [pydicom, skimage])
def test_what_packages_ship_is_read_as_others_read_it(package: ModuleType, comparison: ModuleType) -> None:
    folder = Path(package.__file__ or "").parent
    found = {path.name: comparison.verdict(path) for path in comparison.images_below([folder])}
    assert len(found) > 10
    wrong = {name: said for name, said in found.items() if said[0] not in AGREE and name not in KNOWN}
    assert not wrong
