from pathlib import Path

import pytest

from napari_sslmaps.encoders.catalog import EMBEDDED
from napari_sslmaps.encoders.header import read_header
from napari_sslmaps.errors import RecordError
from napari_sslmaps.files import hash_path
from napari_sslmaps.lab.gate import gate
from napari_sslmaps.lab.gate.cards import render_card
from napari_sslmaps.lab.gate.gate import judge, protocol
from napari_sslmaps.lab.gate.real import real_book
from napari_sslmaps.lab.gate.real_tables import both_overviews
from napari_sslmaps.lab.gate.results import Book, rounded
from napari_sslmaps.lab.gate.tables import BEGIN, END, overview_table, replace_generated
from napari_sslmaps.lab.gate.verdict import label, verdict

from .conftest import write_weights

ROOT = Path(__file__).resolve().parents[3]
WEIGHTS = ROOT / "src/napari_sslmaps/encoders/weights"
BOOK = Book(ROOT / "docs/data/encoders.json")
REAL = real_book(ROOT / "docs/data/real.json")


RECIPE = {
    "name": "my-mae",
    "steps": 3,
    "data": {"source": "simulated:histology", "seed": 2025},
    "options": {"mask_ratio": 0.75},
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A weight file with additional provenance, and its result."""
    folder = tmp_path_factory.mktemp("judged")
    weights = write_weights(
        folder / "run.safetensors",
        minutes=3.5,
        device="CPU",
        brand_new_field={"a": 1, "b": [2, 3]},
        recipe=RECIPE,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "COUNTS", {"train": 4, "validation": 4, "test": 5})
        patch.setattr(gate, "CONTROL_SEEDS", (0, 1))
        result = judge("mae-histology", [weights], Book(folder / "encoders.json"), date="2026-01-01")
    return weights, result


def test_a_card_has_the_verdict_in_its_first_paragraph(judged):
    weights, result = judged
    card = render_card("mae-histology", read_header(weights), result)
    title, first, *_ = card.split("\n\n")
    assert title == "# mae-histology"
    assert first == verdict(result)
    assert first.startswith("**It does not beat its controls**")


def test_a_card_says_everything(judged):
    weights, result = judged
    card = render_card("mae-histology", read_header(weights), result)
    for said in (
        hash_path(weights),
        "3 steps of 2 = 6 crops, seed 0",
        "3.5 minutes on CPU",
        "brand new field | a 1, b 2, 3",
        "untrained, 2 seeds",
        "raw pixels",
        "position in the image alone",
        "consulted once",
        "no clinical meaning",
        "± 0.",
        "BSD-3-Clause",
        "block 1",
        "with the recipe `my-mae`",
        "- recipe: steps 3\n- data: source simulated:histology, seed 2025\n- options: mask_ratio 0.75",
    ):
        assert said in card
    assert not [line for line in card.splitlines() if line.startswith("| ") and "None" in line]


def test_the_patent_note_is_in_dira_s_card(judged):
    weights, result = judged
    assert "patent" in render_card("dira-histology", {**read_header(weights), "method": "dira"}, result)


def test_a_file_of_unknown_origin_gets_no_card(judged):
    weights, result = judged
    with pytest.raises(RecordError, match="lacks objective, data, steps, batch, seed"):
        render_card("mae-histology", {**read_header(weights), "provenance": {}}, result)


def test_the_overview_has_a_row_per_encoder_with_its_verdict(judged):
    _, result = judged
    other = {**result, "domain": "ultrasound", "failed": []}
    table = overview_table({"mae-ultrasound": other, "mae-histology": result}).splitlines()
    assert [line.split("|")[1].strip() for line in table[2:]] == ["`mae-histology`", "`mae-ultrasound`"]
    assert label(result) in table[2]
    assert "beats its controls" in table[3]
    assert {line.count("|") for line in table} == {7}


def test_only_the_generated_part_of_a_page_is_replaced():
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = replace_generated(page, "new")
    assert once == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert replace_generated(once, "new") == once


# What is committed must be what the code makes of the committed data and weights.


def test_what_is_published_is_what_is_embedded():
    assert set(BOOK.names) in ({*EMBEDDED}, set())
    assert set(REAL.names) == set(BOOK.names)


@pytest.mark.parametrize("name", BOOK.names)
def test_a_published_result_is_of_the_embedded_file(name):
    assert BOOK[name]["sha256"] == hash_path(WEIGHTS / f"{name}.safetensors") == REAL[name]["sha256"]
    assert BOOK[name]["bytes"] == (WEIGHTS / f"{name}.safetensors").stat().st_size


@pytest.mark.parametrize("name", BOOK.names)
def test_a_published_result_is_by_today_s_protocol_and_simulator(name):
    then, now = dict(BOOK[name]["protocol"]), rounded(protocol(BOOK[name]["domain"]))
    # another processor may round a few pixels otherwise; another simulator draws other images
    assert then.pop("brightness") == pytest.approx(now.pop("brightness"), abs=0.0021)
    assert then == now


@pytest.mark.parametrize("name", BOOK.names)
def test_a_committed_card_is_rendered_from_header_and_result(name):
    expected = render_card(name, read_header(WEIGHTS / f"{name}.safetensors"), BOOK[name], REAL[name])
    assert (WEIGHTS / f"{name}.md").read_text(encoding="utf-8") == expected


def test_the_committed_table_is_rendered_from_the_results():
    page = (ROOT / "docs/encoders.md").read_text(encoding="utf-8")
    if BOOK.names:
        simulated, real = ({name: book[name] for name in book.names} for book in (BOOK, REAL))
        assert page == replace_generated(page, both_overviews(simulated, real))
    assert BEGIN in page
    assert END in page
