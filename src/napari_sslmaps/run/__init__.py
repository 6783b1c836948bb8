"""A whole comparison without a viewer: image, encoders, anchors → maps → files; and again from its record."""
