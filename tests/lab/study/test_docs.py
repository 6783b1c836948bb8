"""The page in the docs is what its data say, and nothing else."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("study_page", DOCS / "study_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_renders_from_its_data(maker: ModuleType) -> None:
    page = (DOCS / "study.md").read_text(encoding="utf-8")
    assert maker.rendered(page) == page


def test_the_verdict_is_that_of_the_data(maker: ModuleType) -> None:
    result = json.loads(maker.DATA.read_text(encoding="utf-8"))
    page = (DOCS / "study.md").read_text(encoding="utf-8")
    primary = result["contrasts"][0]
    assert f"{primary['low']:+.3f} to {primary['high']:+.3f}" in page
    assert f"**{primary['verdict']}**" in page
    assert maker.FIGURE.exists()
    assert maker.SCENES.exists()
