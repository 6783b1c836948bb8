"""Make the guards' data anew: ``python tests/guards/make_guards.py [PART …]``.

Parts are help, signatures, maps, run and files; all are made if none is named. Do it only where a change of
what the package says, computes or writes is meant, and look at the difference before it is committed. Files
are what version 0.1.0 writes: they stand for what users have, and keep their worth by not being made again.
"""

import argparse
import json
import os
import shutil
import sys
from contextlib import suppress
from typing import Any

import guard_kit
import homes
import numpy as np
import pytest
import snapshots
from guard_kit import DATA, FILES, MADE_IN, PLAIN, TINY, done

import napari_sslmaps as nsm

_VIT = {
    "mae": "dim = 16\ndepth = 2\nheads = 2\n",
    "ijepa": "dim = 8\ndepth = 1\nheads = 2\n",
    "dinov3": "dim = 8\ndepth = 1\nheads = 2\n",
}
_UNET = """kind = "unet"
block = "basic"
layers = [1, 1, 1, 1]
stage_channels = [4, 4, 4, 4]
decoder_channels = [4, 4, 4, 4, 4]
token_stage = "encoder.layer2"
"""
_OPTIONS = {
    "mae": "decoder_dim = 8\ndecoder_depth = 1\ndecoder_heads = 2\n",
    "ijepa": "predictor_dim = 8\npredictor_depth = 1\npredictor_heads = 2\n",
    "dinov3": "prototypes = 8\npatch_prototypes = 12\nhead_hidden = 16\nhead_bottleneck = 8\nlocals = 2\n",
    "dira": "queue = 8\nembedding = 4\ndiscriminator_width = 2\n",
}


def make_help() -> None:
    folder = DATA / "help"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for words in snapshots.commands():
        name = "-".join(words) or "napari-sslmaps"
        (folder / f"{name}.txt").write_text(snapshots.help_text(words), encoding="utf-8")
    _write("options.json", snapshots.option_names())


def make_signatures() -> None:
    _write("signatures.json", snapshots.signatures())


def make_maps() -> None:
    for domain in snapshots.DOMAINS:
        lines = [
            f"{json.dumps(f'{method}: {name}')}: {json.dumps(numbers)}"
            for method, maps in snapshots.map_numbers(domain).items()
            for name, numbers in maps.items()
        ]
        text = "{\n" + ",\n".join(lines) + "\n}\n"
        (DATA / f"maps-{domain}.json").write_text(text, encoding="utf-8")


def make_run() -> None:
    shutil.rmtree(MADE_IN, ignore_errors=True)
    MADE_IN.mkdir()
    _write("run.json", snapshots.run_facts(MADE_IN))


def make_files() -> None:
    """Write one of each, in the order in which they need each other."""
    shutil.rmtree(MADE_IN, ignore_errors=True)
    MADE_IN.mkdir()
    os.chdir(MADE_IN)
    os.environ["NAPARI_SSLMAPS_CONFIG"] = str(MADE_IN / "config")
    os.environ["NAPARI_SSLMAPS_CACHE"] = str(MADE_IN / "cache")
    _images()
    _trainings()
    _anchors()
    _runs()
    _head()
    _comparison()
    _user_encoders()
    _throughputs()
    _cache()
    done(*guard_kit.batch_of(MADE_IN))
    done(*guard_kit.pretext_of(MADE_IN, MADE_IN / "pretext"))
    done("simulate", "ultrasound", "--count", 1, "--size", 32, "--out", "simulated")
    _study()
    _without_pictures()
    _without_this_machine()
    shutil.rmtree(FILES, ignore_errors=True)
    shutil.copytree(MADE_IN, FILES)
    guard_kit.squeeze(FILES)
    _write("expected.json", snapshots.expectations(MADE_IN))


def _without_pictures() -> None:
    """Delete what nobody reads again."""
    pictures = [path for path in MADE_IN.rglob("*.png") if path.parent.name not in {"images", "masks"}]
    drawn = [path for path in pictures if path.parent != MADE_IN]
    maps = [*(MADE_IN / "comparison").rglob("*.tif"), *(MADE_IN / "pretext").rglob("*.tif")]
    maps.remove(MADE_IN / "pretext" / "01-tiny-mae" / "error.tif")
    pages = (*MADE_IN.rglob("*.html"), *MADE_IN.rglob("*.md"), *MADE_IN.rglob("*.lock"))
    for path in (*drawn, *maps, *pages):
        path.unlink()


def _without_this_machine() -> None:
    """Say of a sample's path, which nobody reads, only what is the same everywhere."""
    path = MADE_IN / "runs" / "sample" / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["image"]["path"] = str(MADE_IN / "sample.dcm")
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _images() -> None:
    import imageio.v3 as iio

    sample = homes.SAMPLES["histology"]
    pixels = np.asarray(iio.imread(sample.path))[..., :3]
    labels = np.asarray(iio.imread(sample.mask_path))
    (MADE_IN / "masks").mkdir()
    for name, (y, x) in {"image": (48, 400), "other": (400, 112)}.items():
        iio.imwrite(MADE_IN / f"{name}.png", pixels[y : y + 64, x : x + 96])
        iio.imwrite(MADE_IN / "masks" / f"{name}.png", labels[y : y + 64, x : x + 96])
    wanted = np.zeros((64, 96), np.uint8)
    wanted[:, :72] = 1
    iio.imwrite(MADE_IN / "masks" / "wanted.png", wanted)
    guard_kit.hold_still(MADE_IN)
    (MADE_IN / "labels.csv").write_text("image,label\nimage.png,gland\nother.png,stroma\n", encoding="utf-8")


def _trainings() -> None:
    (MADE_IN / "encoders").mkdir()
    for method, options in _OPTIONS.items():
        folder = MADE_IN / "pretraining" / method
        text = (
            f'method = "{method}"\nsteps = 2\nbatch = 2\n\n[architecture]\n'
            f"{_VIT.get(method, _UNET)}\n[crop]\nsize = 64\nspan = [48.0, 64.0]\n\n"
            f"[data]\nfield = 64\ncount = 4\n\n[options]\n{options}"
        )
        recipe = MADE_IN / f"tiny-{method}.toml"
        recipe.write_text(text, encoding="utf-8")
        done("pretrain", "--recipe", recipe, "--out", folder, "--bank", "bank.npy", "--log-every", 1,
             "--accelerator", "cpu")  # fmt: skip
        recipe.unlink()
        (folder / "encoder.safetensors").rename(MADE_IN / TINY[method])


def _anchors() -> None:
    groups = (
        nsm.AnchorGroup("gland", "#1f77b4", ((20.0, 30.5), (40.0, 40.0)), ((5.0, 5.0),)),
        nsm.AnchorGroup("stroma", "", ((50.0, 60.0),)),
    )
    nsm.save_anchors(
        nsm.AnchorSet(groups, "image.png", "ab" * 32, (64, 96), (0.5, 0.25)), MADE_IN / "anchors.json"
    )


def _runs() -> None:
    """A run as plain as can be, and one that says all that a record can say."""
    two = ("-e", TINY["mae"], "-e", TINY["dira"])
    done("run", "image.png", "-e", TINY["mae"], "--out", "runs/plain", *PLAIN)
    done("run", "image.png", *two, "--out", "runs/options", "--anchor", "20,30", "--anchor", "40,40.5",
         "--negative", "5,12", "--region", "0,8,64,80", "--tile", 6, "--overlap", 2, "--centred", "--head", 1,
         "--foreground", "auto", "--block", 1, "--attention", "rollout", "--heads", "--align-colours",
         "--difference", "tiny-mae,tiny-dira", "--save-basis", *PLAIN)  # fmt: skip
    basis = MADE_IN / "runs" / "options" / "tiny-mae" / "basis.json"
    shutil.copy(basis, MADE_IN / "basis.json")
    done("run", "other.png", *two, "--out", "runs/reference", "--anchors", "anchors.json", "--reference",
         "image.png", "--basis", "basis.json", "--mask", "masks/wanted.png", *PLAIN)  # fmt: skip
    done("run", "sample:ultrasound", "-e", "mae-ultrasound", "--region", "60,90,64,64",
         "--anchor", "98,150", "--out", "runs/sample", *PLAIN)  # fmt: skip
    choices = (
        homes.EncoderChoice(TINY["mae"], precision="float32"),
        homes.EncoderChoice(TINY["mae"], precision="float32", control="constant"),
    )
    request = homes.RunRequest("image.png", choices, ((20.0, 30.0),))
    homes.write_run(homes.compute_run(request), MADE_IN / "runs" / "control")


def _head() -> None:
    embeddings = [
        nsm.embed(f"{name}.png", nsm.load_encoder(TINY["mae"], device="cpu", precision="float32"))
        for name in ("image", "other")
    ]
    features = np.stack([nsm.pooled(one) for one in embeddings])
    head = nsm.fit_image_head(features, ["gland", "stroma"], of=embeddings[0])
    nsm.save_head(head, MADE_IN / "head.json")


def _comparison() -> None:
    done(*guard_kit.comparison_of(MADE_IN))


def _user_encoders() -> None:
    done("encoders", "add", TINY["mae"], "--name", "mine")
    done("encoders", "add", TINY["dira"], "--token-stage", "encoder.layer3", "--normalisation", "imagenet")


def _throughputs() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("platform.node", lambda: "guard")
        throughputs = homes.MeasuredPaces(homes.LoadedEncoders())
        throughputs.learn(guard_kit.spec_of("mae-histology"), homes.Throughput(2.5e-12, "cpu"))


def _cache() -> None:
    """A finished embedding, a finished control, and one that was stopped after its first tiles."""
    encoder, image = nsm.load_encoder(TINY["mae"], device="cpu", precision="float32"), MADE_IN / "image.png"
    nsm.embed(image, encoder, cache=True)
    control = next(one for one in nsm.controls_of(encoder) if one.kind == "constant")
    nsm.embed_control(control, image, encoder, cache=True)

    def stop(progress: Any) -> None:
        if progress.done:
            raise homes.Cancelled("enough")

    with suppress(homes.Cancelled):
        nsm.embed(
            MADE_IN / "image.png",
            encoder,
            tiling=nsm.Tiling(4, 2),
            mask="tissue",
            cache=True,
            on_progress=stop,
        )


def _study() -> None:
    design = homes.Design(
        "tiny", domains=("ultrasound",), methods=("mae",), seeds=1, steps={"mae": 2}, localities=(0.0, 1.0),
        noises=(0.0, 1.0), train_images=16, probe_images=24, test_images=24, dim=16, depth=1, heads=1,
        resamples=20,
    )  # fmt: skip
    (MADE_IN / "tiny.toml").write_text(homes.design_to_toml(design), encoding="utf-8")
    done("study", "--design", "tiny.toml", "--out", "study", "--device", "cpu", "--quiet")


def _write(name: str, content: object) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    (DATA / name).write_text(text, encoding="utf-8")


MAKERS = {
    "help": make_help,
    "signatures": make_signatures,
    "maps": make_maps,
    "run": make_run,
    "files": make_files,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=", ".join(MAKERS))
    DATA.mkdir(exist_ok=True)
    for name in parser.parse_args().parts or MAKERS:
        sys.stdout.write(f"{name} …\n")
        MAKERS[name]()
        versions = guard_kit.read_data("versions.json") if (DATA / "versions.json").exists() else {}
        _write("versions.json", {**versions, name: guard_kit.versions()})


if __name__ == "__main__":
    main()
