"""What the list says beside an encoder's name."""

from html import unescape

import pytest

from napari_sslmaps._qt.encoders.encoder_row import EncoderRow
from napari_sslmaps.encoders.cards import facts_of
from napari_sslmaps.encoders.catalog import EMBEDDED
from napari_sslmaps.encoders.registry import get_spec


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_row_says_what_the_card_says(qtbot, name):
    spec = get_spec(name)
    row = EncoderRow(spec)
    qtbot.addWidget(row)
    facts = facts_of(spec)
    assert row.known.text() == facts.short
    tip = unescape(row.toolTip())
    assert facts.label in tip
    assert facts.explained in tip
