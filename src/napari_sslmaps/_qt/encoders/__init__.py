"""Widgets for encoders: list, cards, checkpoints, downloads."""
