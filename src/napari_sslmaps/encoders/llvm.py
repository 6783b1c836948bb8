"""Two copies of LLVM in one process: triton's and OpenGL's."""

import os
import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec


def load_triton_apart() -> None:
    """Load triton, which torch and timm import, bound to its own copy of LLVM.

    Mesa's software and AMD drivers load LLVM with its symbols global; triton exports those of another
    version. Imported once a napari window has drawn, it would call Mesa's and crash the process. Nothing
    happens where there is no triton, or where it is loaded already.
    """
    if sys.platform != "linux" or "triton" in sys.modules or find_spec("triton") is None:
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | getattr(os, "RTLD_DEEPBIND", 0))
    try:
        with suppress(ImportError):  # torch does without it, too
            import_module("triton")
    finally:
        sys.setdlopenflags(flags)
