#!/usr/bin/env python3
"""Makes the golden files of version 1, independently of the crate.

A second reading of docs/events.md and docs/sealing.md: where the crate and this file agree byte for
byte, the documents say enough to write another implementation. Needs the package `cryptography`.
The files stand for ever; a new version gets a new maker and new files beside these.
"""

import hashlib
import pathlib
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HERE = pathlib.Path(__file__).parent


def pack(value):
    """MessagePack, every value in its shortest form."""
    if isinstance(value, dict):
        assert len(value) < 16
        return bytes([0x80 | len(value)]) + b"".join(pack(k) + pack(v) for k, v in value.items())
    if isinstance(value, list):
        assert len(value) < 16
        return bytes([0x90 | len(value)]) + b"".join(map(pack, value))
    if isinstance(value, bytes):
        assert len(value) < 256
        return bytes([0xC4, len(value)]) + value
    if isinstance(value, str):
        text = value.encode()
        assert len(text) < 256
        return (bytes([0xA0 | len(text)]) if len(text) < 32 else bytes([0xD9, len(text)])) + text
    for limit, head in ((1 << 7, ""), (1 << 8, "B"), (1 << 16, "H"), (1 << 32, "I"), (1 << 64, "Q")):
        if value < limit:
            mark = {"": b"", "B": b"\xcc", "H": b"\xcd", "I": b"\xce", "Q": b"\xcf"}[head]
            return mark + (struct.pack(">" + head, value) if head else bytes([value]))
    raise ValueError(value)


SEEN = {"after": 41, "open": 0x0123456789ABCDEF}
FAILURE = {"kind": 2, "message": "card refused", "causes": ["bank: 402", "limit"]}

EVENTS = [
    ("run_created", 1, "workflow onboard, version 2, input nil, seed 00..1f, no parent",
     {"workflow": "onboard", "version": 2, "input": b"\xc0", "seed": bytes(range(32))}),
    ("run_created_by_a_parent", 1, "the same, parent wrun_1",
     {"workflow": "onboard", "version": 2, "input": b"\xc0", "seed": bytes(range(32)), "parent": "wrun_1"}),
    ("step_completed", 2, "step charge#2, result true, the first attempt",
     {"key": "charge#2", "result": b"\xc3", **SEEN}),
    ("step_completed_at_last", 2, "step item#3/charge, no result bytes, 300 attempts",
     {"key": "item#3/charge", "result": b"", "attempts": 300, **SEEN}),
    ("step_failed", 3, "step charge, fatal, two causes, 3 attempts",
     {"key": "charge", "failure": FAILURE, "attempts": 3, **SEEN}),
    ("timer_fired", 4, "timer sleep", {"key": "sleep", **SEEN}),
    ("cancel_requested", 8, "reason: sold out", {"reason": "sold out"}),
    ("timer_set", 32, "timer sleep, until 2023-11-14T22:13:20Z", {"key": "sleep", "at": 1_700_000_000_000}),
    ("run_completed", 48, "output 7", {"output": b"\x07"}),
    ("run_failed", 49, "poisoned, no causes", {"failure": {"kind": 7, "message": "three workers died"}}),
    ("run_cancelled", 50, "reason: sold out", {"reason": "sold out"}),
    ("step_started", 64, "step charge", {"key": "charge"}),
    ("step_retrying", 65, "step charge, timed out, attempt 1, again at 2023-11-14T22:13:21Z",
     {"key": "charge", "failure": {"kind": 3, "message": "10 s are over"}, "attempt": 1,
      "retry_at": 1_700_000_001_000}),
    ("step_abandoned", 66, "step charge", {"key": "charge"}),
    ("run_blocked", 67, "why, with characters of two, three and four bytes",
     {"why": "panicked: n\u00e4chste \u2192 \U0001F469"}),
]


def parts(*all_parts):
    return b"".join(struct.pack(">I", len(part)) + part for part in all_parts)


def rle_frame(byte, count):
    """A zstd frame (RFC 8878) of one repeated byte, written by hand."""
    descriptor = bytes([0b0110_0000])  # single segment, a content size of two bytes
    block = struct.pack("<I", count << 3 | 1 << 1 | 1)[:3]  # last, of one repeated byte
    return b"\x28\xb5\x2f\xfd" + descriptor + struct.pack("<H", count - 256) + block + byte


RUN = "wrun_01HF7YAT000W3GE1R70W3GE1R7"
# name, description, cipher, compression, realm, log tag, log names, key id, position, kind, at, plain
ENVELOPES = [
    ("run", "a run's record", 1, 0, "default", 1, [RUN], "2026", 2, 2, 1_700_000_000_000,
     pack({"key": "charge#2", "result": b"\xc3", **SEEN})),
    ("run_first", "an empty payload at the first position and the epoch", 1, 0, "", 1, ["a"], "k", 1, 1, 0, b""),
    ("stream", "a chunk of a stream", 1, 0, "default", 2, [RUN, "log"], "2026", 9, 97, 1_700_000_000_000, b"chunk"),
    ("token", "a token's record; a name with NUL and four-byte characters", 1, 0, "shop", 3,
     ["\0\U0001F469\u200D\U0001F680"], "k-\u00e4", 1 << 40, 112, 253_402_300_799_999, b"claim"),
    ("long_names", "names of 512 bytes", 1, 0, "r" * 512, 2, ["a" * 512, "b" * 512], "c" * 512, 3, 97, 5, b"x"),
    ("zstd", "2000 times the letter a, compressed", 1, 1, "default", 1, [RUN], "2026", 3, 48,
     1_700_000_000_000, b"a" * 2000),
    ("none", "not encrypted", 0, 0, "default", 1, [RUN], "none", 2, 8, 1_700_000_000_000,
     pack({"reason": "sold out"})),
    ("none_zstd", "not encrypted, compressed", 0, 1, "default", 1, [RUN], "none", 2, 48, 5, b"a" * 2000),
]

MASTER = bytes(range(0x40, 0x60))
NONCE = bytes(range(0xC0, 0xCC))


def seal(cipher, compression, realm, tag, names, key_id, position, kind, at, plain):
    version, codec, key_id = 1, 1, key_id.encode()
    names = [realm.encode(), *(name.encode() for name in names)]
    header = bytes([version, cipher, codec, compression]) + struct.pack(">H", len(key_id)) + key_id
    aad = parts(bytes([version]), bytes([cipher]), bytes([codec]), bytes([compression]), key_id,
                names[0], bytes([tag]), *names[1:],
                struct.pack(">Q", position), struct.pack(">H", kind), struct.pack(">Q", at))
    text = rle_frame(plain[:1], len(plain)) if compression else plain
    if cipher == 0:
        length = struct.pack(">Q", len(aad))
        return header + NONCE + text + hashlib.sha256(length + aad + NONCE + text).digest()[:16]
    info = parts(b"log", bytes([cipher]), bytes([tag]), *names)
    key = HKDF(SHA256(), 32, b"world/v1", info).derive(MASTER)
    return header + NONCE + AESGCM(key).encrypt(NONCE, text, aad)


def block(**fields):
    return "".join(f"{name}: {value}\n" for name, value in fields.items()) + "\n"


def main():
    with open(HERE / "events_v1.txt", "w") as out:
        out.write("# Events as version 1 writes them: docs/events.md. Made by make_v1.py.\n\n")
        for name, kind, what, fields in EVENTS:
            out.write(f"# {what}\n" + block(name=name, kind=kind, hex=pack(fields).hex()))
    with open(HERE / "envelopes_v1.txt", "w") as out:
        out.write("# Sealed bodies as version 1 writes them: docs/sealing.md. Made by make_v1.py.\n"
                  "# Names are in hex, as they may hold anything. A compressed body is only read: another\n"
                  "# zstd may write other frames.\n\n")
        for name, what, cipher, compression, realm, tag, names, key_id, position, kind, at, plain in ENVELOPES:
            body = seal(cipher, compression, realm, tag, names, key_id, position, kind, at, plain)
            out.write(f"# {what}\n" + block(
                name=name, cipher=cipher, compression=compression, realm=realm.encode().hex(), log=tag,
                names=" ".join(n.encode().hex() for n in names), key_id=key_id.encode().hex(),
                master=MASTER.hex(), nonce=NONCE.hex(), position=position, kind=kind, at=at,
                plain=plain.hex(), body=body.hex()))


main()
