"""The window's part of pretext views."""
