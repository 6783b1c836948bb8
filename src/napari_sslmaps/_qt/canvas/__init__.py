"""What is drawn where napari's canvas is, without napari's layers."""
