"""The command line. Nothing heavy is imported before a command runs."""

import math
import sys
from collections.abc import Sequence

__all__ = ["main"]

NO_MEMORY = (
    "Too little memory is free for this, or a limit of this shell, queue or container (ulimit -v) leaves too "
    "little. Free some or raise the limit; 8 GB of address space are enough to begin. Otherwise choose a "
    "smaller region or a coarser level."
)
_SIGNS = (
    "failed to map segment",
    "cannot allocate memory",
    "can't allocate memory",
    "can't start new thread",
)
"""What loaders, systems and torch say where memory is short."""


def is_lack_of_memory(error: BaseException | None) -> bool:
    """Say whether an error, or one that it came of, is that memory is short."""
    while error is not None:
        if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


_LEAST_BYTES = 2**28
"""With less, OpenBLAS asks for memory without end when NumPy or SciPy is imported, and no signal stops it."""


def _address_space() -> float:
    """Return the bytes of addresses that this process may use."""
    try:
        import resource
    except ImportError:  # Windows
        return math.inf
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit


def _check_memory() -> None:
    if _address_space() < _LEAST_BYTES:
        raise MemoryError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, as `commands.main` says; Ctrl-C ends it in its words while that is imported.

    Parameters
    ----------
    arguments
        Arguments without the program's name; `sys.argv`'s if omitted.

    Raises
    ------
    SystemExit
        Always, with the status that `commands.main` gives it.
    """
    try:
        _check_memory()
        from napari_sslmaps.cli import commands
    except KeyboardInterrupt:
        sys.stderr.write("Error: Stopped.\n")
        sys.exit(1)
    except (MemoryError, ImportError, OSError) as error:
        if not is_lack_of_memory(error):
            raise
        sys.stderr.write(f"Error: {NO_MEMORY}\n")
        sys.exit(1)
    commands.main(arguments)
