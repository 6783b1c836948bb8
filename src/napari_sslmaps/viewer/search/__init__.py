"""Places over an archive: what is asked in the window, found off its thread, and opened."""
