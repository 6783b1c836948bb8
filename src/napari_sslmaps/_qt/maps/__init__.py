"""Widgets of the Maps page."""
