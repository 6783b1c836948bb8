"""napari models and psygnal, no Qt: what the plugin decides, testable without a window."""
