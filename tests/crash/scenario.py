# SPDX-License-Identifier: Apache-2.0
"""One store that lives through kill after kill. Everything random comes from the seed: the same seed, the same faults."""
import errno
import hashlib
import json
import mmap
import os
import random
import signal
import threading
import time

import history
from harness import GONE, Failed, Mount, fork, kill_all, verify, wait_all
from place import Directory
from writer import ToolWriter, Writer

# What a store is put through: see Scenario.cycle.
KINDS = ("plain", "committed", "lost", "pair")
STREAMS = ["Order/s-%d" % i for i in range(3)]
WRITERS = 5
MOUNT_OPTIONS = "timeout=1s,fresh=50ms"
HANGS_AFTER = 120
ANSWERED_WITHIN = 10.0  # seconds; timeout=1s, 5 s more (issue), and what a machine under load adds
FIRES_WITHIN = 2.0  # seconds; a failpoint that is not passed by then is given up: a plain kill instead

MANY_PASSES = 30
SEEDING = "seed"  # in the name of a failpoint: passed only where a ledger is seeded
SWEEPING = ("store-claimed",)  # passed only where something was left, or only committed
QUEUED = ("store-queued",)  # passed only where an append is answered before it is stored
IN_RECOVERY = ("store-claimed", "object-put-before", "object-put-after", "store-settle-before-sync", "store-settle-after-sync",
               "ledger-settle-after", "ledger-checkpoint")
IN_TOOL = ("store-committed", "store-delivered", "object-put-before", "object-put-written", "object-put-after",
           "ledger-append-before-commit", "ledger-append-after-commit")


def passes(name):
    """How often a failpoint is passed before it kills, at most: some are passed now and then only."""
    if "reseed" in name or name in SWEEPING + QUEUED:
        return 3
    return 1 if SEEDING in name or "settle" in name or "checkpoint" in name else MANY_PASSES


class Scenario:
    live = False  # do writers go on after EIO?
    verified_every = 1  # cycles
    fires_within = FIRES_WITHIN
    settles_within = 20.0  # seconds
    patience = ""  # more options of a mount that must come up and finish what another one began

    def __init__(self, folder, build, failpoints, seed, index, kind):
        self.folder = os.path.join(folder, "%d-%s" % (index, kind))
        self.build, self.kind, self.index = build, kind, index
        self.log = self.folder + "/log"
        self.random = random.Random("%s/%d" % (seed, index))
        self.failpoints = failpoints
        self.plans, self.seedings, self.doing = [], [], "init"
        self.cycles = 0
        self.fired = {}  # failpoint: how often it killed
        self.inside = 0  # kills that cut an append
        self.counts = {"ok": 0, "cut": 0, "unsent": 0, "refused": 0, "owed": 0, "retried": 0, "EIO": 0}
        self.manifests, self.offsets = {}, {}
        self.manifest = history.Manifest()
        self.seen = {}  # stream: its bytes at the last check, and their events
        self.mounts = []
        self.hung = False
        self.unstored = []  # reasons of EIO
        self.stop, self.pids = mmap.mmap(-1, 1), {}
        # seconds between two appends of a writer: what is only committed comes by the thousand, and all of it is looked at in each cycle
        self.pause = 0.01 if "committed" in kind else 0.001
        os.makedirs(self.folder)
        self.place = self.new_place()

    def new_place(self):
        return Directory(self.build, self.folder)

    # ---- what is to happen

    def plan(self):
        """The next cycle's fault: (failpoint or None for kill at any time, pass, seconds until it is a plain kill)."""
        if not self.plans:
            usual = [f for f in self.failpoints if SEEDING not in f and (f not in SWEEPING + QUEUED or "committed" in self.kind)]
            self.plans = usual + [None, None, None]
            self.random.shuffle(self.plans)
        name = self.plans.pop()
        return name, self.random.randint(1, passes(name) if name else 1), self.random.uniform(0.02, 0.3)

    def one_of(self, names, none=0):
        """A failpoint of these, where it is compiled in, as the environment names it; or none, as often as so many of them."""
        name = self.random.choice([n for n in names if n in self.failpoints] + [None] * none or [None])
        return name and "%s:%d" % (name, self.random.randint(1, min(3, passes(name))))

    def seeding(self, none):
        """The next failpoint of a seeding; after all of them, with none of that many, they come again."""
        if not self.seedings:
            self.seedings = [f for f in self.failpoints if SEEDING in f] + [None] * none
            self.random.shuffle(self.seedings)
        name = self.seedings.pop() if self.seedings else None
        return self.one_of([name] if name else [])

    # ---- parts of a cycle

    def hit(self, spec):
        name = spec.split(":")[0]
        self.fired[name] = self.fired.get(name, 0) + 1

    def mount(self, point, failpoint=None, more=""):
        options = MOUNT_OPTIONS + more + self.place.options + (",ack=committed" if "committed" in self.kind else "")
        mount = Mount(self.build, self.place.store, self.folder + "/" + point, options, self.log, failpoint, self.place.env)
        self.mounts.append(mount)
        return mount

    def init(self, *options, failpoint=None):
        if self.place.make(*options, failpoint=failpoint):
            self.hit(failpoint)

    def start_writers(self, mounts):
        """Writers 0 … on the mounts in turn, and one with evfsctl beside a pair."""
        heads = {stream: seen[1][-1]["sequence_number"] for stream, seen in self.seen.items() if seen[1]}
        there = {event["data"]["t"] for seen in self.seen.values() for event in seen[1]}
        self.stop[0] = 0
        names = ["w%d" % i for i in range(WRITERS)] + (["tool"] if "pair" in self.kind else [])
        for i, name in enumerate(names):
            manifest = self.manifests.get(name)
            if manifest is None:
                path = "%s/%s.ndjson" % (self.folder, name)
                manifest = self.manifests[name] = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            own = [a for a in self.manifest.attempts if a["w"] == name]
            lost = "lost" in self.kind
            retries = [dict(a, was_there=a["tokens"][0] in there, may_refuse=self.may_refuse(a)) for a in own
                       if a["answer"] in ("cut", "owed") and a["own"] and not (lost and a.get("retried"))]
            arguments = (name, mounts[i % len(mounts)].point, manifest, own[-1]["a"] if own else 0,
                         self.random.random(), STREAMS, heads, self.stop, self.live)
            if name == "tool":
                writer = ToolWriter(self.build, self.place, [f for f in IN_TOOL if f in self.failpoints], *arguments)
            else:
                writer = Writer(*arguments)
            writer.pause = self.pause
            self.pids[fork(writer.run, retries, errors=self.folder + "/errors")] = name

    def may_refuse(self, attempt):
        """What it means where the retry of an unanswered append is refused; None: it must not be."""
        if "lost" in self.kind:
            return "cut"  # a lost ledger left it in part: it is what it is
        # its writer went on: what it expected is over, unless it was committed
        return "refused" if self.live and attempt["expect"] is not None and attempt["answer"] == "cut" else None

    def end_writers(self):
        self.stop[0] = 1
        pids, self.pids = self.pids, {}
        done = wait_all(list(pids), 20)
        if len(done) < len(pids):
            for mount in self.mounts:
                mount.abort()
            late = [p for p in pids if p not in done]
            kill_all(late)
            raise Failed("writers hang 20 s after the mount's end: %s" % [pids[p] for p in late])
        if any(done.values()):
            with open(self.folder + "/errors") as f:
                raise Failed("writer %s: %s" % ([pids[p] for p, s in done.items() if s], f.read()[-4000:]))

    def read_manifests(self):
        """What the writers have written down since. Returns how many appends were cut by the mount's end."""
        cut = 0
        for name, fd in self.manifests.items():
            data = os.pread(fd, 1 << 28, self.offsets.get(name, 0))
            self.offsets[name] = self.offsets.get(name, 0) + len(data)
            for line in data.decode().splitlines():
                record = json.loads(line)
                self.manifest.add(record)
                if "answer" in record:
                    self.counts[record["answer"]] += 1
                    if record.get("failpoint"):
                        self.hit(record["failpoint"])
                    elif record["answer"] == "cut":
                        cut += record.get("error") not in (None, "EIO")
                    if record.get("error") == "EIO" and record["reason"]:  # by a mount that lives
                        self.counts["EIO"] += 1
                        self.unstored.append("cycle %d, %s: %s" % (self.cycles, self.doing, record["reason"]))
                        if record["took"] > ANSWERED_WITHIN:
                            raise Failed("an append was answered EIO after %.1f s: %s" % (record["took"], line))
                elif "retry" in record:
                    self.counts["retried"] += 1
        return cut

    def kill(self, mount, name, failpoint, seconds):
        """Let it work until its failpoint, or the time, kills it."""
        end = time.monotonic() + (self.fires_within if name else seconds)
        while mount.alive() and time.monotonic() < end:
            time.sleep(0.002)
        fired = not mount.alive()
        status = mount.kill()
        if fired:
            if not name or status != -signal.SIGKILL:
                raise Failed("the mount ended by itself, status %d: %s" % (status, mount.said()))
            self.hit(failpoint)
        return fired

    def lose_ledger(self):
        """Every other time it is gone, and a new one adopted; else an older copy is put back."""
        if self.cycles % 4 != 1 and self.place.put_ledger_back():
            return self.seeding(1)
        self.place.lose_ledger()
        self.init("--adopt", failpoint=self.seeding(1))
        return None

    def recover(self, failpoint):
        """Mount until it lives; whatever failpoint kills the first, the next has none. Returns a mount with nothing pending."""
        while True:
            mount = self.mount("mnt", failpoint, self.patience)
            if mount.ready() and mount.settle(self.settles_within):
                return mount
            mount.kill()
            mount.clear()
            if not failpoint:
                raise Failed("the mount was killed, nobody knows why: " + mount.said())
            self.hit(failpoint)
            failpoint = None

    def end(self, mount, failpoint=None):
        """Unmount well; a failpoint of the recovery may still be passed."""
        if not mount.stop():
            if not failpoint:
                raise Failed("the mount was killed at its end: " + mount.said())
            self.hit(failpoint)
            mount.clear()
            self.end(self.recover(None))

    # ---- what must be

    def read_stream(self, mount, stream):
        """The stream's events; what was there at the last check must be there, byte for byte."""
        folder = "%s/%s" % (mount.point, stream)
        known, events = self.seen.get(stream, (b"", []))
        try:
            with open(folder + "/events.ndjson", "rb") as f:
                text = f.read()
        except FileNotFoundError:
            text = b""
        if not text.startswith(known):
            raise Failed("%s: what was there before has changed: was %d bytes, %s, is %d bytes, %s" % (
                stream, len(known), hashlib.sha256(known).hexdigest(), len(text), hashlib.sha256(text[:len(known)]).hexdigest()))
        if text and not text.endswith(b"\n"):
            raise Failed("%s: the last line is cut: %r" % (stream, text[-200:]))
        new = [json.loads(line) for line in text[len(known):].splitlines()]
        self.seen[stream] = (text, events + new)
        return events, new

    def check_objects(self, mount, stream, old, new):
        """The directory lists the events, and each object below the store is there, whole, and says the same."""
        wrong = []
        names = ["%010d-%s.json" % (e["sequence_number"], e["event_type"]) for e in old + new]
        try:
            listed = sorted(os.listdir("%s/%s" % (mount.point, stream)))
        except FileNotFoundError:
            listed = []
        if listed != names:
            wrong.append("%s: ls shows %d names, events.ndjson has %d; only ls: %s, only events.ndjson: %s" % (
                stream, len(listed), len(names), sorted(set(listed) - set(names))[:5], sorted(set(names) - set(listed))[:5]))
        objects = self.place.objects(stream)
        wanted = ["%010d.json" % e["sequence_number"] for e in old + new]
        if objects != wanted:
            wrong.append("%s: the objects are not those of the stream: %s more, %s missing" % (
                stream, sorted(set(objects) - set(wanted)), sorted(set(wanted) - set(objects))))
        for event in new:
            try:
                body = self.place.body(stream, "%010d.json" % event["sequence_number"])
                if json.loads(body) != event:
                    wrong.append("%s: object %d differs from its line: %.300s" % (stream, event["sequence_number"], body))
            except (OSError, TypeError, ValueError) as e:
                wrong.append("%s: object %d: %s" % (stream, event["sequence_number"], e))
        return wrong

    def check(self, mount):
        """Everything that must hold once nothing is pending. Returns what is wrong."""
        wrong = []
        of_stream = {stream: [] for stream in STREAMS}
        for attempt in self.manifest.attempts:
            of_stream.setdefault(attempt["stream"], []).append(attempt)
        streams = sorted(of_stream)
        for stream in streams:
            old, new = self.read_stream(mount, stream)
            wrong += self.check_objects(mount, stream, old, new)
            wrong += history.check_stream(stream, of_stream[stream], old + new, "lost" in self.kind)
        shown = ["%s/%s" % (kind, name) for kind in os.listdir(mount.point) for name in os.listdir(mount.point + "/" + kind)]
        stored = [s for s in streams if self.seen[s][1]]
        if not set(stored) <= set(shown) or not set(shown) <= set(streams):
            wrong.append("the mount shows the streams %s, written were %s" % (sorted(shown), stored))
        return wrong

    def readable(self, mount):
        """A server that does not answer in time is EIO for who reads. It answers later; what is there is judged then."""
        end = time.monotonic() + self.settles_within
        while True:
            try:
                return self.check(mount)
            except OSError as e:
                if e.errno != errno.EIO:
                    raise
                if time.monotonic() > end:
                    raise Failed("EIO for %d s: %s, the mount says: %s" % (self.settles_within, e, mount.said())) from e
                time.sleep(0.1)

    def checked(self, mount):
        wrong = self.readable(mount)
        if wrong:
            raise Failed("\n".join(wrong[:20]))
        if self.cycles % self.verified_every == self.verified_every - 1:
            verify(self.build, self.place.store, self.place.env)

    def recover_and_check(self, failpoint):
        """failpoint may kill the recovery, too; the one after it has none."""
        mount = self.recover(failpoint)
        try:
            self.checked(mount)
        except OSError as e:
            if e.errno not in GONE or not failpoint or mount.kill() != -signal.SIGKILL:
                raise
            self.hit(failpoint)
            mount.clear()
            mount = self.recover(None)
            self.checked(mount)
        self.end(mount, failpoint)

    # ---- a cycle

    def prepare(self):
        self.init(failpoint=self.seeding(0) if "lost" in self.kind else None)

    def close(self):
        """What prepare() started goes."""

    def strike(self, victim, fault):
        """Make the fault happen to the mount that is written to. True: its failpoint killed it."""
        name, nth, seconds = fault
        return self.kill(victim, name, name and "%s:%d" % (name, nth), seconds)

    def describe(self, fault):
        name, nth, seconds = fault
        return "%s:%d" % (name, nth) if name else "kill after %.3f s" % seconds

    def failpoint(self, fault):
        """The failpoint that the mount is started with."""
        name, nth, _ = fault
        return name and "%s:%d" % (name, nth)

    def recovery(self, fault):
        """The failpoint of the mount after it, or None."""
        if "lost" in self.kind and self.cycles % 2:
            return self.lose_ledger()
        if "pair" not in self.kind and self.random.random() < 0.25 or fault[0] == "store-committed":
            return self.one_of(SWEEPING if fault[0] == "store-committed" else IN_RECOVERY)
        return None

    def cycle(self):
        """
        Mount, write, kill, mount again, check.
        committed: ack=committed. lost: the ledger is lost or put back between. pair: a second mount lives on and must finish what the
        first began.
        """
        fault = self.plan()
        self.doing = self.describe(fault)
        pair = "pair" in self.kind
        if "lost" in self.kind and self.cycles % 2:
            self.place.keep_ledger()
        try:
            victim = self.mount("mnt-2" if pair else "mnt", self.failpoint(fault))
            other = self.mount("mnt", None, self.patience) if pair else None
            if other:
                other.ready()
            if victim.ready():
                self.start_writers([victim] + ([other] if other else []))
            fired = self.strike(victim, fault)
            if other:
                time.sleep(self.random.uniform(0, 0.1))
            self.end_writers()
            victim.clear()
            cut = self.read_manifests()
            self.inside += 1 if cut else 0
            recovery = self.recovery(fault)
            if other:
                if not other.settle(self.settles_within):
                    raise Failed("the other mount was killed, nobody knows why: " + other.said())
                self.checked(other)
                self.end(other)
            else:
                self.recover_and_check(recovery)
        finally:
            self.stop[0] = 1
            kill_all(list(self.pids))
            self.pids = {}
            for mount in self.mounts:
                if mount.alive():
                    mount.kill()
                    mount.clear()
            self.mounts = []
        self.cycles += 1
        return fired

    def give_up(self):
        """A mount that lives and does not answer: who waits for it can't be interrupted, so its process must go."""
        self.hung = True
        for mount in self.mounts:
            mount.process.kill()

    def guarded_cycle(self):
        watchdog = threading.Timer(HANGS_AFTER, self.give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            return self.cycle()
        except (Failed, OSError) as e:
            if self.hung:
                raise Failed("hangs for %d s, or the mount does: %s" % (HANGS_AFTER, e)) from e
            raise
        finally:
            watchdog.cancel()

    def story(self):
        """What it was doing, for a report."""
        return "store %d (%s), cycle %d, %s" % (self.index, self.kind, self.cycles, self.doing)
