"""Many images by one or several encoders, on many processes or machines: lists → OME-Zarr and one table."""
