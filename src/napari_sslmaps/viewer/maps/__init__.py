"""The window's part of maps: runs, maps as anchors and options change, what is in view."""
