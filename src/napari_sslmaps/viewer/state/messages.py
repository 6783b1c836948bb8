"""Errors as one line of status."""

import logging

from napari_sslmaps.errors import SSLMapsError

_ADVICE = "What was painted stays; choose a smaller region or fewer encoders and run again."


def sentence(error: BaseException, advice: str = _ADVICE) -> str:
    """Say an error in a line; what is not ours is logged with its trace and followed by advice."""
    if isinstance(error, SSLMapsError):
        return str(error)
    logging.getLogger(__name__).error("The computation failed.", exc_info=error)
    first = (str(error).strip().splitlines() or ["no message"])[0][:200]
    return f"The computation failed ({type(error).__name__}: {first}). {advice}"
