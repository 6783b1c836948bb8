"""Widgets of the page ``Readers``."""
