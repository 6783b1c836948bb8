"""The command line. Nothing heavy is imported before a command runs."""

from napari_sslmaps.cli.commands import app, main

__all__ = ["app", "main"]
