"""Python's open(), binary and text: see report.h. A write that raised has accepted nothing, unless it says how much."""
import errno
import os
import sys

RECORDS, RECORD, TRIES = 700, 1000, 3
peer, records, out, ballast = sys.argv[1:]
with open(records, "rb") as file:
    records = file.read()
accepted = refused = 0
first = None


def told(where):
    global first
    if first is None:
        first = where
        if os.path.exists(ballast):
            os.unlink(ballast)


def said(where, call):
    try:
        call()
        return "ok"
    except OSError as error:
        told(where)
        return errno.errorcode[error.errno]


text = peer == "text"
file = open(out, "w", encoding="ascii", newline="") if text else open(out, "wb")
tries, end = 0, RECORD
while tries < TRIES and accepted < len(records):
    piece = records[accepted:end]
    try:
        accepted += file.write(piece.decode("ascii") if text else piece)
    except OSError as error:
        accepted += getattr(error, "characters_written", 0)
        refused += 1
        told(f"record_{accepted // RECORD + 1}")
        tries += 1
    if accepted >= end:
        end += RECORD
        tries = 0
flushes = said("flush_1", file.flush), said("flush_2", file.flush)
closed = said("close", file.close)
print(f"accepted={accepted} first={first or 'never'} refused={refused} flushes={flushes[0]},{flushes[1]}"
      f" close={closed} missing=-1")
