"""Of which block tokens are: chosen, embedded again, said on the canvas, and kept with the session."""

from dataclasses import replace
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import KnownEmbedder

from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.encoders.encoder_list import depths_of


def deeper(controller: Controller, *depths: int) -> None:
    """Give the encoders of the list so many blocks."""
    workspace = controller.workspace
    workspace.available = tuple(
        replace(spec, architecture=replace(spec.architecture, depth=depth))
        for spec, depth in zip(workspace.available, depths, strict=True)
    )


def test_what_is_embedded_is_embedded_again_at_the_depth_that_is_chosen(
    controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    workspace = controller.workspace
    deeper(controller, 3, 3)
    workspace.token_block = 1
    assert not embedder.calls  # nothing was embedded yet: nothing is
    controller.run()
    assert {(options.token_block, options.token_norm) for options in embedder.options} == {(1, True)}
    embedder.options.clear()
    workspace.token_norm = False
    assert {(options.token_block, options.token_norm) for options in embedder.options} == {(1, False)}
    embedder.options.clear()
    workspace.token_block, workspace.token_norm = None, True
    assert [(options.token_block, options.token_norm) for options in embedder.options[-2:]] == [
        (None, True)
    ] * 2


def test_a_block_that_there_is_not_gets_a_sentence(
    controller: Controller, image: Image, embedder: KnownEmbedder
) -> None:
    deeper(controller, 3, 2)
    controller.run()
    embedder.calls.clear()
    controller.workspace.token_block = 2
    assert not embedder.calls
    assert "a transformer of 2 blocks" in controller.workspace.plan.text
    assert controller.workspace.status.failed


def test_all_encoders_have_the_blocks_that_are_offered(controller: Controller) -> None:
    deeper(controller, 3, 2)
    assert depths_of(controller.workspace.specs) == ("block 0", "block 1")
    assert depths_of(()) == ()


def test_a_session_keeps_the_depth(
    controller: Controller, image: Image, viewer: ViewerModel, tmp_path: Path, embedder: KnownEmbedder
) -> None:
    workspace = controller.workspace
    deeper(controller, 3, 3)
    controller.run()
    workspace.token_block, workspace.token_norm = 1, False
    controller.session_files.save(tmp_path / "mine.json")
    workspace.token_block, workspace.token_norm = None, True
    embedder.options.clear()
    controller.session_files.open(tmp_path / "mine.json")
    assert (workspace.token_block, workspace.token_norm) == (1, False)
    assert [(options.token_block, options.token_norm) for options in embedder.options] == [(1, False)] * 2
