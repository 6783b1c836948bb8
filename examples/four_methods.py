"""Compare the similarity maps of four methods around one anchor, without a window."""

import napari_sslmaps as ssl
from napari_sslmaps.sources.samples import SAMPLES

sample = SAMPLES["histology"]
with sample.open() as image:
    for spec in ssl.list_encoders():
        embedding = ssl.embed(image, spec.name)
        similar = ssl.similarity_map(embedding, [sample.anchor_yx], centred=True).values
        print(f"{spec.name:12}  {(similar > 0.5).mean():6.1%} of the field is like the anchor")
