import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

import pytest

from napari_sslmaps import files
from napari_sslmaps.errors import ExportError
from napari_sslmaps.files import alone_in, fitting, hash_path, written_whole


def test_folders_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    with written_whole(path) as temporary:
        temporary.write_text("x")
        assert not path.exists()
        assert temporary.suffix == ".txt"
    assert path.read_text() == "x"
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o600 == 0o600


def test_a_failure_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("old")
    with suppress(KeyboardInterrupt), written_whole(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


posix = pytest.mark.skipif(sys.platform == "win32", reason="the system has no locks that a process leaves")


@posix
def test_what_a_killed_process_left_is_gone_after_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    script = (
        "import os, sys; from pathlib import Path; from napari_sslmaps.files import written_whole\n"
        "with written_whole(Path(sys.argv[1])) as part: part.write_text('half of it'); os._exit(9)"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with written_whole(path) as temporary:
        assert temporary.read_text() == ""
        temporary.write_text("x")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("x", [path])


def test_two_may_write_the_same_at_once(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    with written_whole(path) as first, written_whole(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("first", [path])


@posix
def test_who_is_done_leaves_alone_what_the_next_writes(tmp_path: Path) -> None:
    """Between putting a file in its place and leaving it, another may have begun under the same name."""
    path = tmp_path / "c.txt"
    with ExitStack() as later:
        with files._growing(path) as first:
            first.replace(path)
            second = later.enter_context(files._growing(path))
            second.write_text("second")
        assert second == first
        assert second.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    path, mine = tmp_path / "c.txt", tmp_path / "mine"
    mine.write_text("mine")
    with written_whole(path) as temporary:
        name = temporary.name
    path.unlink()
    (tmp_path / name).symlink_to(mine)
    with pytest.raises(ExportError), written_whole(path) as temporary:
        temporary.write_text("x")
    assert mine.read_text() == "mine"


def test_a_full_disk_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    with (
        pytest.raises(ExportError, match=r"c\.txt; the system says: No space left .*free some space"),
        written_whole(path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ExportError, match="Choose another folder"),
        written_whole(tmp_path / "file" / "c.txt"),
    ):
        pass


def test_a_name_as_long_as_the_system_takes_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 251 + ".txt")
    with written_whole(path) as temporary:
        temporary.write_text("x")
    assert path.read_text() == "x"


def test_a_name_fits_every_file_system() -> None:
    assert fitting("a b/ü.png") == "a b/ü.png"
    assert [fitting(name) for name in ("NUL", "con.png", "x/lpt1.tif", "a.", "b ")] == [
        "_NUL",
        "_con.png",
        "x/_lpt1.tif",
        "a._",
        "b _",
    ]
    long = fitting("ü" * 127 + ".png")
    assert len(long.encode()) <= 200
    assert long != fitting("ü" * 127 + ".tif")
    assert fitting("console.png") == "console.png"
    assert fitting("a\nb.png") not in (fitting("a\rb.png"), "a_b.png")
    assert fitting("a\nb.png").startswith("a_b.png-")


@pytest.mark.parametrize(
    "failing", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("pos 832")]
)
def test_a_full_disk_is_one_sentence_and_an_older_file_stays(
    failing: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch and faiss say it in words of their own."""
    (tmp_path / "a.pt").write_bytes(b"old")
    usage = shutil.disk_usage(tmp_path)

    def full_of_both(folder: Path) -> object:
        return usage._replace(free=2**30 if len(list(folder.iterdir())) < 2 else 0)

    monkeypatch.setattr("napari_sslmaps.files.shutil.disk_usage", full_of_both)

    def fill(path: Path) -> None:
        path.write_bytes(b"half")
        raise failing

    with (
        pytest.raises(ExportError, match=r"the system says: No space left on device\. Choose another folder"),
        written_whole(tmp_path / "a.pt") as part,
    ):
        fill(part)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.pt": b"old"}


@pytest.mark.skipif(sys.platform == "win32", reason="the time of the last change of facts is none there")
def test_a_file_is_hashed_once_and_again_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    digest = hashlib.file_digest

    def counted(file: BinaryIO, name: str) -> "hashlib._Hash":
        hashed.append(file.name)
        return digest(file, name)

    monkeypatch.setattr("napari_sslmaps.files.hashlib.file_digest", counted)
    path = tmp_path / "a.png"
    path.write_bytes(b"first")
    fresh = [hash_path(path), hash_path(path)]  # it could change within one tick of the clock
    assert (len(hashed), set(fresh)) == (2, {hashlib.sha256(b"first").hexdigest()})
    monkeypatch.setattr("napari_sslmaps.files._SETTLED_NS", -(10**9))
    assert [hash_path(path), hash_path(path)] == fresh
    assert len(hashed) == 3
    status = path.stat()
    time.sleep(0.05)
    path.write_bytes(b"other")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # of the same size and age
    assert hash_path(path) == hashlib.sha256(b"other").hexdigest()


HOLDER = (
    "import sys, time; from pathlib import Path; from napari_sslmaps.files import alone_in\n"
    "with alone_in(Path(sys.argv[1])):\n    print('at work', flush=True); time.sleep(60)"
)


def test_a_second_writer_of_a_folder_is_told_who_the_first_is_until_that_is_killed(tmp_path):
    folder = tmp_path / "made" / "out"
    with subprocess.Popen([sys.executable, "-c", HOLDER, folder], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "at work\n"
        with (
            pytest.raises(ExportError, match=rf"process {first.pid} on .* is at work in {folder}\. Wait"),
            alone_in(folder),
        ):
            pytest.fail("it is not alone")
        with alone_in(folder, "other"), alone_in(folder, "another"):
            pass
        first.kill()
    assert any(folder.iterdir())  # the lock of a process that is gone
    with alone_in(folder):
        (folder / "result").write_text("of the second")
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_a_folder_made_to_be_alone_in_goes_if_nothing_is_written(tmp_path):
    with suppress(KeyboardInterrupt), alone_in(tmp_path / "made" / "out"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_lies_under_the_name_of_a_lock_stays(tmp_path):
    (tmp_path / ".napari-sslmaps.lock").mkdir()
    with pytest.raises(ExportError, match="directory"), alone_in(tmp_path):
        pytest.fail("it is not alone")
    (other := tmp_path / "a.txt").write_text("mine")
    (tmp_path / ".linked.napari-sslmaps.lock").symlink_to(other)
    with pytest.raises(ExportError, match=r"Expected to write"), alone_in(tmp_path, "linked"):
        pytest.fail("it is not alone")
    assert other.read_text() == "mine"
