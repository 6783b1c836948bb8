"""Places over all images of a store: beside exact search, spread out, up to date, and after a stop."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_sslmaps.batch.store import Output, write_output
from napari_sslmaps.cli import main
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.errors import Cancelled, InvalidAnchorError, InvalidOptionError
from napari_sslmaps.pipeline.masks import mask_hash
from napari_sslmaps.search import index as indexing
from napari_sslmaps.search.index import Manifest, build_index, index_folder
from napari_sslmaps.search.query import Like, TokenIndex

DIM, STRIDE = 24, 8
ENCODER = "mae-histology"


def tokens_of(seed, rows=12, cols=16):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(6, DIM))
    smooth = rng.integers(0, 6, (rows // 4, cols // 4)).repeat(4, axis=0).repeat(4, axis=1)
    return (3 + centres[smooth] + 0.4 * rng.normal(size=(rows, cols, DIM))).astype(np.float32)


def put(store, name, seed, key="k", masked=False, block=""):
    tokens = tokens_of(seed)
    if masked:
        tokens[:4] = np.nan
    rows, cols, _ = tokens.shape
    region = Region(0, 0, rows * STRIDE, cols * STRIDE)
    path = store.parent / "images" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*region.shape_yx, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    sha = mask_hash(np.isfinite(tokens[..., 0]))
    provenance = Provenance(encoder=ENCODER, region=region, mask_sha256=sha, token_block=block)
    embedding = Embedding(tokens, TokenGrid.covering(region, STRIDE), provenance)
    row = {"name": name, "image": path.name}
    unfinished = store / ".unfinished"
    unfinished.mkdir(parents=True, exist_ok=True)
    write_output(
        store / ENCODER / f"{name}.zarr", Output(embedding, {}, None, "float16", key, row), unfinished
    )
    unfinished.rmdir() if not any(unfinished.iterdir()) else None
    return tokens


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    for number in range(8):
        put(folder, f"case{number}", number)
    return folder


def exact(store, vector, manifest, alive=None):
    """All tokens of all images, most alike first: (similarity, name, row, col)."""
    found = []
    for number in alive or range(8):
        tokens = tokens_of(number).astype(np.float16).astype(np.float32)
        unit = manifest.prepared(tokens.reshape(-1, DIM))
        for at, score in enumerate(unit @ vector):
            found.append((float(score), f"case{number}", *divmod(at, tokens.shape[1])))
    return sorted(found, reverse=True)


def test_places_are_those_of_exact_search(store):
    report = build_index(store)
    assert (report.added, report.kept, report.dropped, report.tokens) == (8, 0, 0, 8 * 192)
    opened = TokenIndex(store)
    recalls = []
    for y, x in ((20, 20), (50, 90), (80, 10)):
        vector = opened.vector([Like("case0", (y, x))])
        places = opened.search(vector, 50, apart=0.0, per_image=1000)
        wanted = {
            (name, 8 * row + 3.5, 8 * col + 3.5)
            for _, name, row, col in exact(store, vector, opened.manifest)[:50]
        }
        recalls.append(len(wanted & {(one.name, one.y, one.x) for one in places}) / 50)
        assert [one.similarity for one in places] == sorted((one.similarity for one in places), reverse=True)
        first = places[0]
        assert (first.name, first.similarity) == ("case0", pytest.approx(1.0, abs=0.02))
    assert np.mean(recalls) >= 0.95


def test_places_are_not_crowded_in_one(store):
    build_index(store)
    opened = TokenIndex(store)
    places = opened.search(opened.vector([Like("case0", (20, 20))]), 12, apart=40.0, per_image=2)
    assert len(places) == 12
    for name in {one.name for one in places}:
        own = [one for one in places if one.name == name]
        assert len(own) <= 2
        assert all(np.hypot(a.y - b.y, a.x - b.x) >= 40 for a in own for b in own if a is not b)


def test_an_index_follows_its_store(store):
    build_index(store)
    put(store, "case8", 8)
    put(store, "case1", 21, key="other")
    gone = store / ENCODER / "case2.zarr"
    gone.rename(store.parent / "gone.zarr")
    report = build_index(store)
    assert (report.added, report.kept, report.dropped) == (2, 6, 2)
    opened = TokenIndex(store)
    places = opened.search(opened.vector([Like("case8", (20, 20))]), 400, apart=0.0, per_image=1000)
    names = {one.name for one in places}
    assert "case2" not in names
    assert "case8" in names
    assert build_index(store).added == 0
    for number in (3, 4, 5):
        (store / ENCODER / f"case{number}.zarr").rename(store.parent / f"gone{number}.zarr")
    report = build_index(store)
    assert (report.added, report.dropped) == (5, 0)  # made anew, with nothing to carry along


def test_tokens_of_different_blocks_are_not_searched_together(store):
    build_index(store)
    opened = TokenIndex(store)
    put(store, "case1", 1, key="other", block="block 3")
    with pytest.raises(InvalidOptionError, match=r"as it was indexed.*napari-sslmaps index"):
        opened.vector([Like("case1", (20, 20))])
    with pytest.raises(
        InvalidOptionError, match=r"own block of weights unknown in 7; block 3 of weights unknown in 1"
    ):
        build_index(store)
    for number in range(8):
        put(store, f"case{number}", number, key="other", block="block 3")
    assert build_index(store).added == 8
    opened = TokenIndex(store)
    assert opened.search(opened.vector([Like("case1", (20, 20))]), 1)[0].name == "case1"


def test_what_was_finished_before_a_stop_is_kept(store, monkeypatch):
    monkeypatch.setattr(indexing, "_SEGMENT", 300)

    def stop(done, total):
        if done == 5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        build_index(store, on_output=stop)
    before = Manifest.read(index_folder(store))
    assert len(before.images) == 4
    report = build_index(store)
    assert (report.added, report.kept) == (4, 4)
    opened = TokenIndex(store)
    vector = opened.vector([Like("case7", (20, 20))])
    wanted = exact(store, vector, opened.manifest)[0]
    assert opened.search(vector, 1)[0].name == wanted[1]


def test_rectangles_several_places_and_what_results_should_be_unlike(store):
    build_index(store)
    opened = TokenIndex(store)
    whole = opened.vector([Like("case0", (0, 0), (32, 32))])
    assert whole @ opened.vector([Like("case0", (12, 12))]) > 0.9
    towards, away = Like("case0", (12, 12)), Like("case0", (12, 60))
    vector = opened.vector([towards], [away])
    assert vector @ opened.vector([towards]) > vector @ opened.vector([away])
    assert np.linalg.norm(opened.vector([towards, away])) == pytest.approx(1.0)


def test_tokens_outside_a_mask_are_not_found_and_not_searched(store):
    put(store, "masked", 30, masked=True)
    build_index(store)
    opened = TokenIndex(store)
    places = opened.search(opened.vector([Like("masked", (90, 20))]), 2000, apart=0.0, per_image=1000)
    assert min(one.y for one in places if one.name == "masked") > 4 * STRIDE
    with pytest.raises(InvalidOptionError, match="outside its mask"):
        opened.vector([Like("masked", (3, 3))])


def test_what_cannot_be_asked_is_refused(store, tmp_path):
    with pytest.raises(InvalidOptionError, match="napari-sslmaps index"):
        TokenIndex(store)
    build_index(store)
    opened = TokenIndex(store)
    with pytest.raises(InvalidOptionError, match="such as case0"):
        opened.vector([Like("nothing", (0, 0))])
    with pytest.raises(InvalidAnchorError):
        opened.vector([Like("case0", (999, 0))])
    with pytest.raises(InvalidOptionError, match="image@y,x"):
        Like.parse("case0")
    with pytest.raises(InvalidOptionError, match="batch wrote"):
        build_index(tmp_path / "empty")
    assert Like.parse("a@b.png@3,4,5,6") == Like("a@b.png", (3.0, 4.0), (5.0, 6.0))


def test_index_and_search_from_the_command_line(store, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["index", str(store), "--json"])
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out)["added"] == 8
    out = tmp_path / "found"
    arguments = ["search", str(store), "--like", "case0@20,20", "--count", "10", "-o", str(out), "--json"]
    arguments += ["--images", str(store.parent / "images")]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    places = json.loads(capsys.readouterr().out)["places"]
    assert len(places) == 10
    assert json.loads((out / "places.json").read_text())["places"] == places
    assert Path(out / "places.csv").read_text().count("\n") == 11
    sheet = np.asarray(Image.open(out / "places.png").convert("RGB")).astype(int)
    assert (np.ptp(sheet, axis=2) > 40).mean() > 0.1  # coloured noise, not words on white
    with pytest.raises(SystemExit):
        main(["search", str(store), "--like", "case0@20,20", "-o", str(tmp_path / "bare")])
    assert "--images FOLDER" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "bare" / "places.png").exists()
