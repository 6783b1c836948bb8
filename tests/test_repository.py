"""What the repository says of itself in several places, said alike in all of them."""

import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

import napari_sslmaps

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def steps_of(workflow: Path) -> list[dict[str, object]]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_runs_can_be_typed(workflow: Path) -> None:
    """Nothing happens there that a person cannot do here: each line is a make target or a script."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in [str(step["run"]).strip() for step in steps_of(workflow) if "run" in step]:
        words = line.removeprefix("sudo ").split()
        if words[0] == "make":
            assert set(words[1:]) <= targets, line
        else:
            script = words[1] if words[0] == "python" else words[0]
            assert script.startswith("scripts/"), line
            assert (ROOT / script).is_file(), line


def test_one_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    assert cited == PROJECT["project"]["version"]


def test_every_fragment_is_of_a_kind_that_the_notes_know() -> None:
    kinds = {kind["directory"] for kind in PROJECT["tool"]["towncrier"]["type"]}
    names = [path.name for path in (ROOT / "changes").glob("*.md")]
    assert [name for name in names if name.split(".")[-2] not in kinds] == []


def test_one_address() -> None:
    """The repository's and the site's addresses of pyproject, wherever else they stand."""
    urls = PROJECT["project"]["urls"]
    home, site = urls["Source"], urls["Documentation"]
    owner_and_name = urlsplit(home).path.strip("/")
    for name in ("mkdocs.yml", "CITATION.cff"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert home in text, name
        assert site in text, name
    assert site in (ROOT / ".github/ISSUE_TEMPLATE/config.yml").read_text(encoding="utf-8")
    rules = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]
    assert all(owner_and_name in rule["replacement"] for rule in rules)


def test_every_public_name_has_its_place_in_the_reference() -> None:
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs/reference").glob("*.md")]
    shown = {
        name for page in pages for name in re.findall(r"^::: napari_sslmaps\.(\w+)$", page, re.MULTILINE)
    }
    assert sorted(shown) == sorted(napari_sslmaps.__all__)


def test_the_map_of_the_source_names_what_is_there() -> None:
    """Every path that ARCHITECTURE names leads to a module or folder; ``NAME`` stands for a new one."""
    source = ROOT / "src"
    known = [f"/{path.relative_to(source).with_suffix('').as_posix()}" for path in source.rglob("*")]
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = {word.rstrip("/") for word in re.findall(r"`([a-z_]+/[a-z_/]*(?:\.py)?)`", text)}
    inside = {name.removesuffix(".py") for name in named if not (ROOT / name).exists()}
    assert len(inside) > 20
    assert [name for name in sorted(inside) if not any(path.endswith(f"/{name}") for path in known)] == []
