"""Memory that this process may still take: of the machine, of its container, of its own limit."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it has no types

from napari_sslmaps.errors import DeviceMemoryError

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
_UNLIMITED = 2**60
"""What a group without a limit says is some number beyond this."""
_GROUP_FILES = {
    "0": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""Limit, usage, and what of the usage is only read from disk, as the two versions of groups call them."""


def free_memory(proc: Path = _PROC, cgroup: Path = _CGROUP) -> int:
    """Return the bytes that this process may still take; `sys.maxsize` where the system does not tell.

    Parameters
    ----------
    proc, cgroup
        Folders in which the system tells it.
    """
    return min((*_machine(proc), *_groups(proc, cgroup), *_own_limit(proc)), default=sys.maxsize)


_LEAST = 300_000_000
"""Address space without which libraries that compute end a process with a word of their own."""


def check_own_limit(proc: Path = _PROC) -> None:
    """Refuse to compute in an address space that is as good as used up.

    Raises
    ------
    DeviceMemoryError
        If it is.
    """
    for left in _own_limit(proc):
        if left < _LEAST:
            raise DeviceMemoryError(
                f"Expected {_LEAST / 1e6:.0f} MB of address space to compute in; the limit of this shell, "
                f"queue or container leaves {left / 1e6:.0f} MB. Raise it (ulimit -v); 8 GB are enough."
            )


def address_space_left(proc: Path = _PROC) -> int:
    """Return the bytes of addresses that this process may still use; `sys.maxsize` without a limit."""
    return next(_own_limit(proc), sys.maxsize)


def resident_peak(proc: Path = _PROC) -> int | None:
    """Return the most bytes held since `forget_peak`; None if the system does not tell."""
    return next(_lines(proc / "self/status", "VmHWM"), None)


def forget_peak(proc: Path = _PROC) -> int | None:
    """Let `resident_peak` begin anew, and return the bytes that are held now; None if that cannot be had."""
    try:
        (proc / "self/clear_refs").write_text("5")
    except OSError:
        return None
    return next(_lines(proc / "self/status", "VmRSS"), None)


def _machine(proc: Path) -> Iterator[int]:
    """Yield what can be had without others being swapped out."""
    if sys.platform == "linux":
        yield from _lines(proc / "meminfo", "MemAvailable")
    else:
        yield int(psutil.virtual_memory().available)


def _own_limit(proc: Path) -> Iterator[int]:
    """Yield what is left of the address space, which `ulimit -v` and queues of clusters limit."""
    if sys.platform == "win32":
        return
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        yield from (max(0, limit - used) for used in _lines(proc / "self/status", "VmSize"))


def _groups(proc: Path, cgroup: Path) -> Iterator[int]:
    """Yield what the process's groups of control leave: its own and those around it, of either version."""
    with suppress(OSError):
        for line in (proc / "self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            version = "0" if number == "0" else "memory"
            if version == "memory" and "memory" not in controllers.split(","):
                continue
            root = cgroup / "memory" if version == "memory" else cgroup
            inside = root / path.lstrip("/")
            for folder in (inside, *(each for each in inside.parents if each.is_relative_to(root))):
                yield from _left_in(folder, *_GROUP_FILES[version])


def _left_in(folder: Path, limit: str, usage: str, cached: str) -> Iterator[int]:
    with suppress(OSError, ValueError):  # without a limit, or "max"
        most, used = (int((folder / name).read_text()) for name in (limit, usage))
        if most < _UNLIMITED:
            read = next(_numbers(folder / "memory.stat", cached, 1), 0)
            yield max(0, most - max(0, used - read))


def _lines(path: Path, name: str) -> Iterator[int]:
    return _numbers(path, f"{name}:", 1024)


def _numbers(path: Path, name: str, unit: int) -> Iterator[int]:
    with suppress(OSError):
        for line in path.read_text().splitlines():
            word, *rest = line.split()[:2]
            if word == name and rest:
                yield unit * int(rest[0])
