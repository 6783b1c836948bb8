"""What the list says beside an encoder's name."""

from napari_sslmaps._qt.encoders.encoder_row import EncoderRow
from napari_sslmaps.encoders.cards import facts_of
from napari_sslmaps.encoders.registry import get_spec


def test_a_verdict_on_real_images_is_said_in_short(qtbot):
    spec = get_spec("mae-ultrasound")
    row = EncoderRow(spec)
    qtbot.addWidget(row)
    facts = facts_of(spec)
    assert row.known.text() == f"real: ahead on {len(facts.ahead_on)} of {len(facts.real_sets)}"
    assert all(name.replace("_", " ") in row.toolTip() for name in facts.ahead_on)
    assert "untrained networks, colour, pixels and position" in row.toolTip()
