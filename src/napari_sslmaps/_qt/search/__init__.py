"""Widgets of the Search page."""
