"""Widgets of the Pretext page."""
