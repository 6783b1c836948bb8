"""Fit one PCA over two halves of an image, so that their colours mean the same."""

from skimage.data import immunohistochemistry

import napari_sslmaps as ssl

encoder = ssl.load_encoder("dinov3-demo")
halves = [ssl.embed(immunohistochemistry(), encoder, region=(0, x, 512, 256)) for x in (0, 256)]
left, right = ssl.pca_map(halves, foreground="auto")
print("one basis:", left.basis is right.basis)
print("mean colour left and right:", left.values.mean(axis=(0, 1)), right.values.mean(axis=(0, 1)))
