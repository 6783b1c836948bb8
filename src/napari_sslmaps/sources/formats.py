"""What files begin with and what they are called: the one table of formats."""

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_FIRST_DICOM_ELEMENTS = (b"\x00\x00", b"\x05\x00", b"\x08\x00", b"\x16\x00", b"\x18\x00")


def begins_as_dicom(start: bytes) -> bool:
    """Whether the first 132 bytes of a file are those of DICOM: its mark, or a first element without it."""
    return start[128:132] == b"DICM" or (start[:2] == b"\x08\x00" and start[2:4] in _FIRST_DICOM_ELEMENTS)
