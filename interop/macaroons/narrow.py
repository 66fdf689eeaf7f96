"""Adds caveats to the macaroon on standard input, one with each argument, by pymacaroons or by libmacaroons."""

import ctypes
import sys

which, *caveats = sys.argv[1:]
text = sys.stdin.read().strip()


def by_pymacaroons() -> str:
    from pymacaroons import Macaroon

    macaroon = Macaroon.deserialize(text)
    for caveat in caveats:
        macaroon.add_first_party_caveat(caveat)
    return macaroon.serialize()


def by_pymacaroons_v2() -> str:
    from pymacaroons import MACAROON_V2, Macaroon

    macaroon = Macaroon.deserialize(text)
    for caveat in caveats:
        macaroon.add_first_party_caveat(caveat)
    macaroon._version = MACAROON_V2
    return macaroon.serialize()


def by_libmacaroons() -> str:
    library = ctypes.CDLL("libmacaroons.so.0")
    for name in ("macaroon_deserialize", "macaroon_add_first_party_caveat"):
        getattr(library, name).restype = ctypes.c_void_p
    library.macaroon_serialize_size_hint.restype = ctypes.c_size_t
    error = ctypes.c_int()

    def require(result: int) -> int:
        if not result:
            raise SystemExit(f"libmacaroons refused with {error.value}")
        return result

    macaroon = require(library.macaroon_deserialize(text.encode(), ctypes.byref(error)))
    for caveat in caveats:
        predicate = caveat.encode()
        macaroon = require(
            library.macaroon_add_first_party_caveat(
                ctypes.c_void_p(macaroon), predicate, ctypes.c_size_t(len(predicate)), ctypes.byref(error)
            )
        )
    size = library.macaroon_serialize_size_hint(ctypes.c_void_p(macaroon))
    buffer = ctypes.create_string_buffer(size + 1)
    if library.macaroon_serialize(ctypes.c_void_p(macaroon), buffer, ctypes.c_size_t(size), ctypes.byref(error)) < 0:
        raise SystemExit(f"libmacaroons refused with {error.value}")
    return buffer.value.decode()


makers = {"pymacaroons": by_pymacaroons, "pymacaroons-v2": by_pymacaroons_v2, "libmacaroons": by_libmacaroons}
print(makers[which]())
