"""One rule of contrast: the window and the figure draw a map between the same limits."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

import napari_sslmaps as ssl
from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.evaluation.localisation import token_evidence
from napari_sslmaps.figures.panels import Extent
from napari_sslmaps.figures.run_figure import FigureRow, Picture, compose_figure
from napari_sslmaps.maps.classes import LabelMap
from napari_sslmaps.maps.contrast import limits_of
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.make import MapRequest, differences, make_maps
from napari_sslmaps.maps.registry import MAP_TYPES, map_type_of, selectable
from napari_sslmaps.sources.samples import SAMPLES
from napari_sslmaps.viewer.canvas.map_layers import LayerManager, draw_all

REGION = {"histology": (100, 360, 96, 96), "ultrasound": (60, 90, 96, 96)}
ANCHOR = {"histology": (144.0, 400.0), "ultrasound": (98.0, 150.0)}
METHODS = ("mae", "dinov3", "dira")


@pytest.fixture(scope="module", params=sorted(REGION))
def embeddings(request: pytest.FixtureRequest) -> dict[str, Embedding]:
    path, region = SAMPLES[request.param].path, REGION[request.param]
    encoders = [
        ssl.load_encoder(f"{method}-{request.param}", device="cpu", precision="float32") for method in METHODS
    ]
    return {encoder.spec.name: ssl.embed(path, encoder, region=region) for encoder in encoders}


def all_maps(embeddings: dict[str, Embedding]) -> dict[str, dict[str, TokenMap]]:
    """Every kind of map, by encoder and key."""
    anchor = ANCHOR[next(iter(embeddings)).split("-")[1]]
    other = (anchor[0] + 20, anchor[1])
    groups = (AnchorGroup("here", "#ff0000", [anchor]), AnchorGroup("there", "", [other]))
    wanted = tuple(kind.key for kind in selectable())
    made = make_maps(embeddings, MapRequest(wanted, anchors=groups[0], groups=groups))
    names = list(embeddings)
    made[names[0]] |= {"difference": differences(made[names[0]], made[names[1]])["attention"]}
    first = embeddings[names[0]]
    made[names[0]]["agreement"] = ssl.neighbour_agreement(first, embeddings[names[1]])
    dim = first.tokens.shape[-1]
    head = ssl.fit_image_head(np.eye(4, dim, dtype=np.float32), ["a", "a", "b", "b"], of=first)
    made[names[0]]["evidence"] = token_evidence(first, head, "a")
    made[names[0]]["classes"] = LabelMap(
        values=np.ones(first.grid.shape, np.float32),
        grid=first.grid,
        provenance=first.provenance,
        labels=np.ones(first.grid.shape, np.int32),
        classes=(1,),
    )
    return made


@pytest.mark.parametrize("display", ["shared", "each", "fixed"])
def test_window_and_figure_draw_between_the_same_limits(
    embeddings: dict[str, Embedding], display: str
) -> None:
    made = all_maps(embeddings)
    assert {key for maps in made.values() for key in maps} == set(MAP_TYPES)
    viewer = ViewerModel()
    layer_manager, image = LayerManager(viewer), viewer.add_image(np.zeros((600, 600)))
    grid = next(iter(embeddings.values())).grid
    extent = Extent(*grid.origin_yx, *grid.extent_yx)
    for kind in MAP_TYPES.values():
        found = {name: maps[kind.key] for name, maps in made.items() if kind.key in maps}
        limits = limits_of(map_type_of(next(iter(found.values()))), list(found.values()), display)
        if kind is MAP_TYPES["classes"]:  # its palette is the scribbles'
            assert limits == [None]
            continue
        layers = [layer_manager.show(image, drawing) for drawing in draw_all(list(found.values()), display)]
        in_figure = [None] * len(found)
        if MAP_TYPES[kind.slot].selectable:
            rows = [FigureRow("", name, {kind.key: result}) for name, result in found.items()]
            picture = Picture(np.zeros((4, 4), np.float32), extent)
            figure = compose_figure(picture, rows, display=display)
            panels = [axes.images[0] for axes in figure.axes if axes.images]
            drawn = [panel for panel in panels if np.shape(panel.get_array())[:2] != (4, 4)]
            in_figure = [panel.get_clim() for panel in drawn]
        for index, (layer, ends) in enumerate(zip(layers, limits, strict=True)):
            if ends is None:
                assert isinstance(layer, Labels) or layer.rgb
                continue
            assert tuple(layer.contrast_limits) == pytest.approx(ends), kind.key
            if MAP_TYPES[kind.slot].selectable:
                assert in_figure[index] == pytest.approx(ends), kind.key
