"""Published encoders: downloading from a stand-in server that misbehaves in every way."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hub_server import Fault, Hub, running_hub

import napari_sslmaps as ssl
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.published.local import find_local, folder_to_bring_to
from napari_sslmaps.encoders.registry import get_spec, hash_encoder, model_card
from napari_sslmaps.errors import (
    Cancelled,
    EncoderNotFoundError,
    LicenceNotAcceptedError,
    WeightsUnavailableError,
)

NAME = "mae-vit-b16"
GATED = "dinov3-vit-s16"
REPOSITORY = PUBLISHED[NAME].repository
WEIGHTS = np.random.default_rng(0).bytes(200_000)


@pytest.fixture
def hub(nobody_at_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    for own in ("HF_TOKEN_PATH", "AGENT_HARNESSES_PATH"):
        monkeypatch.setattr(constants, own, str(nobody_at_home / own))
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    close_session()
    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        hub.files[REPOSITORY] = {
            "config.json": b'{"model_type": "vit_mae"}',
            "preprocessor_config.json": b"{}",
            "model.safetensors": WEIGHTS,
        }
        yield hub
        close_session()


def download(name: str = NAME, **options: object) -> Path:
    return ssl.download_encoder(name, accept_licence=True, **options)  # type: ignore[arg-type]


def leftovers(home: Path) -> list[str]:
    return [path.name for path in (home / "hub").rglob("*.incomplete")]


def test_a_download_is_whole_and_reported(hub: Hub) -> None:
    heard: list[tuple[int, int]] = []
    folder = download(on_progress=lambda done, total: heard.append((done, total)))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == hub.files[REPOSITORY]
    size = sum(len(content) for content in hub.files[REPOSITORY].values())
    assert heard[-1] == (size, size)
    assert len(heard) > 10
    assert heard == sorted(heard)
    spec = get_spec(NAME)
    assert (spec.path, spec.trouble, spec.origin) == (folder, "", "published")
    assert spec.megabytes == pytest.approx(size / 1e6)


def test_what_is_here_is_not_asked_for_again(hub: Hub) -> None:
    folder = download()
    asked = len(hub.requests)
    assert ssl.download_encoder(NAME) == folder
    assert len(hub.requests) == asked


def test_nothing_is_downloaded_before_the_licence_is_accepted(hub: Hub) -> None:
    with pytest.raises(LicenceNotAcceptedError, match=r"CC-BY-NC-4\.0.*not commercial.*accept_licence=True"):
        ssl.download_encoder(NAME)
    assert hub.requests == []


def test_loading_never_downloads(hub: Hub) -> None:
    with pytest.raises(
        WeightsUnavailableError, match=r"448 MB, CC-BY-NC-4\.0.*encoders download mae-vit-b16"
    ):
        ssl.load_encoder(NAME)
    with pytest.raises(WeightsUnavailableError, match="not downloaded"):
        hash_encoder(NAME)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        ([("drop", 50_000)], [None, "bytes=50000-"]),
        ([("short", 120_000), ("short", 10_000)], [None, "bytes=120000-", "bytes=130000-"]),
    ],
    ids=["dropped", "truncated"],
)
def test_a_cut_is_gone_on_from(
    faults: list[Fault], ranges: list[str | None], hub: Hub, nobody_at_home: Path
) -> None:
    hub.faults += faults
    folder = download()
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.ranges() == ranges
    assert leftovers(nobody_at_home) == []


def test_a_reset_connection_is_gone_on_from(hub: Hub) -> None:
    hub.faults.append(("reset", 150_000))
    with suppress(WeightsUnavailableError):  # if nothing had arrived before the reset took it away
        download()
    assert (download() / "model.safetensors").read_bytes() == WEIGHTS
    assert len(hub.ranges()) == 2


def test_a_connection_that_never_holds_is_a_sentence_and_the_next_call_goes_on(hub: Hub) -> None:
    hub.faults += [("drop", 70_000), *[("drop", 0)] * 5]
    with pytest.raises(WeightsUnavailableError, match=r"cut off .* goes on from there"):
        download()
    assert get_spec(NAME).path is None
    hub.requests.clear()
    download()
    assert hub.ranges() == ["bytes=70000-"]


def test_a_cancelled_download_goes_on_later(hub: Hub) -> None:
    def stop(done: int, total: int) -> None:
        if done > 100_000:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        download(on_progress=stop)
    assert find_local(PUBLISHED[NAME]) is None
    heard: list[int] = []
    download(on_progress=lambda done, _: heard.append(done))
    assert hub.ranges()[-1] not in (None, "bytes=0-")
    assert heard[-1] == sum(len(content) for content in hub.files[REPOSITORY].values())


def test_a_wrong_hash_is_refused_and_removed(hub: Hub, nobody_at_home: Path) -> None:
    hub.damaged = True
    with pytest.raises(WeightsUnavailableError, match=r"sha256 .*damaged on its way and is removed"):
        download()
    assert leftovers(nobody_at_home) == []
    assert get_spec(NAME).path is None
    hub.damaged = False
    assert (download() / "model.safetensors").read_bytes() == WEIGHTS


def test_a_mirror_without_hashes_serves_too(hub: Hub) -> None:
    hub.hashes = False
    hub.faults.append(("drop", 50_000))
    heard: list[int] = []
    folder = download(on_progress=lambda done, _: heard.append(done))
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert len(heard) > 10
    assert heard == sorted(heard)


def test_older_repositories_have_a_pickle_and_no_preprocessing(hub: Hub) -> None:
    files = hub.files[REPOSITORY]
    files["pytorch_model.bin"] = files.pop("model.safetensors")
    del files["preprocessor_config.json"]
    assert sorted(path.name for path in download().iterdir()) == ["config.json", "pytorch_model.bin"]


@pytest.mark.parametrize(("status", "code"), [(401, "GatedRepo"), (403, "GatedRepo"), (403, "")])
def test_gated_access_is_explained(status: int, code: str, hub: Hub) -> None:
    hub.refused[PUBLISHED[GATED].repository] = (status, code)
    with pytest.raises(WeightsUnavailableError) as caught:
        download(GATED)
    said = str(caught.value)
    assert f"refuses ({status})" in said
    assert f"Ask for it at https://huggingface.co/{PUBLISHED[GATED].repository}" in said
    assert "HF_TOKEN" in said


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (404, "RepoNotFound", r"none of it \(404\).*renamed"),
        (404, "EntryNotFound", r"none of it \(404\).*renamed"),
        (401, "", r"refuses \(401\).*HF_TOKEN"),
        (503, "", "answers 503. Try again later"),
    ],
)
def test_refusals_are_sentences(status: int, code: str, sentence: str, hub: Hub) -> None:
    hub.refused[REPOSITORY] = (status, code)
    with pytest.raises(WeightsUnavailableError, match=sentence):
        download()


def test_the_token_goes_to_the_hub_and_nowhere_else(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    download()
    tokens = {path[:7] == "/store/": given for _, path, _, given in hub.requests}
    assert tokens == {False: "Bearer hf_mine", True: None}


def test_offline_names_the_files_and_the_folder(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsUnavailableError) as caught:
        download()
    said, folder = str(caught.value), folder_to_bring_to(PUBLISHED[NAME])
    assert "config.json, preprocessor_config.json and model.safetensors or pytorch_model.bin" in said
    assert f"put them in {folder}" in said
    assert hub.requests == []
    folder.mkdir(parents=True)
    for name, content in hub.files[REPOSITORY].items():
        (folder / name).write_bytes(content)
    assert get_spec(NAME).path == ssl.download_encoder(NAME) == folder


def test_no_server_is_offline_too(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    template = "http://127.0.0.1:1/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(WeightsUnavailableError, match=r"Expected a network .* bring config\.json"):
        download()


def test_a_full_disk_is_noticed_before(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 1000, 1000)  # noqa: PYI024  # as shutil's
    monkeypatch.setattr("napari_sslmaps.encoders.published.fetch.shutil.disk_usage", lambda _: usage)
    with pytest.raises(WeightsUnavailableError, match="free space"):
        download()
    assert hub.ranges() == []


def test_unknown_names_are_refused() -> None:
    with pytest.raises(EncoderNotFoundError, match=r"mae-vit-b16.*got 'vgg'"):
        ssl.download_encoder("vgg", accept_licence=True)


def test_all_are_listed_with_how_to_get_them() -> None:
    specs = {spec.name: spec for spec in ssl.list_encoders(published=True)}
    assert set(PUBLISHED) < set(specs)
    assert not set(PUBLISHED) & {spec.name for spec in ssl.list_encoders()}
    for name, entry in PUBLISHED.items():
        spec = specs[name]
        assert (spec.origin, spec.path, spec.licence) == ("published", None, entry.licence)
        assert (entry.elsewhere or f"encoders download {name}") in spec.trouble
        assert entry.page in model_card(name)
        assert spec.megabytes == 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mae-vit-b16", "vit_mae"),
        ("ijepa-vit-h14", "ijepa"),
        ("dino-vit-b16", "vit"),
        ("dinov2-vit-s14", "dinov2"),
        ("dinov3-vit-s16", "dinov3_vit"),
    ],
)
def test_a_downloaded_encoder_runs(name: str, kind: str, hub: Hub, tmp_path: Path) -> None:
    from made_transformers import random_model

    entry = PUBLISHED[name]
    random_model(kind).save_pretrained(tmp_path)
    hub.files[entry.repository] = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    download(name)
    encoder = ssl.load_encoder(name, device="cpu", precision="float32")
    spec = encoder.spec
    assert (spec.name, spec.origin, spec.method, spec.licence) == (
        name,
        "published",
        entry.method,
        entry.licence,
    )
    assert spec.architecture.dim == 96
    assert spec.sha256 == hash_encoder(name)
    assert [spec.name for spec in ssl.list_encoders() if spec.origin == "published"] == [name]


def test_two_processes_do_not_download_the_same(hub: Hub, nobody_at_home: Path) -> None:
    locks = nobody_at_home / "hub" / ".locks" / f"models--{REPOSITORY.replace('/', '--')}"
    locks.mkdir(parents=True)
    lock = FileLock(locks / f"{hashlib.sha256(WEIGHTS).hexdigest()}.napari-sslmaps.lock")
    with lock, pytest.raises(WeightsUnavailableError, match="another process is downloading it"):
        download()
    assert (download() / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("rubbish", [b"x" * 70_000, b"x" * (len(WEIGHTS) + 1), b"x" * len(WEIGHTS)])
def test_a_partial_file_of_something_else_does_no_harm(
    rubbish: bytes, hub: Hub, nobody_at_home: Path
) -> None:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    blobs = nobody_at_home / "hub" / f"models--{REPOSITORY.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{digest}.napari-sslmaps.incomplete").write_bytes(rubbish)
    with suppress(WeightsUnavailableError):
        download()
    assert (download() / "model.safetensors").read_bytes() == WEIGHTS


def test_the_environment_is_heeded_by_the_command(hub: Hub, tmp_path: Path) -> None:
    program = "import sys; from napari_sslmaps.cli.commands import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "encoders", "download", NAME]
    here = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment = here | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [*command, "--accept-licence"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "home" / "hub").rglob("model.safetensors"))) == 1


@pytest.mark.parametrize("refusing", [True, False])
def test_a_proxy_that_lets_nothing_through_is_no_network(
    refusing: bool, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy", raising=False)
    template = "https://hub.invalid/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HTTPS_PROXY", hub.url if refusing else "http://127.0.0.1:1")
    with pytest.raises(WeightsUnavailableError, match=r"Expected a network .* bring config\.json"):
        download()
