"""Compare four methods and an untrained control around one anchor, without a window."""

import napari_sslmaps as ssl
from napari_sslmaps.sources.samples import SAMPLES

sample = SAMPLES["histology"]
trained = [spec.name for spec in ssl.list_encoders() if spec.domain == "histology" and not spec.alias_of]
with sample.open() as image:
    for name in (*trained, "mae-untrained"):
        embedding = ssl.embed(image, name)
        similar = ssl.similarity_map(embedding, [sample.anchor_yx], centred=True).values
        print(f"{name:16}  {(similar > 0.5).mean():6.1%} of the field is like the anchor")
