import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import noise

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import RegionError
from napari_sslmaps.viewer.canvas.image_layer import LayerSource
from napari_sslmaps.viewer.canvas.region_selection import RegionSelection, choose_region
from napari_sslmaps.viewer.state.workspace import WorkspaceModel


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def image(viewer: ViewerModel) -> Image:
    return viewer.add_image(noise(200, 300), scale=(0.5, 0.5), translate=(10, 20))


def choose(viewer: ViewerModel, image: Image, choice: str, level: int = 0) -> Region:
    return choose_region(viewer, image, LayerSource(image), choice, level)


def test_whole_image(viewer: ViewerModel, image: Image) -> None:
    assert choose(viewer, image, "whole") == Region(0, 0, 200, 300)


def test_current_view_is_what_the_canvas_shows(viewer: ViewerModel, image: Image) -> None:
    viewer.canvas.size = (100, 80)
    viewer.scene.camera.zoom = 4.0
    viewer.scene.camera.center = (0.0, *image.data_to_world((99.5, 149.5)))
    # 100 canvas pixels at zoom 4 are 25 world units, which are 50 pixels
    assert choose(viewer, image, "view") == Region(75, 130, 50, 40)


def test_view_is_clipped_to_the_image(viewer: ViewerModel, image: Image) -> None:
    viewer.scene.camera.zoom = 0.1
    assert choose(viewer, image, "view") == Region(0, 0, 200, 300)


def test_view_beside_the_image_is_refused(viewer: ViewerModel, image: Image) -> None:
    viewer.scene.camera.zoom = 100
    viewer.scene.camera.center = (0.0, -500.0, -500.0)
    with pytest.raises(RegionError, match="outside the image"):
        choose(viewer, image, "view")


def test_rectangle_is_half_open_in_pixels(viewer: ViewerModel, image: Image) -> None:
    corners = np.array(
        [image.data_to_world(c) for c in [(19.5, 39.5), (19.5, 99.5), (59.5, 99.5), (59.5, 39.5)]]
    )
    viewer.add_shapes([corners], shape_type="rectangle")
    assert choose(viewer, image, "rectangle") == Region(20, 40, 40, 60)


def test_rectangle_in_other_transforms_and_units() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(noise(200, 300), scale=(0.5, 0.5), units=("um", "um"))
    corners = [(10_000, 5_000), (10_000, 20_000), (30_000, 20_000), (30_000, 5_000)]
    viewer.add_shapes([np.array(corners) / 2], shape_type="rectangle", scale=(2, 2), units=("nm", "nm"))
    assert choose(viewer, image, "rectangle") == Region(20, 10, 41, 31)


def test_the_selected_rectangle_counts(viewer: ViewerModel, image: Image) -> None:
    small = np.array([(10, 20), (10, 25), (15, 25), (15, 20)])
    shapes = viewer.add_shapes([small, small + 20], shape_type="rectangle")
    shapes.selected_data = {0}
    first = choose(viewer, image, "rectangle")
    shapes.selected_data = {1}
    assert choose(viewer, image, "rectangle") == Region(first.y + 40, first.x + 40, first.height, first.width)


def test_without_a_rectangle_it_says_what_to_do(viewer: ViewerModel, image: Image) -> None:
    viewer.add_shapes()
    with pytest.raises(RegionError, match="press Draw, or add a Shapes layer"):
        choose(viewer, image, "rectangle")


def pyramid(viewer: ViewerModel, **options: object) -> Image:
    fine = noise(64, 80)
    return viewer.add_image([fine, fine[::2, ::2], fine[::4, ::4]], multiscale=True, **options)


@pytest.mark.parametrize(("target", "level"), [(0.1, 0), (0.25, 0), (0.49, 0), (0.5, 1), (0.9, 1), (7.0, 2)])
def test_a_target_takes_the_nearest_finer_level(viewer: ViewerModel, target: float, level: int) -> None:
    image = pyramid(viewer, scale=(0.2501, 0.2501), units=("um", "um"))
    workspace = WorkspaceModel(target_um=target, level=2)
    assert RegionSelection(viewer, workspace).region(image).level == level


def test_a_target_asks_for_the_size_of_a_pixel(viewer: ViewerModel) -> None:
    image, workspace = pyramid(viewer), WorkspaceModel(target_um=0.5)
    look = RegionSelection(viewer, workspace)
    with pytest.raises(RegionError, match=r"the image does not tell which one has 0\.5 µm/px"):
        look.region(image)
    workspace.spacing_um = 0.25
    source, region = look(image)
    assert (source.spacing_um_yx, region.level) == ((0.25, 0.25), 1)
    workspace.spacing_um = None
    assert look.region(viewer.add_image(noise(64, 80))).level == 0


def test_levels_of_a_pyramid(viewer: ViewerModel) -> None:
    fine = noise(64, 80)
    image = viewer.add_image([fine, fine[::2, ::2]], multiscale=True)
    assert choose(viewer, image, "whole", 1) == Region(0, 0, 32, 40, 1)
    viewer.add_shapes([np.array([(7.5, 7.5), (7.5, 23.5), (15.5, 23.5), (15.5, 7.5)])])
    assert choose(viewer, image, "rectangle", 1) == Region(4, 4, 4, 8, 1)


def test_several_selected_rectangles_are_one_region_with_a_mask(viewer: ViewerModel, image: Image) -> None:
    boxes = [(19.5, 39.5, 59.5, 99.5), (99.5, 159.5, 119.5, 199.5), (0, 0, 5, 5)]
    corners = [
        np.array([image.data_to_world(c) for c in [(a, b), (a, d), (c, d), (c, b)]]) for a, b, c, d in boxes
    ]
    shapes = viewer.add_shapes(corners, shape_type="rectangle")
    look = RegionSelection(viewer, WorkspaceModel(region="rectangle"))
    shapes.selected_data = {0, 1}
    region, mask = look.region(image), look.mask(image)
    assert region == Region(20, 40, 100, 160)
    grid = TokenGrid.covering(region, 20)
    expected = np.zeros((5, 8), bool)
    expected[:2, :3] = expected[4, 6:] = True
    np.testing.assert_array_equal(mask.on(grid), expected)
    shapes.selected_data = {1}
    assert look.mask(image) is None


def test_far_rectangles_are_masked_coarsely_and_nothing_of_them_is_lost(viewer: ViewerModel) -> None:
    image = viewer.add_image(np.zeros((20_000, 20), np.uint8))
    rows = [(100.5, 130.5), (19_000.5, 19_040.5)]
    corners = [np.array([(a, -0.5), (a, 19.5), (b, 19.5), (b, -0.5)]) for a, b in rows]
    viewer.add_shapes(corners, shape_type="rectangle").selected_data = {0, 1}
    mask = RegionSelection(viewer, WorkspaceModel(region="rectangle")).mask(image)
    wanted = mask.on(TokenGrid.covering(Region(101, 0, 18_940, 20), 10))[:, 0]
    assert wanted[:3].all()
    assert wanted[-4:].all()
    assert wanted.sum() <= 7 + 4
