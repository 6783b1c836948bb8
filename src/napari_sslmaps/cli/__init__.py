"""The command line. Nothing heavy is imported before a command runs."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


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
        from napari_sslmaps.cli import commands
    except KeyboardInterrupt:
        sys.stderr.write("Error: Stopped.\n")
        sys.exit(1)
    commands.main(arguments)
