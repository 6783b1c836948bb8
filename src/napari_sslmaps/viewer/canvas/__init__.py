"""Layers on the canvas: images, maps, anchors, regions and masks."""
