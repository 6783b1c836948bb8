"""Encoders by name from their authors' repositories, downloaded when asked."""
