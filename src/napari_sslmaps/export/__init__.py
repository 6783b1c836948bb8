"""Results → files: figures, OME-TIFF maps, and a record that can be run again."""
