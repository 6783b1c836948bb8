"""Methods by name, in the order in which lists show them."""

from collections.abc import Mapping

from napari_sslmaps.encoders.methods.beit import BEIT
from napari_sslmaps.encoders.methods.contrastive import CONTRASTIVE
from napari_sslmaps.encoders.methods.dino import DINO, DINOV2
from napari_sslmaps.encoders.methods.dinov3 import DINOV3
from napari_sslmaps.encoders.methods.dira import DIRA
from napari_sslmaps.encoders.methods.ijepa import IJEPA
from napari_sslmaps.encoders.methods.mae import MAE
from napari_sslmaps.encoders.methods.method import Method

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        MAE,
        IJEPA,
        BEIT,
        DINO,
        DINOV2,
        DINOV3,
        DIRA,
        CONTRASTIVE,
    )
}
