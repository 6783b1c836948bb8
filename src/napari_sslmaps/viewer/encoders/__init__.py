"""The window's part of encoders: list, review, download."""
