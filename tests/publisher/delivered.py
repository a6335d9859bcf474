#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
delivered.py STORE LINES [DUPLICATES]: LINES (of --sink ndjson:, or of kcat in the same form) hold every event of the directory STORE
byte for byte; the first occurrences of each stream are in number order; no more than DUPLICATES lines (0) tell of an event again, with
the same id and bytes. Records of a DLQ topic ("original_topic") count for their event.
"""
import json
import os
import sys

store, path = sys.argv[1:3]
allowed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
stored = {}
for folder, _, names in os.walk(os.path.join(store, "streams")):
    for name in names:
        with open(os.path.join(folder, name), "rb") as f:
            body = f.read()
        stored[json.loads(body)["event_id"]] = body

bad = []
seen, last, duplicates = {}, {}, 0
with open(path, "rb") as f:
    for n, line in enumerate(f, 1):
        value = json.loads(line)["value"]
        dead = "original_topic" in value
        event = value["event_id"]
        if event not in stored:
            bad.append("line %d: event %s is not in the store" % (n, event))
            continue
        if not dead and not line.endswith(b'"value":' + stored[event] + b"}\n"):
            bad.append("line %d: event %s has other bytes" % (n, event))
        if event in seen:
            duplicates += 1
            continue
        seen[event] = n
        stream = (value["aggregate_type"], value["aggregate_id"])
        number = value["sequence_number"]
        if number <= last.get(stream, 0) and not dead:
            bad.append("line %d: number %d of %s/%s after %d" % (n, number, *stream, last[stream]))
        if not dead:
            last[stream] = number
bad += ["event %s is missing" % e for e in stored if e not in seen]
if duplicates > allowed:
    bad.append("%d duplicates, at most %d are to be expected" % (duplicates, allowed))
if not stored:
    bad.append("the store is empty")
print("%d events, %d lines, %d duplicates" % (len(stored), len(seen) + duplicates, duplicates))
for text in bad[:20]:
    print(text)
sys.exit(1 if bad else 0)
