"""One cffi builder per library of corosync, named in setup.py. Run by setuptools; nothing imports it at run time."""

from pathlib import Path

from cffi import FFI

DECLARATIONS = Path(__file__).resolve().parent / "decl"


def builder(library: str) -> FFI:
    """API mode: the compiler checks decl/*.h against the installed headers, and callbacks need no executable memory."""
    ffi = FFI()
    for header in ("corotypes.h", f"{library}.h"):
        ffi.cdef((DECLARATIONS / header).read_text())
    ffi.set_source(
        f"corolistener.corosync._{library}",
        "".join(f"#include <{header}>\n" for header in ("sys/uio.h", "netinet/in.h", f"corosync/{library}.h")),
        libraries=[library],
    )
    return ffi


cpg = builder("cpg")
quorum = builder("quorum")
votequorum = builder("votequorum")
cmap = builder("cmap")
cfg = builder("cfg")
