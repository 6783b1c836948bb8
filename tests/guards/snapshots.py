"""What the package says and computes today: texts of help, signatures, numbers of maps."""

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import guard_kit
import homes
import numpy as np
import pytest
from numpy.typing import NDArray

import napari_sslmaps as nsm

WIDTH = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
_MODULES = re.compile(r"(?<![\w.])(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])")


def commands() -> dict[tuple[str, ...], Any]:
    """Every command and group of the command line, by the words that name it."""
    import typer

    from napari_sslmaps.cli.commands import app

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        yield words, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*words, name))

    return dict(walk(typer.main.get_command(app), ()))


def help_text(words: tuple[str, ...]) -> str:
    """The help of a command, 100 columns wide, without colours and trailing blanks."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in WIDTH.items():
            patch.setenv(name, value)
        for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TERMINAL_WIDTH"):
            patch.delenv(name, raising=False)
        text = guard_kit.done(*words, "--help")
    return "\n".join(line.rstrip() for line in text.splitlines()).strip() + "\n"


def option_names() -> dict[str, list[str]]:
    """All names of all options, hidden ones too, by command."""
    return {
        " ".join(words): sorted(
            {
                name
                for parameter in command.params
                if parameter.param_type_name == "option"
                for name in (*parameter.opts, *parameter.secondary_opts)
            }
        )
        for words, command in commands().items()
    }


def signatures() -> dict[str, Any]:
    """Of every public name its parameters, and of a class what it offers."""
    return {name: signatures_of(name) for name in nsm.__all__}


def signatures_of(name: str) -> dict[str, Any]:
    """Of one public name its parameters, and of a class what it offers."""
    return _described(getattr(nsm, name))


def _described(value: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": "class" if inspect.isclass(value) else "function", **_called(value)}
    if inspect.isclass(value):
        names = {item for item in dir(value) if not item.startswith("_")}
        if dataclasses.is_dataclass(value):
            names |= {item.name for item in dataclasses.fields(value)}
        told["attributes"] = {name: _attribute(value, name) for name in sorted(names)}
    return told


def _attribute(owner: type, name: str) -> Any:
    value = inspect.getattr_static(owner, name, None)
    if isinstance(value, property):
        return "property"
    if isinstance(value, (classmethod, staticmethod)):
        return {"kind": type(value).__name__, **_called(getattr(owner, name))}
    return {"kind": "method", **_called(value)} if inspect.isfunction(value) else "value"


def _called(value: Any) -> dict[str, Any]:
    signature = inspect.signature(value)
    return {
        "parameters": [
            {
                "name": one.name,
                "kind": one.kind.description,
                "default": None if one.default is one.empty else _plain(repr(one.default)),
                "annotation": _annotation(one.annotation),
            }
            for one in signature.parameters.values()
        ],
        "returns": _annotation(signature.return_annotation),
    }


def _annotation(value: Any) -> str:
    if value is inspect.Signature.empty:
        return ""
    return _plain(value if isinstance(value, str) else inspect.formatannotation(value))


def _plain(text: str) -> str:
    """Leave out in which modules things are defined."""
    return _MODULES.sub("", text).replace("'", "")


DOMAINS = ("histology", "ultrasound")
REGIONS = {"histology": (100, 360, 128, 128), "ultrasound": (60, 90, 128, 128)}
ANCHORS = {"histology": ((144.0, 400.0), (130.0, 450.0)), "ultrasound": ((98.0, 150.0), (150.0, 180.0))}
NEGATIVE = {"histology": ((210.0, 470.0),), "ultrasound": ((180.0, 100.0),)}
METHODS = ("mae", "ijepa", "dinov3", "dira")


def map_numbers(domain: str) -> dict[str, dict[str, Any]]:
    """Summaries of every map of a sample by the four encoders for it, and of what compares two."""
    encoders = {
        method: nsm.load_encoder(f"{method}-{domain}", device="cpu", precision="float32")
        for method in METHODS
    }
    path = homes.SAMPLES[domain].path
    region = REGIONS[domain]
    embeddings = {
        method: nsm.embed(path, encoder, region=region, tiling=nsm.Tiling(tile=12, overlap=4))
        for method, encoder in encoders.items()
    }
    numbers: dict[str, dict[str, Any]] = {}
    for method, embedding in embeddings.items():
        found = {"tokens": np.asarray(embedding.tokens[:]), **_maps(domain, embedding, encoders[method])}
        found |= _evidence(embedding, encoders[method], path)
        numbers[method] = {name: summary(values) for name, values in found.items()}
    numbers["pairs"] = {name: summary(values) for name, values in _pairs(domain, embeddings).items()}
    return numbers


def _maps(domain: str, embedding: Any, encoder: Any) -> dict[str, NDArray[Any]]:
    anchors, negative = ANCHORS[domain], NEGATIVE[domain]
    found: dict[str, NDArray[Any]] = {}
    if embedding.attention is None:
        found["activation"] = nsm.activation_map(embedding).values
    else:
        found["attention mean"] = nsm.attention_map(embedding).values
        found["attention max"] = nsm.attention_map(embedding, reduction="max").values
        found["attention head 1"] = nsm.attention_map(embedding, 1).values
        for name, stack in {
            "block 1": nsm.attend(embedding, encoder, block=1),
            "anchor": nsm.attend(embedding, encoder, anchor=anchors[0]),
            "rollout": nsm.attend(embedding, encoder, rollout=True),
        }.items():
            found[f"attention {name}"] = nsm.attention_map(stack).values
    for name, options in {
        "all": {"foreground": None, "rendering": "stretch"},
        "all whitened": {"foreground": None, "rendering": "whitened"},
        "auto": {"foreground": "auto", "rendering": "stretch"},
        "first-component": {"foreground": "first-component", "rendering": "stretch"},
    }.items():
        components: Any = nsm.pca_map(embedding, **options)  # type: ignore[call-overload]  # by name
        found[f"pca {name}"] = components.values
        found[f"pca {name} scores"] = components.scores
        found[f"pca {name} variance"] = components.basis.variance
        found[f"pca {name} components"] = components.basis.components
    groups = [nsm.AnchorGroup("one", "", anchors[:1], negative), nsm.AnchorGroup("two", "", anchors[1:])]
    for centred in (False, True):
        word = "centred" if centred else "raw"
        for combine in ("mean", "max"):
            found[f"similarity {word} {combine}"] = nsm.similarity_map(
                embedding, anchors, negative=negative, centred=centred, combine=combine
            ).values
        found[f"similarity {word} radius"] = nsm.similarity_map(
            embedding, anchors[:1], centred=centred, radius=20.0
        ).values
        sorted_out = nsm.group_map(embedding, groups, centred=centred, least=0.1)
        found[f"groups {word}"] = sorted_out.values
        found[f"groups {word} labels"] = sorted_out.labels
        found[f"groups {word} margin"] = sorted_out.margin
    return found


def _evidence(embedding: Any, encoder: Any, path: Any) -> dict[str, NDArray[Any]]:
    """Evidence for a class by a head that is made up: where a fit stops depends on the processor."""
    dim = embedding.tokens.shape[-1]
    fitted = nsm.fit_image_head(
        np.eye(4, dim, dtype=np.float32), ["left", "left", "right", "right"], of=embedding
    )
    weights = np.linspace(-1, 1, dim, dtype=np.float32)
    linear = dataclasses.replace(fitted.linear, weights=np.stack([weights, -weights]))
    head = dataclasses.replace(fitted, linear=linear)
    found = {"evidence": nsm.token_evidence(embedding, head, "left").values}
    if embedding.attention is None:
        for name, stage in (("token stage", None), ("finer", "encoder.layer1")):
            shown = nsm.class_activation(path, encoder, embedding, weights, stage=stage)
            found[f"grad-cam {name}"] = shown.values
    return found


def _pairs(domain: str, embeddings: dict[str, Any]) -> dict[str, NDArray[Any]]:
    mae, ijepa, dinov3, dira = (embeddings[method] for method in METHODS)
    anchors = ANCHORS[domain]
    found: dict[str, NDArray[Any]] = {}
    for word, centred in (("raw", False), ("centred", True)):
        pair = [nsm.similarity_map(one, anchors, centred=centred) for one in (mae, dira)]
        found[f"difference similarity {word}"] = nsm.difference_map(*pair).values
    attention = nsm.difference_map(nsm.attention_map(dinov3), nsm.attention_map(mae))
    found["difference attention"] = attention.values
    for name, (first, second) in {"mae ijepa": (mae, ijepa), "dinov3 dira": (dinov3, dira)}.items():
        found[f"agreement {name}"] = nsm.neighbour_agreement(first, second, 10).values
        numbers = nsm.linear_cka(first, second), nsm.mutual_neighbours(first, second, 10)
        found[f"alikeness {name}"] = np.array(numbers)
    maps = [nsm.pca_map(one, foreground=None) for one in (mae, ijepa)]
    found["pca aligned"] = nsm.align_colours(maps)[1].values  # type: ignore[arg-type]  # of one embedding each
    joint = nsm.pca_map([mae, mae], foreground="auto")
    found["pca joint"] = joint[1].values  # type: ignore[index]  # of two embeddings
    across = nsm.similarity_map(dinov3, anchors, centred=True, reference=dinov3)
    found["similarity of a reference"] = across.values
    return found


def summary(values: NDArray[Any]) -> dict[str, Any]:
    """Shape, type, spread and sixteen values of an array."""
    flat = np.asarray(values, np.float64).ravel()
    known = flat[np.isfinite(flat)]
    at = np.linspace(0, flat.size - 1, 16).astype(int)
    return {
        "shape": list(np.shape(values)),
        "dtype": str(np.asarray(values).dtype),
        "known": int(known.size),
        "mean": _short(known.mean()),
        "percentiles": [_short(value) for value in np.percentile(known, (0, 1, 25, 50, 75, 99, 100))],
        "sampled": [_short(value) for value in flat[at]],
    }


def _short(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.7g}")


def expectations(folder: Path) -> dict[str, Any]:
    """What comes of the files: loss of a third step of each training, and what weight files are taken for."""
    from pyarrow import parquet

    losses, taken = {}, {}
    for method, path in guard_kit.TINY.items():
        losses[method] = third_step(folder, method)
        told = json.loads(guard_kit.done("encoders", "inspect", folder / path, "--json"))
        taken[method] = {name: value for name, value in told.items() if name != "path"}
    table = parquet.read_table(folder / "batch" / "batch.parquet")
    columns = [f"{field.name}: {field.type}" for field in table.schema]
    return {"keys": _keys(folder), "third losses": losses, "inspected": taken, "table": columns}


def _keys(folder: Path) -> dict[str, Any]:
    """Keys by which a finished embedding, outputs of a batch, scores of images and a scan were found."""
    of_cache = {path.stem: guard_kit.attributes(path)["image_sha256"] for path in folder.glob("cache/*.zarr")}
    scans = [json.loads(path.read_text())["scan"]["sha256"] for path in folder.glob("cache/scans/*")]
    images = ("image.png", "other.png")
    return {
        "embedding": next(key for key, pixels in of_cache.items() if pixels in scans),
        "batch": {
            path.parent.name: guard_kit.attributes(path)["key"]
            for path in sorted(folder.glob("batch/*/*.zarr"))
        },
        "scores": {
            name: json.loads((folder / "comparison" / "images" / name / "scores.json").read_text())["key"]
            for name in images
        },
        "scans": sorted(scans),
    }


def third_step(folder: Path, method: str) -> dict[str, float]:
    """Go on with a training for one step and return the losses of that step."""
    out = folder / "pretraining" / method
    guard_kit.done(
        "pretrain", "--out", out, "--resume", "--steps", 3, "--bank", folder / "bank.npy", "--log-every", 1,
        "--accelerator", "cpu",
    )  # fmt: skip
    last = homes.read_log(out / "log.jsonl")[-1]
    timed = {"seconds", "images_per_second"}
    return {name: value for name, value in last.items() if name not in timed}


def run_facts(folder: Path) -> dict[str, Any]:
    """Which files a run writes, and how its record and the tags of its maps are built; no values."""
    import tifffile

    guard_kit.done(
        "run", "sample:histology", "-e", "mae-histology", "-e", "dira-histology", "--region",
        "100,360,96,96", "--anchor", "144,400", "--negative", "120,440", "--tile", 8, "--overlap", 2,
        "--centred", "--head", 1, "--foreground", "auto", "--block", -1, "--attention", "rollout", "--heads",
        "--align-colours", "--difference", "mae-histology,dira-histology", "--save-basis",
        "--out", folder / "run", *guard_kit.PLAIN,
    )  # fmt: skip
    paths = sorted(path for path in (folder / "run").rglob("*") if path.is_file())
    tags = {}
    for path in paths:
        if path.suffix == ".tif":
            with tifffile.TiffFile(path) as tiff:
                description = ET.fromstring(tiff.pages[0].description)  # noqa: S314  # our own
            pixels = description.find("{*}Image/{*}Pixels")
            words = description.findtext("{*}Image/{*}Description")
            assert pixels is not None
            assert words is not None
            sizes = {name: value for name, value in pixels.attrib.items() if name != "ID"}
            tags[path.relative_to(folder / "run").as_posix()] = {
                "pixels": sizes,
                "details": guard_kit.flat_keys(json.loads(words)),
            }
    record = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))
    return {
        "files": [path.relative_to(folder / "run").as_posix() for path in paths],
        "record": guard_kit.flat_keys(record),
        "tags": tags,
    }
