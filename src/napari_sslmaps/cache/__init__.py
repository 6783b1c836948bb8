"""Embeddings kept on disk: found again by what decided their numbers, resumed where they were stopped."""
