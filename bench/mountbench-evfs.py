#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A mount benchmark's workloads, said in evfs's way: MOUNTBENCH.py is another program with the functions create, append … and name.

    mountbench-evfs.py MOUNTBENCH.py WORKLOAD DIR [its options]

Where a plain file system has e-00000001.json, an event store has number 1 of a stream; appending to a file is appending to
events.ndjson. Everything that is timed stays as MOUNTBENCH.py does it: one open, write and close for each create or append.
"""
import importlib.util
import os
import sys

sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("mountbench", sys.argv[1])
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)
work = sys.argv[2]
plain_read, plain_append = bench.read, bench.append


def document(i, size):
    head = '{"event_type":"OrderPlaced","data":{"amount":%d,"pad":"' % i
    return (head + "x" * (size - len(head) - 4) + '"}}\n').encode()


def stream(a, what):
    """A stream of its own: where others write DIR/append.ndjson, we write DIR/append/events.ndjson."""
    a.dir = os.path.join(a.dir, what)
    os.makedirs(a.dir, exist_ok=True)
    return a


def read(a):
    """Every event of the stream once, by its name; the size that must be seen is the stored one."""
    result = plain_read(a)
    result["ok"] = result.get("bytes") == sum(e.stat().st_size for e in os.scandir(a.dir))  # after it was timed
    return result


def translate(path):
    name = os.path.basename(path)
    return os.path.join(os.path.dirname(path), "events.ndjson") if name in ("append.ndjson", "shappend.ndjson") else path


def write_one(path, data, flags=os.O_WRONLY | os.O_CREAT | os.O_EXCL):
    path = translate(path)
    if path.endswith("events.ndjson"):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    fd = os.open(path, flags, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def shappend(a):
    path = os.path.join(stream(a, "shappend").dir, "events.ndjson")
    write_one(path, bench.body(0, a.size))
    loop = 'for ((i=0;i<$2;i++)); do echo "$3" >> "$1" || { echo ERR >&2; ((++e < 10)) || break; }; done'
    secs, r = bench.sh(["bash", "-c", loop, "bash", path, str(a.n), bench.body(0, a.size).decode().strip()])
    with open(path, "rb") as f:
        lines = f.read().count(b"\n")
    return dict(secs=secs, rate=a.n / secs, lines=lines, expected=a.n + 1, errors=r.stderr.decode().count("ERR"),
                first_error=r.stderr.decode()[:200])


def append(a):
    stream(a, "append")
    plain_open = open
    bench.open = lambda path, *args, **kw: plain_open(translate(path), *args, **kw)
    return plain_append(a)


def ackcheck(a):
    with open(a.log) as f:
        ids = {int(line) for line in f}
    there = {}
    for e in os.scandir(a.dir):
        number, kind = e.name.split("-", 1)
        there.setdefault(int(kind[2:10]), []).append(e.path)
    wrong = 0
    for i in ids & there.keys():
        with open(there[i][0], "rb") as f:
            wrong += len(there[i]) != 1 or b'"%08d-0000-4000-8000-000000000000"' % i not in f.read()
    return dict(acked=len(ids), missing=len(ids - there.keys()), wrong=wrong)


bench.write_one = write_one
bench.append, bench.shappend, bench.read, bench.ackcheck = append, shappend, read, ackcheck
if work in ("append", "shappend"):
    bench.body = document
if work == "read":
    bench.name = lambda i: "%010d-OrderPlaced.json" % (i + 1)
sys.argv = [sys.argv[1]] + sys.argv[2:]
sys.exit(bench.main())
