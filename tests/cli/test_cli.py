"""The command line as a person or a program meets it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from encoders_factory import write_encoder
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from napari_sslmaps.cli import console
from napari_sslmaps.cli.commands import main
from napari_sslmaps.encoders.catalog import NAMES
from napari_sslmaps.encoders.published.catalog import PUBLISHED

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(3).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def test_help_of_everything_loads_nothing_heavy() -> None:
    script = """
import sys
from napari_sslmaps.cli.commands import main
for command in ([], ["demo"], ["run"], ["pretext"], ["batch"], ["encoders"],
                ["encoders", "list"], ["encoders", "show"], ["encoders", "inspect"],
                ["encoders", "add"], ["encoders", "forget"],
                ["encoders", "download"], ["simulate"], ["doctor"]):
    try:
        main([*command, "--help"])
    except SystemExit as ended:
        assert not ended.code, (command, ended.code)
heavy = {"torch", "timm", "huggingface_hub", "napari", "matplotlib", "tifffile", "pydicom", "zarr", "qtpy",
         "distributed", "pyarrow"}
heavy &= set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: napari-sslmaps run" in done.stdout


def test_every_command_is_listed(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for word in ("demo", "run", "encoders", "doctor", "batch", "pretrain", "evaluate", "bench"):
        assert word in out


def test_version(run: Run) -> None:
    code, out, _ = run("--version")
    assert (code, out.count(".")) == (0, 2)


def test_run_writes_figure_maps_and_record(run: Run, installed: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said, errors = run(
        "run", image, "-e", "mae-demo", "-e", "dira-demo", "--anchor", "12,34", "--out", out
    )
    assert code == 0
    assert said == f"Wrote figure.png, 7 maps and run.json to {out}\n"
    assert "dira-demo: a CNN has no attention; activation is shown instead." in errors
    assert (out / "dira-demo" / "activation.tif").is_file()
    assert not (out / "dira-demo" / "attention.tif").exists()


def test_run_takes_every_option(run: Run, installed: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said, errors = run(
        *("run", image, "-e", "mae-demo", "--anchor", "20,20", "--anchor", "21.5,30", "--negative", "30,40"),
        *("--region", "8,8,32,40", "--tile", "3", "--overlap", "1", "--precision", "float32"),
        *("--device", "cpu", "--centred", "--head", "1", "--out", out, "--json"),
    )
    assert (code, errors) == (0, "")
    record = json.loads(said)
    assert record["region"] == {"y": 8, "x": 8, "height": 32, "width": 40, "level": 0, "frame": 0}
    assert (record["anchors"], record["negative"]) == ([[20, 20], [21.5, 30]], [[30, 40]])
    options = record["options"]
    assert (options["tile"], options["overlap"], options["head"], options["centred"]) == (3, 1, 1, True)
    on_disk = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert on_disk["image"].pop("path") == "../image.png"  # so that the folder can be given away
    assert record["image"].pop("path") == str(image)
    assert record == {"folder": str(out), **on_disk}


def test_run_from_a_record_does_it_again(run: Run, installed: Path, image: Path, tmp_path: Path) -> None:
    run("run", image, "-e", "mae-demo", "--anchor", "12,34", "--out", tmp_path / "one", "--device", "cpu")
    record = tmp_path / "one" / "run.json"
    code, said, _ = run("run", "--from", record, "--out", tmp_path / "two")
    assert (code, said) == (0, f"Wrote figure.png, 4 maps and run.json to {tmp_path / 'two'}\n")
    for name in ("attention.tif", "pca.tif", "similarity.tif"):
        one, two = (tifffile.imread(tmp_path / part / "mae-demo" / name) for part in ("one", "two"))
        np.testing.assert_array_equal(one, two)
    before = record.read_bytes()
    assert run("run", "--from", record)[0] == 0
    assert record.read_bytes() == before


def test_a_second_run_takes_its_embedding_from_the_cache(
    run: Run, installed: Path, image: Path, tmp_path: Path
) -> None:
    common = ("run", image, "-e", "mae-histology", "--precision", "float32", "--cache")
    for folder in ("one", "two"):
        code, _, said = run(*common, "--out", tmp_path / folder)
        assert code == 0, said
    code, listed, _ = run("cache", "list", "--json")
    (kept,) = json.loads(listed)["embeddings"]
    assert kept["finished"]
    assert kept["about"]["encoder"] == "mae-histology"
    one, two = (tifffile.imread(tmp_path / folder / "mae-histology" / "pca.tif") for folder in ("one", "two"))
    np.testing.assert_array_equal(one, two)


def test_a_changed_image_is_refused_in_a_sentence(
    run: Run, installed: Path, image: Path, tmp_path: Path
) -> None:
    run("run", image, "-e", "mae-demo", "--out", tmp_path / "one")
    Image.new("L", (64, 48)).save(image)
    code, out, errors = run("run", "--from", tmp_path / "one" / "run.json")
    assert (code, out) == (1, "")
    assert errors.startswith("Error: Expected the image of this record")
    assert errors.count("\n") == 1


def test_other_frames_can_be_chosen(run: Run, installed: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.npy"
    np.save(path, np.random.default_rng(0).random((48, 64)))
    code, _, errors = run("run", path, "-e", "mae-demo", "--frame", "2", "--out", tmp_path / "x")
    assert code == 1
    assert "frame" in errors


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "image.png"],
        ["run", "image.png", "--from", "run.json"],
        ["run", "--from", "run.json", "-e", "mae-demo"],
        ["run", "image.png", "--out", "x", "--anchor", "12;34"],
        ["run", "image.png", "--out", "x", "--anchor", "12"],
        ["run", "image.png", "--out", "x", "--region", "1,2,3"],
        ["run", "image.png", "--out", "x", "--tile", "0"],
        ["run", "--nonsense"],
        ["unknown"],
        ["encoders", "show"],
        ["encoders", "add"],
        ["encoders", "forget"],
        ["run", "--from", "run.json", "--num-heads", "4"],
        ["run", "image.png", "--out", "x", "--num-heads", "many"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], run: Run) -> None:
    code, out, errors = run(*arguments)
    assert (code, out) == (2, "")
    assert "Error" in errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "absent.png", "--out", "x"], "there is none at"),
        (["run", "IMAGE", "-e", "resnet", "--out", "x"], "got 'resnet'"),
        (["run", "IMAGE", "-e", "absent.pth", "--out", "x"], "there is no file at absent.pth"),
        (["run", "IMAGE", "--anchor", "500,1", "--out", "x"], "Expected an anchor on the region"),
        (["run", "IMAGE", "--region", "0,0,500,1", "--out", "x"], "Expected a region inside the image"),
        (["run", "IMAGE", "--region", "0,0,3,3", "--out", "x"], "at least one patch"),
        (["run", "IMAGE", "--device", "tpu", "--out", "x"], "Expected a device that is here"),
        (["run", "--from", "absent.json"], "absent.json cannot be read"),
        (["run", "--from", "IMAGE"], "something else or damaged"),
        (["encoders", "show", "resnet"], "Expected the name of an encoder"),
        (["encoders", "inspect", "absent.pth"], "absent.pth"),
        (["encoders", "inspect", "IMAGE"], "image.png"),
        (["encoders", "inspect", "IMAGE", "--method", "vgg"], "Expected a method among mae"),
        (["encoders", "add", "absent.pth"], "absent.pth"),
        (["encoders", "forget", "absent"], "there are none"),
        (["encoders", "download", "vgg"], "got 'vgg'"),
        (["encoders", "download", "mae-vit-b16"], "Accept it with --accept-licence"),
        (["run", "IMAGE", "-e", "mae-vit-b16", "--out", "x"], "encoders download mae-vit-b16"),
        (["run", "IMAGE", "-e", "mae-demo", "--num-heads", "4", "--out", "x"], "to correct with --num-heads"),
        (["run", "IMAGE", "--token-stage", "x", "--out", "x"], "to correct with --token-stage; got none"),
        (["demo", "--sample", "cat"], "among histology, ultrasound; got 'cat'"),
        (["demo", "--headless", "--out", "figure.docx"], "ending in png, pdf, svg"),
    ],
)
def test_errors_are_one_sentence_on_stderr(
    arguments: list[str],
    sentence: str,
    run: Run,
    installed: Path,
    image: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, errors = run(*(str(image) if part == "IMAGE" else part for part in arguments))
    assert (code, out) == (1, "")
    assert sentence in errors
    assert errors.startswith("Error: ")
    assert "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.png"]


def test_debug_shows_the_traceback(image: Path) -> None:
    from napari_sslmaps.errors import RecordError

    with pytest.raises(RecordError):
        main(["--debug", "run", "--from", str(image)])


def test_no_unforeseen_error_is_a_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division by zero\nand more")

    monkeypatch.setattr("napari_sslmaps.cache.store.Cache.embeddings", fail)
    monkeypatch.setattr("napari_sslmaps.cli.commands.user_log_path", lambda _: tmp_path / "logs")
    code, out, errors = run("cache", "list")
    assert (code, out) == (1, "")
    assert "ZeroDivisionError: division by zero)" in errors
    assert "Traceback" not in errors
    [details] = (tmp_path / "logs").iterdir()
    assert str(details) in errors.replace("\n", "")
    assert "Traceback" in details.read_text(encoding="utf-8")
    assert "cache list" in details.read_text(encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        main(["--debug", "cache", "list"])


def test_a_folder_for_details_that_cannot_be_made_is_no_second_error(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("napari_sslmaps.cache.store.Cache.embeddings", lambda _: 1 / 0)
    monkeypatch.setattr("napari_sslmaps.cli.commands.user_log_path", lambda _: tmp_path / "file" / "logs")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "file"))
    assert "Run it again with --debug" in run("cache", "list")[2]


def test_an_interrupt_says_stopped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_sslmaps.cache.store.Cache.embeddings", interrupt)
    code, _, errors = run("cache", "list")
    assert code == 1
    assert "Stopped." in errors


def test_control_characters_of_others_are_spelled_out(capsys: pytest.CaptureFixture[str]) -> None:
    console.error("a key \x1b[31mred\x07 of a file")
    console.out("ä \x9b and \udcff")
    found = capsys.readouterr()
    assert found.err == "Error: a key \\x1b[31mred\\x07 of a file\n"
    assert found.out == "ä \\x9b and \\udcff\n"


def test_unwritable_folders_get_a_sentence(run: Run, installed: Path, image: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, errors = run("run", image, "-e", "mae-demo", "--out", tmp_path / "file" / "out")
    assert code == 1
    assert f"Expected a folder to write to; {tmp_path / 'file'} is not one. Choose another folder." in errors


@pytest.mark.parametrize("command", [["encoders"], ["encoders", "list"]])
def test_encoders_are_listed(command: list[str], run: Run, installed: Path) -> None:
    code, out, _ = run(*command)
    assert code == 0
    for name in NAMES:
        assert name in out
    assert "\nmae-demo = mae-histology\n" in out
    assert "untrained control" in out
    code, out, _ = run(*command, "--json")
    listed = json.loads(out)
    assert [entry["name"] for entry in listed] == list(NAMES)
    by_name = {entry["name"]: entry for entry in listed}
    assert by_name["dinov3-histology"]["title"] == "DINOv3"
    assert by_name["dira-histology"]["token_stride"] == 8
    assert by_name["dira-histology"]["domain"] == "histology"
    assert by_name["dira-untrained"]["verdict"] == "It is not trained."
    assert by_name["dira-demo"]["alias_of"] == "dira-histology"
    assert (by_name["dira-untrained"]["origin"], by_name["dira-untrained"]["path"]) == ("control", None)


def test_show_prints_the_model_card(run: Run, installed: Path) -> None:
    code, out, _ = run("encoders", "show", "mae-histology")
    assert (code, "A tiny random encoder." in out) == (0, True)
    _, out, _ = run("encoders", "show", "mae-demo")
    assert out.startswith("mae-demo is another name of mae-histology.")
    _, out, _ = run("encoders", "show", "mae-demo", "--json")
    assert json.loads(out)["model_card"].startswith("# mae-histology")
    code, out, _ = run("encoders", "show", "mae-untrained")
    assert (code, "It is not trained." in out) == (0, True)


def test_inspect_says_what_a_file_is(run: Run, tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "mine.safetensors", "ijepa")
    code, out, _ = run("encoders", "inspect", path)
    assert (code, "method: ijepa" in out) == (0, True)
    _, out, _ = run("encoders", "inspect", path, "--json")
    assert json.loads(out)["method"] == "ijepa"
    _, out, _ = run("encoders", "inspect", path, "--num-heads", "4", "--normalisation", "unit", "--json")
    assert json.loads(out)["architecture"]["heads"] == 4
    assert json.loads(out)["normalisation"] == "unit"


def test_inspect_tells_what_a_forward_pass_betrays(run: Run, tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "mine.safetensors", "mae")
    with safe_open(path, "np") as file:
        arrays, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118  # no dict
    arrays["norm.weight"] *= 0
    save_file(arrays, path, metadata=metadata)
    code, out, _ = run("encoders", "inspect", path)
    assert (code, "\ndoubt: " in out) == (0, True)
    _, out, _ = run("encoders", "inspect", path, "--json")
    assert json.loads(out)["doubts"]


def test_files_are_added_listed_shown_and_forgotten(run: Run, installed: Path, tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "epoch_199.safetensors", "mae")
    code, out, _ = run("encoders", "add", path, "--num-heads", "4", "--name", "liver")
    assert (code, out) == (0, "Added liver: mae, ViT d32 × 2, 4 heads, patch 8\n")
    _, out, _ = run("encoders", "add", path, "--json")
    assert (json.loads(out)["name"], json.loads(out)["overrides"]) == ("epoch_199", {})
    _, out, errors = run("encoders", "list")
    assert out.count("your file") == 2
    assert errors == ""
    _, out, _ = run("encoders", "show", "liver")
    assert "Corrected by you: num_heads = 4." in out
    path.unlink()
    _, out, errors = run("encoders", "list")
    assert out.count("your file: moved or changed") == 2
    assert "Expected the weights of liver at" in errors
    _, out, _ = run("encoders", "--json")
    listed = {entry["name"]: entry for entry in json.loads(out)}
    assert "No such file" in listed["liver"]["trouble"]
    assert listed["liver"]["overrides"] == {"num_heads": 4}
    code, out, _ = run("encoders", "forget", "liver")
    assert (code, out) == (0, "Forgot liver; its file is where it was.\n")
    assert "liver" not in run("encoders", "list")[1]


def test_published_encoders_are_listed_on_request(run: Run, installed: Path) -> None:
    assert "dinov3-vit-b16" not in run("encoders", "list")[1]
    _, out, errors = run("encoders", "list", "--published")
    assert errors == ""
    for name, entry in PUBLISHED.items():
        assert re.search(rf" {name} .* {entry.megabytes:.0f} .*published", out)
    _, out, _ = run("encoders", "show", "dinov3-vit-b16")
    assert "DINOv3 License" in out
    assert "not downloaded; about 343 MB" in out


@pytest.mark.parametrize("answer", ["y", "n"])
def test_the_licence_is_shown_on_a_terminal_and_asked_for(
    answer: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[bool] = []

    def download(name: str, *, accept_licence: bool, on_progress: object) -> Path:
        asked.append(accept_licence)
        return tmp_path

    terminal = StringIO(f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("napari_sslmaps.encoders.published.fetch.download_encoder", download)
    code, out, _ = run("encoders", "download", "dinov3-vit-s16")
    assert "about 86 MB from https://huggingface.co/facebook/dinov3-vits16-pretrain-lvd1689m" in out
    assert "Licence: DINOv3 License." in out
    assert "put your token in HF_TOKEN" in out
    assert (code, asked) == ((0, [True]) if answer == "y" else (1, []))


def test_corrections_reach_files_alone_and_the_record(
    run: Run, installed: Path, image: Path, tmp_path: Path
) -> None:
    path = write_encoder(tmp_path / "mine.safetensors", "mae")
    run("encoders", "add", path, "--name", "liver", "--normalisation", "unit")
    out = tmp_path / "out"
    code, said, _ = run(
        *("run", image, "-e", "mae-demo", "-e", "liver", "--num-heads", "4", "--eps", "1e-4", "--out", out),
        *("--device", "cpu", "--precision", "float32", "--json"),
    )
    assert code == 0
    embedded, mine = json.loads(said)["encoders"]
    assert embedded["overrides"] == {}
    assert mine["name"] == str(path)
    assert mine["overrides"] == {"num_heads": 4, "normalisation": "unit", "eps": 1e-4}
    assert mine["provenance"]["overrides"] == mine["overrides"]
    run("encoders", "forget", "liver")
    code, said, _ = run("run", "--from", out / "run.json", "--out", tmp_path / "two", "--json")
    assert code == 0
    assert json.loads(said)["encoders"][1]["overrides"] == mine["overrides"]
    one, two = (
        tifffile.imread(tmp_path / folder / part / "pca.tif")
        for folder, part in (("out", "liver"), ("two", "mine"))
    )
    np.testing.assert_array_equal(one, two)


def test_demo_without_a_display_says_so_and_writes_a_figure(
    run: Run, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_sslmaps.doctor.missing_for_windows", lambda: "there is no display")
    code, out, _ = run("demo", "--out", tmp_path / "figure.png")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("No window can be opened here (there is no display): writing")
    assert lines[1] == f"Wrote {tmp_path / 'figure.png'}"
    with Image.open(tmp_path / "figure.png") as figure:
        assert min(figure.size) > 1000


def test_demo_with_a_display_opens_napari(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    monkeypatch.setattr("napari_sslmaps.doctor.missing_for_windows", lambda: "")
    monkeypatch.setattr("napari_sslmaps._qt.demo.run_demo", opened.append)
    assert run("demo", "--sample", "ultrasound")[0] == 0
    assert opened == ["ultrasound"]


def test_stopping_is_no_traceback(
    run: Run, installed: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_sslmaps.run.compute.embed", interrupt)
    code, _, errors = run("run", image, "-e", "mae-demo", "--out", tmp_path / "out")
    assert code != 0
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()
