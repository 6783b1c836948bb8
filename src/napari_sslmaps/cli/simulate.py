"""``simulate``: images with label maps, written to a folder."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sslmaps.cli import console
from napari_sslmaps.cli.options import Json

if TYPE_CHECKING:
    from napari_sslmaps.lab.simulators import Simulator

#: Smallest field, in pixels, that shows anything.
_SMALLEST = 32


def simulate(
    name: Annotated[str, typer.Argument(help="histology or ultrasound.", show_default=False)],
    *,
    count: Annotated[int, typer.Option(help="Number of images.")] = 100,
    size: Annotated[int, typer.Option(help=f"Side in pixels, at least {_SMALLEST}.")] = 192,
    seed: Annotated[int, typer.Option(help="The same seed gives the same images.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make: images/, masks/, dataset.json.")],
    json: Json = False,
) -> None:
    """Simulate images with label maps, to train on or to test against a known truth.

    Image and mask of one number belong together; a mask's pixel values index the classes in dataset.json.
    """
    from napari_sslmaps.errors import ExportError, InvalidOptionError
    from napari_sslmaps.lab.simulators import get_simulator

    simulator = get_simulator(name)
    for option, value, least in (("--count", count, 1), ("--size", size, _SMALLEST), ("--seed", seed, 0)):
        if value < least:
            raise InvalidOptionError(f"Expected {option} to be at least {least}; got {value}.")
    try:
        with console.kept_if_stopped(f"The images are not complete. Remove {out}, and simulate them again."):
            described = _write(simulator, out, count=count, size=size, seed=seed, quiet=json)
    except OSError as error:
        if isinstance(error, ExportError):
            raise
        raise ExportError(
            f"Expected to write to {out}; the system says: {error.strerror or error}. "
            "Choose another folder or free some space."
        ) from error
    if json:
        console.out_json(described)
    else:
        console.out(f"Wrote {count} images of {size} × {size} pixels and their masks to {out}")


def _write(
    simulator: "Simulator", out: Path, *, count: int, size: int, seed: int, quiet: bool
) -> dict[str, Any]:
    """Write images and masks, then the description, whose presence says that the folder is complete."""
    import json

    import imageio.v3 as iio
    from rich.progress import track

    from napari_sslmaps.files import written_whole
    from napari_sslmaps.lab.simulators.fields import field_seed

    images, masks = _folders(out)
    screen = console.errors()
    digits = max(5, len(str(count - 1)))
    for index in track(
        range(count), simulator.name, console=screen, disable=quiet or not screen.is_terminal, transient=True
    ):
        image, labels = simulator.draw(field_seed(seed, index), size)
        file = f"{index:0{digits}d}.png"
        drawn = {images / file: image if simulator.colour else image[..., 0], masks / file: labels}
        for path, pixels in drawn.items():
            content = iio.imwrite("<bytes>", pixels, extension=".png")
            with written_whole(path) as part:  # imageio would say a full disk twice, once as a traceback
                part.write_bytes(content)
    described: dict[str, Any] = {
        "simulator": simulator.name,
        "classes": list(simulator.classes),
        "count": count,
        "size": size,
        "seed": seed,
        "package_version": version("napari-sslmaps"),
    }
    with written_whole(out / "dataset.json") as part:
        part.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return described


def _folders(out: Path) -> tuple[Path, Path]:
    """Name the folders for images and masks in a folder that is new or empty.

    Raises
    ------
    ExportError
        If something is there already, or nothing can be written there.
    """
    from napari_sslmaps.errors import ExportError
    from napari_sslmaps.records.claim import check_claim

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"Expected --out to be a new or empty folder; {out} is not. Choose another.")
    check_claim(out, ())
    return out / "images", out / "masks"
