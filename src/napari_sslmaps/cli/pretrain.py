"""``pretrain``: train one of the four methods on simulated or own images."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_sslmaps.cli import console
from napari_sslmaps.extras import require_extra
from napari_sslmaps.files import user_path

if TYPE_CHECKING:
    from napari_sslmaps.lab.training.recipes import Recipe

_RUN, _DEVICES, _OFTEN = "Training", "Devices", "How often"


def pretrain(  # noqa: PLR0913  # each parameter is an option that users type
    *,
    method: Annotated[str | None, typer.Option(help="mae, ijepa, dinov3 or dira.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder or file of images, clips or slides; or simulated:histology, simulated:ultrasound."
        ),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="TOML file, or a name from --list-recipes.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write everything to.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Number of steps.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Instead of --steps: as many as fit into this time.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the checkpoint in OUT, if there is one.")
    ] = False,
    init: Annotated[
        Path | None, typer.Option(help="Checkpoint whose weights to start from; any that can be loaded.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of weights and data.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="32, bf16, 16, or auto for what suits the device.", rich_help_panel=_RUN),
    ] = None,
    accumulate: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Parts to split a batch into, to save memory (gradient accumulation).",
            rich_help_panel=_RUN,
        ),
    ] = None,
    checkpointing: Annotated[
        bool,
        typer.Option("--checkpointing", help="Recompute activations to save memory.", rich_help_panel=_RUN),
    ] = False,
    um_per_px: Annotated[
        float | None, typer.Option(help="Resample images to this many µm per pixel.", rich_help_panel=_RUN)
    ] = None,
    bank: Annotated[
        Path | None,
        typer.Option(
            help="File to keep simulated or cut fields in, made if it is missing; one in OUT if omitted.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read images ahead.", rich_help_panel=_RUN)
    ] = None,
    accelerator: Annotated[
        str, typer.Option(help="auto, cpu, cuda, mps.", rich_help_panel=_DEVICES)
    ] = "auto",
    devices: Annotated[
        str,
        typer.Option(help="Number per node, auto for all, or a list such as 0,2.", rich_help_panel=_DEVICES),
    ] = "1",
    nodes: Annotated[int, typer.Option(min=1, help="Number of machines.", rich_help_panel=_DEVICES)] = 1,
    log_every: Annotated[
        int, typer.Option(min=1, help="Steps between log entries.", rich_help_panel=_OFTEN)
    ] = 50,
    save_every: Annotated[
        int, typer.Option(min=1, help="Steps between checkpoints.", rich_help_panel=_OFTEN)
    ] = 200,
    panel_every: Annotated[
        int, typer.Option(min=1, help="Steps between pictures.", rich_help_panel=_OFTEN)
    ] = 1000,
    list_recipes: Annotated[
        bool, typer.Option("--list-recipes", help="List the recipes of this package.")
    ] = False,
) -> None:
    """Train an encoder by one of the four methods; stop at any time and continue with --resume."""
    if list_recipes:
        _list_recipes()
        return
    require_extra("lab")
    if out is None:
        raise typer.BadParameter("say where to write to, with --out DIR.")
    if steps is not None and minutes is not None:
        raise typer.BadParameter("give --steps or --minutes, not both.")
    chosen = _choose(method, data, recipe, out if resume else None)
    changed = {
        name: value
        for name, value in (("steps", steps), ("seed", seed), ("precision", precision))
        if value is not None
    }
    chosen = replace(chosen, checkpointing=chosen.checkpointing or checkpointing, **changed)  # type: ignore[arg-type]  # each of its own type
    if um_per_px is not None:
        chosen = replace(chosen, data=replace(chosen.data, um_per_px=um_per_px))

    from napari_sslmaps.cli.training import training_display
    from napari_sslmaps.lab.training.launching import Devices
    from napari_sslmaps.lab.training.pretrain import PretrainRequest
    from napari_sslmaps.lab.training.pretrain import pretrain as run_pretraining
    from napari_sslmaps.lab.training.trainer import LoggingSchedule

    request = PretrainRequest(
        recipe=chosen,
        out=out,
        devices=Devices(accelerator, devices, nodes),
        schedule=LoggingSchedule(log_every, save_every, panel_every),
        minutes=minutes,
        accumulate=accumulate,
        resume=resume,
        init=init,
        bank=bank,
        workers=_workers(chosen) if workers is None else workers,
    )
    kept = f"The last checkpoint, if one was written, is in {out}; with --resume the same command goes on."
    with console.kept_if_stopped(kept), training_display() as display:
        run = run_pretraining(request, display, display.prepared)
    if run.fabric.is_global_zero:
        console.out(f"Wrote {out / 'encoder.safetensors'} after {run.step} steps")


def _choose(method: str | None, data: str | None, recipe: str | None, continued: Path | None) -> "Recipe":
    """Find the recipe: the one that is named, that of the folder to go on in, or the data's own."""
    from napari_sslmaps.errors import InvalidOptionError
    from napari_sslmaps.lab.training.datasets.bank import PREFIX
    from napari_sslmaps.lab.training.recipes import check_method, load_recipe

    if recipe is None and continued is not None and (continued / "recipe.toml").exists():
        chosen = load_recipe(continued / "recipe.toml")
    elif recipe is not None:
        chosen = load_recipe(recipe)
    elif method is not None and data is not None and data.startswith(PREFIX):
        chosen = load_recipe(f"{check_method(method)}-{data.removeprefix(PREFIX)}")
    else:
        raise InvalidOptionError(
            "Expected --recipe with a TOML file or a name of --list-recipes (…-histology where images have "
            "no up and down, …-ultrasound where they have), or --method with --data simulated:NAME."
        )
    if method is not None and check_method(method) != chosen.method:
        raise InvalidOptionError(f"Expected a recipe for {method}; {recipe} is one for {chosen.method}.")
    if data is not None:
        source = data if data.startswith(PREFIX) else str(user_path(data).absolute())
        chosen = replace(chosen, data=replace(chosen.data, source=source))
    return chosen


def _workers(recipe: "Recipe") -> int:
    """Read ahead in other processes where images are decoded; a bank is read faster than told about."""
    import os

    from napari_sslmaps.lab.training.datasets import decodes

    return min(8, max(1, (os.cpu_count() or 1) - 1)) if decodes(recipe.data) else 0


def _list_recipes() -> None:
    from rich.table import Table

    from napari_sslmaps.lab.training.recipes import list_recipes, load_recipe

    table = Table("recipe", "network", "steps", "batch", "crop", "data", box=None, pad_edge=False)
    for name in list_recipes():
        one = load_recipe(name)
        table.add_row(
            name,
            one.architecture.summary,
            str(one.steps),
            str(one.batch),
            f"{one.crop.size} px",
            one.data.source,
        )
    console.out(table)
