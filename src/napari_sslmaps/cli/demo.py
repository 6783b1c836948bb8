"""``demo``: napari on a sample with four methods' maps, or the same as a figure."""

from pathlib import Path
from typing import Annotated

import typer

from napari_sslmaps.cli import console
from napari_sslmaps.cli.console import progress_bars


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Figure to write; PNG, PDF or SVG.")] = Path(
        "figure.png"
    ),
    sample: Annotated[str, typer.Option(help="histology or ultrasound.")] = "histology",
    headless: Annotated[
        bool, typer.Option("--headless", help="Write the figure even where there is a display.")
    ] = False,
) -> None:
    """Open napari on a real sample with the maps of four methods; without a display, write a figure."""
    from napari_sslmaps.doctor import missing_for_windows
    from napari_sslmaps.inputs.images import find_sample

    chosen = find_sample(sample)
    missing = "asked for a figure" if headless else missing_for_windows()
    if not missing:
        console.note("Opening napari; its first start can take a minute …")
        from napari_sslmaps._qt.demo import run_demo

        console.left_to_window()
        run_demo(chosen.key)
        return
    if not headless:
        console.out(f"No window can be opened here ({missing}): writing {out} instead.")
    _write_figure(chosen.key, out)


def _write_figure(sample: str, out: Path) -> None:
    from napari_sslmaps.core.tiling import ONE_PASS
    from napari_sslmaps.figures.run_figure import check_format
    from napari_sslmaps.inputs.encoders import fitting_encoders, usual_scale
    from napari_sslmaps.inputs.images import SAMPLE_PREFIX, find_sample
    from napari_sslmaps.maps.registry import MapOptions
    from napari_sslmaps.records.claim import check_file
    from napari_sslmaps.records.run import RunOptions
    from napari_sslmaps.run.compute import compute_run
    from napari_sslmaps.run.request import RunRequest
    from napari_sslmaps.run.write import draw_run

    check_format(out)
    check_file(out)
    choices = fitting_encoders(SAMPLE_PREFIX + sample)
    anchors = (find_sample(sample).anchor_yx,)
    options = RunOptions(tile=ONE_PASS.tile, maps=MapOptions(scale=usual_scale(choices)))
    request = RunRequest(SAMPLE_PREFIX + sample, choices, anchors, options=options)
    with progress_bars(quiet=False) as on_progress:
        outcome = compute_run(request, on_progress)
    draw_run(outcome, out)
    console.out(f"Wrote {out}")
