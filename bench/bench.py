# SPDX-License-Identifier: Apache-2.0
"""What the benches share: a mounted store of their own, the loops of load.c, and rows of ratios."""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SIZE = 500


class Mount:
    """A store (a new one under a new name), mounted until the with block ends."""

    def __init__(self, b, name, *options, store=None, env=None):
        self.b, self.path = b, os.path.join(b.dir, name)
        self.store = store or self.path + ".store"
        self.mnt = self.path + ".mnt"
        self.cache = self.path + ".cache"
        self.options, self.env = ",".join(("cache=" + self.cache,) + options), dict(os.environ, **(env or {}))

    def is_made(self):
        if not self.store.startswith("s3://"):
            return os.path.isdir(self.store)
        return self.store in self.b.made

    def __enter__(self):
        os.makedirs(self.mnt, exist_ok=True)
        if not self.is_made():
            subprocess.run([self.b.tool("evfsctl"), "init", self.store], check=True, stdout=subprocess.DEVNULL, env=self.env)
            self.b.made.add(self.store)
        self.process = subprocess.Popen([self.b.tool("evfs"), self.store, self.mnt, "-f", "-o", self.options],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.env)
        deadline = time.monotonic() + 30
        while not os.path.ismount(self.mnt):
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit("the mount did not come up")
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        deadline = time.monotonic() + 30  # who has just closed a file may still hold it
        while subprocess.run(["fusermount3", "-u", self.mnt], check=False, stderr=subprocess.DEVNULL).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        self.process.wait(timeout=60)

    def stream(self, name):
        d = os.path.join(self.mnt, name)
        os.makedirs(d, exist_ok=True)
        return os.path.join(d, "events.ndjson")

    def rss_mib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(next(l for l in f if l.startswith("VmRSS")).split()[1]) / 1024


class Bench:
    def __init__(self, args):
        self.args = args
        self.dir = tempfile.mkdtemp(prefix="bench-", dir=args.dir)
        self.rows = []
        self.made = set()  # stores that are no directories

    def tool(self, name):
        return os.path.join(self.args.build, name)

    def load(self, *words):
        out = subprocess.run([os.path.join(self.args.build, "bench/load"), *map(str, words)], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
        return [float(x) for x in out.split()]

    def sh(self, script, *words):
        began = time.monotonic()
        subprocess.run(["bash", "-c", script, "bash", *map(str, words)], check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - began

    def row(self, what, ours, theirs, unit, goal, better="more"):
        ours, theirs = statistics.median(ours), statistics.median(theirs) if theirs else None
        ratio = ours / theirs if theirs else ours
        held = ratio >= goal if better == "more" else ratio <= goal
        self.rows.append(dict(what=what, ours=round(ours, 4), reference=theirs and round(theirs, 4), unit=unit,
                              ratio=round(ratio, 3), goal=f"{'>=' if better == 'more' else '<='} {goal}", held=held))
        ref = f"{theirs:12.2f}" if theirs else " " * 12
        print(f"{what:58} {ours:12.2f} {ref} {unit:9} ratio {ratio:7.3f}  goal {'>=' if better == 'more' else '<='} {goal:<6}"
              f" {'held' if held else 'NOT HELD'}", flush=True)


def main(doc, make, works):
    """Run what the command line names. make(args) gives a Bench; works: {name: function of it}, all of them where none is named."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=".")
    p.add_argument("--dir", default=".")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--json")
    p.add_argument("names", nargs="*")
    args = p.parse_args()
    args.build, args.dir = os.path.abspath(args.build), os.path.abspath(args.dir)
    b = make(args)
    try:
        for name in args.names or works:
            if name not in works:
                sys.exit(f"no benchmark '{name}'; there are {' '.join(works)}")
            works[name](b)
    finally:
        shutil.rmtree(b.dir, ignore_errors=True)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(b.rows, f, indent=1)
    sys.exit(not all(r["held"] for r in b.rows))
