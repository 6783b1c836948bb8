"""Maps, one module each, of arrays alone."""
