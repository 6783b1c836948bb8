"""The Search page's model: an archive is looked into and built, anchors are searched for, places opened."""

from dataclasses import replace
from shutil import rmtree

import numpy as np
import pytest
from napari.components import ViewerModel
from search_kit import KnownSearcher, put
from viewer_kit import known_services, noise

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import MissingExtraError
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.maps import session_files
from napari_sslmaps.viewer.search import jobs
from napari_sslmaps.viewer.search.model import state_text
from napari_sslmaps.viewer.state.tasks import ImmediateRunner
from napari_sslmaps.viewer.state.workspace import Anchor, Group, WorkspaceModel


@pytest.fixture
def searcher(tmp_path) -> KnownSearcher:
    return KnownSearcher(tmp_path)


@pytest.fixture
def page(viewer, workspace, specs, embedder, searcher):
    """A controller whose archive is known, on its page Search."""
    made = controller_of(viewer, workspace, specs, embedder, searcher)
    yield made
    made.close()


def controller_of(viewer, workspace, specs, embedder, searcher) -> Controller:
    services = known_services(embedder, searcher=searcher)
    made = Controller(viewer, workspace, make_runner=ImmediateRunner, services=services)
    workspace.available = specs
    workspace.chosen = (specs[0].name,)
    workspace.task = "search"
    return made


def indexed(page: Controller, searcher: KnownSearcher, tmp_path) -> Controller:
    searcher.indexed = 3
    page.search_page.choose_store(tmp_path)
    return page


def maps_of(viewer: ViewerModel, page: Controller, kind: str) -> list:
    image = page.workspace.image
    return [layer for layer in page.layer_manager.maps_of(image) if layer.metadata[OWN]["kind"] == kind]


def test_an_archive_is_looked_into_and_its_index_built(page, searcher, tmp_path) -> None:
    search, workspace = page.search_page, page.workspace
    assert "a batch wrote" in state_text(search.model)
    search.build()
    assert "Open the folder" in workspace.status.text
    search.choose_store(tmp_path / "nowhere")
    assert workspace.status.failed
    assert search.model.store is None
    search.choose_store(tmp_path)
    assert state_text(search.model) == "No index yet of 3 images by mae-demo. Press Build."
    search.search()
    assert workspace.status.text == "No index yet by mae-demo. Press Build."
    seen = []
    workspace.events.progress.connect(lambda one: seen.append(None if one is None else one.label))
    search.build()
    assert seen == [
        "Learning from a sample of tokens",
        *(f"Indexing image {done} of 3" for done in (1, 2, 3)),
        None,
    ]
    assert state_text(search.model) == "3 images, 240 tokens by mae-demo."
    assert workspace.status.text == "Indexed: 240 tokens of 3 images."
    search.choose_encoder("other")
    assert search.model.state.encoder == "other"
    search.search()
    lacking = "No index yet by other. Press Build, or choose mae-demo, which is indexed."
    assert workspace.status.text == lacking


def test_cancel_stops_building_and_tells_what_is_there(page, searcher, tmp_path) -> None:
    page.search_page.choose_store(tmp_path)

    def stop(progress) -> None:
        if progress is not None and "image 2" in progress.label:
            page.cancel()

    page.workspace.events.progress.connect(stop)
    page.search_page.build()
    assert page.workspace.progress is None
    assert page.workspace.status.text == "Stopped; what is indexed stays so."
    assert not page.workspace.status.failed
    assert state_text(page.search_page.model).endswith("1 more not indexed yet: press Build.")  # of three


def test_the_anchors_of_the_active_group_are_the_question(page, viewer, searcher, tmp_path) -> None:
    search, workspace = page.search_page, page.workspace
    search.search()
    assert "Open the folder" in workspace.status.text
    indexed(page, searcher, tmp_path)
    viewer.add_image(noise(64, 80), name="tissue")
    search.search()
    assert "Set an anchor" in workspace.status.text
    assert not searcher.asked
    workspace.groups = (Group(0), Group(1, "group 2"))
    workspace.anchors = (Anchor((1.0, 2.0)), Anchor((3.0, 4.0), negative=True), Anchor((5.0, 6.0), group=1))
    search.model.count, search.model.per_image, search.model.apart = 2, 1, 30.0
    pictures = []
    search.pictured.connect(lambda number, pixels: pictures.append((number, pixels.shape)))
    search.search()
    archive, question = searcher.asked[0]
    assert (archive.store, archive.encoder) == (tmp_path, "mae-demo")
    assert (question.like, question.unlike) == (((1.0, 2.0),), ((3.0, 4.0),))
    assert (question.count, question.per_image, question.apart) == (2, 1, 30.0)
    assert not question.other_images
    assert question.known is None
    assert [place.name for place in search.model.places] == ["case0", "case1"]
    assert workspace.status.text == "2 places in 2 images."
    assert workspace.progress is None
    assert pictures == [(0, (40, 30, 3)), (1, (40, 30, 3))]
    search.model.count = 3
    search.search()
    assert "1 of 3 places without a picture" in workspace.status.text


def test_an_anchor_embeds_nothing_on_this_page_and_what_is_embedded_is_the_question(
    page, viewer, embedder, searcher, tmp_path
) -> None:
    workspace = page.workspace
    indexed(page, searcher, tmp_path)
    viewer.add_image(noise(64, 80), name="tissue")
    workspace.anchors = (Anchor((10.0, 10.0)),)
    assert not embedder.calls
    page.run()
    page.search_page.search()
    assert searcher.asked[0][1].known.provenance.encoder == "mae-demo"


def test_a_place_is_opened_with_the_map_of_the_archive(page, viewer, embedder, searcher, tmp_path) -> None:
    indexed(page, searcher, tmp_path)
    workspace = page.workspace
    first = viewer.add_image(noise(64, 80), name="tissue")
    workspace.anchors = (Anchor((10.0, 10.0)), Anchor((50.0, 10.0)))
    page.search_page.search()
    page.search_page.open(1)
    assert workspace.image.name.startswith("case1")
    assert workspace.anchors == (Anchor((44.0, 60.0)),)
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], (44, 60))
    (similarity,) = maps_of(viewer, page, "similarity")
    values = np.asarray(page.layer_manager.result_of(similarity).values)
    assert values[:, 5:].min() > values[:, :5].max()
    assert not embedder.calls
    assert workspace.front == "mae-demo"
    layers = len(page.images())
    page.search_page.open(0)
    page.search_page.open(1)  # is open already
    assert len(page.images()) == layers + 1
    workspace.image = first
    assert [anchor.pixel_yx for anchor in workspace.anchors] == [(10.0, 10.0), (50.0, 10.0)]


@pytest.mark.parametrize(
    ("region", "mapped"), [(Region(0, 0, 32, 40, 1), True), (Region(0, 0, 64, 96), False)]
)
def test_a_map_of_tokens_read_at_another_resolution_lies_on_the_image(
    page, viewer, embedder, searcher, tmp_path, region, mapped
) -> None:
    """A batch reads images as its encoder was trained; a file that is smaller now is another one."""
    tokens = searcher.tokens

    def resampled(archive, place):
        found = tokens(archive, place)
        return replace(found, provenance=replace(found.provenance, region=region))

    searcher.tokens = resampled
    indexed(page, searcher, tmp_path)
    viewer.add_image(noise(64, 80), name="tissue")
    page.workspace.anchors = (Anchor((10.0, 10.0)),)
    page.search_page.search()
    page.search_page.open(1)
    assert bool(maps_of(viewer, page, "similarity")) == mapped
    assert ("another size" in page.workspace.status.text) != mapped
    page.workspace.anchors = (Anchor((10.0, 70.0)),)
    assert not embedder.calls


def test_without_its_encoder_a_place_has_no_map_and_a_lost_image_is_told_of(
    page, viewer, searcher, tmp_path
) -> None:
    indexed(page, searcher, tmp_path)
    workspace = page.workspace
    viewer.add_image(noise(64, 80), name="tissue")
    workspace.anchors = (Anchor((10.0, 10.0)),)
    workspace.chosen = ()
    page.search_page.search()
    page.search_page.open(0)
    assert not maps_of(viewer, page, "similarity")
    assert "Tick mae-demo" in workspace.status.text
    page.search_page.open(2)
    assert "Expected case2.png" in workspace.status.text
    assert workspace.status.failed
    assert workspace.image.name.startswith("case0")


@pytest.fixture
def store(tmp_path):
    for number in range(3):
        put(tmp_path / "store", f"case{number}", number, encoder="mae-demo")
    return tmp_path / "store"


@pytest.fixture
def real(viewer, workspace, specs, embedder):
    made = controller_of(viewer, workspace, specs, embedder, jobs.StoreSearcher())
    yield made
    made.close()


def test_from_a_batch_to_a_place_in_another_image(real, viewer, store) -> None:
    search, workspace = real.search_page, real.workspace
    search.choose_store(store)
    search.build()
    assert state_text(search.model) == "3 images, 576 tokens by mae-demo."
    images = store.parent / "images"
    search.choose_images(images)
    for data in jobs.read(str(images / "case0.png")):
        viewer.add_image(data[0], **data[1])
    workspace.anchors = (Anchor((20.0, 20.0)),)
    pictures = {}
    search.pictured.connect(pictures.__setitem__)
    search.search()
    places = search.model.places
    assert {place.name for place in places} == {"case0", "case1", "case2"}
    # what is searched for is not among what is found
    assert all(np.hypot(place.y - 20, place.x - 20) > 24 for place in places if place.name == "case0")
    assert sorted(pictures) == list(range(len(places)))
    assert all(picture.dtype == np.uint8 and picture.shape[-1] == 3 for picture in pictures.values())
    number = next(n for n, place in enumerate(places) if place.name == "case1")
    search.open(number)
    assert workspace.image.name.startswith("case1")
    (similarity,) = maps_of(viewer, real, "similarity")
    values = real.layer_manager.result_of(similarity).values
    at = np.unravel_index(np.argmax(values), values.shape)
    assert at == (int(places[number].y // 8), int(places[number].x // 8))


def test_images_are_found_beside_the_one_that_is_open(real, viewer, store) -> None:
    search, images = real.search_page, store.parent / "images"
    search.choose_store(store)
    search.build()
    path = str(images / "case0.png")
    for data, options, _ in jobs.read(path):
        viewer.add_image(data, **options).metadata["path"] = path
    real.workspace.anchors = (Anchor((20.0, 20.0)),)
    pictures = {}
    search.pictured.connect(pictures.__setitem__)
    search.search()
    assert search.model.images is None
    assert len(pictures) == len(search.model.places) > 0


def test_other_images_alone_are_found_where_that_is_ticked(real, viewer, store) -> None:
    search, images = real.search_page, store.parent / "images"
    search.choose_store(store)
    search.build()
    search.choose_images(images)
    for data in jobs.read(str(images / "case0.png")):
        viewer.add_image(data[0], **data[1])
    real.workspace.anchors = (Anchor((20.0, 20.0)),)
    search.model.other_images = True
    search.search()
    assert {place.name for place in search.model.places} == {"case1", "case2"}
    for number in (1, 2):
        rmtree(store / "mae-demo" / f"case{number}.zarr")
    search.build()
    search.search()
    assert real.workspace.status.text.startswith("Nothing was found in other images. Untick Other images")
    assert search.choice.other_images


def test_an_image_that_is_another_now_is_not_shown_as_the_one_that_was_found(real, viewer, store) -> None:
    search, workspace, images = real.search_page, real.workspace, store.parent / "images"
    search.choose_store(store)
    search.build()
    search.choose_images(images)
    for data in jobs.read(str(images / "case0.png")):
        viewer.add_image(data[0], **data[1])
    (images / "case1.png").write_bytes((images / "case2.png").read_bytes())
    workspace.anchors = (Anchor((20.0, 20.0)),)
    pictures = {}
    search.pictured.connect(pictures.__setitem__)
    search.search()
    places = search.model.places
    assert set(pictures) == {number for number, place in enumerate(places) if place.name != "case1"}
    assert "or has changed since it was embedded" in workspace.status.text
    layers = len(viewer.layers)
    search.open(next(number for number, place in enumerate(places) if place.name == "case1"))
    assert "Expected case1 as the batch embedded it" in workspace.status.text
    assert workspace.status.failed
    assert len(viewer.layers) == layers
    (images / "case0.png").write_bytes((images / "case2.png").read_bytes())
    search.search()
    assert workspace.status.failed
    assert "as the batch embedded it" in workspace.status.text


def test_what_cannot_be_searched_is_said(real, viewer, store, monkeypatch) -> None:
    search, workspace = real.search_page, real.workspace
    search.choose_store(store)
    search.build()
    viewer.add_image(noise(64, 80), name="stranger")
    workspace.anchors = (Anchor((20.0, 20.0)),)
    search.search()
    assert (
        "stranger is neither. Choose the folder of the archive's images, or tick mae-demo"
        in workspace.status.text
    )
    real.run()  # 4 channels, where the store has 24
    search.search()
    assert "Expected tokens of stranger by mae-demo" in workspace.status.text
    assert workspace.status.failed

    def lacking(name: str) -> None:
        raise MissingExtraError(f'Install with: pip install "napari-sslmaps[{name}]".')

    monkeypatch.setattr(jobs, "require_extra", lacking)
    search.search()
    assert "napari-sslmaps[search]" in workspace.status.text


@pytest.fixture
def last(tmp_path, monkeypatch):
    """Where the session of a closed window is kept."""
    path = tmp_path / "state" / "last.json"
    monkeypatch.setattr(session_files, "last_session", lambda: path)
    return path


def test_an_archive_is_kept_in_a_session_and_by_the_next_dock(
    page, viewer, specs, embedder, searcher, tmp_path, last
) -> None:
    indexed(page, searcher, tmp_path)
    path = tmp_path / "case0.png"
    viewer.add_image(noise(64, 80), name="case0", metadata={"path": str(path)})
    model = page.search_page.model
    page.search_page.choose_encoder("other")
    page.search_page.choose_images(tmp_path)
    model.count, model.per_image, model.apart = 7, 2, 30.0
    kept = page.search_page.choice
    page.session_files.save(tmp_path / "mine.json")
    page.close()
    assert last.exists()  # though nothing was embedded
    again = controller_of(viewer, WorkspaceModel(), specs, embedder, searcher)
    again.adopt()
    assert again.search_page.choice == kept
    assert again.search_page.model.state.waiting == 3
    again.close()
    fresh = controller_of(ViewerModel(), WorkspaceModel(), specs, embedder, searcher)
    fresh.session_files.open(tmp_path / "mine.json")
    assert fresh.search_page.choice == kept
    fresh.search_page.restore(replace(kept, store=str(tmp_path / "gone")))
    assert "gone" in fresh.workspace.status.text
    assert not fresh.workspace.status.failed
    assert fresh.search_page.choice == kept
    fresh.close()
