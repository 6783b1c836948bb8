"""What the list says beside an encoder's name."""

from napari_sslmaps._qt.encoders.encoder_row import EncoderRow
from napari_sslmaps.encoders.cards import card_of, verdict_of
from napari_sslmaps.encoders.registry import get_spec


def test_a_verdict_on_real_images_is_said_in_short(qtbot):
    spec = get_spec("mae-ultrasound")
    row = EncoderRow(spec)
    qtbot.addWidget(row)
    counted = verdict_of(card_of(spec))[0].partition(" on ")[2].removesuffix(" real sets")
    assert row.known.text() == f"real: ahead on {counted}"
    assert "untrained networks, colour, pixels and position" in row.toolTip()
