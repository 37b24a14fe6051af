#!/usr/bin/env python3
"""Makes the golden files of the events that came after version 1 beside those of version 1.

The bytes of an event that was there before are the same. Like make_v1.py it is written from
docs/events.md, independently of the crate.
"""

from make_v1 import EVENTS, HERE, block, pack

NEW = [
    ("run_isolated", 69, "300 workers have died; the third round, alone for the first time",
     {"deaths": 300, "round": 3, "alone": 1}),
    ("step_deadline", 70, "the step must have ended five minutes later",
     {"key": "charge", "at": 1_700_000_300_000}),
]


def main():
    with open(HERE / "events_v2.txt", "w") as out:
        out.write("# Events as version 2 writes them: docs/events.md. Made by make_v2.py.\n\n")
        for name, kind, what, fields in EVENTS + NEW:
            out.write(f"# {what}\n" + block(name=name, kind=kind, hex=pack(fields).hex()))


main()
