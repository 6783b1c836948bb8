"""Our own drawings in the place of napari's canvas, without napari's layers."""
