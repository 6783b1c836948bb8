"""The command line. Nothing heavy is imported before a command runs."""

from napari_sslmaps.cli.app import main

__all__ = ["main"]
