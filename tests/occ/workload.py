# SPDX-License-Identifier: Apache-2.0
"""Many writers and readers on one store, through two mounts and evfsctl, while something is done to it; then every answer is judged."""
import errno
import json
import mmap
import os
import random
import re
import time

import occ_history
from harness import Failed, Mount, append_line, event_id, evfsctl, fork, kill_all, last_error, verify, wait_all

EXIT_CONFLICT, EXIT_RETRY = 4, 5
PAUSE = 0.02  # of a reader, and of a writer after EIO


class Writer:
    """live: servers fail now and then, so EIO is an answer."""

    def __init__(self, run, name, mount):
        self.run, self.name, self.mount = run, name, mount
        self.random = random.Random("%s/%s" % (run.seed, name))
        self.count, self.heads = 0, {}
        self.past = []  # calls that may be made again
        self.doubtful = []  # calls that failed: made again soon

    def head(self, stream):
        """The last number as the mount shows it; it may be old by the time it is used."""
        try:
            self.heads[stream] = int(os.getxattr("%s/%s" % (self.mount.point, stream), "user.evfs.head"))
        except OSError as e:
            if e.errno not in (errno.ENODATA, errno.ENOENT, errno.EOPNOTSUPP) and not (self.run.live and e.errno == errno.EIO):
                raise
        return self.heads.get(stream, 0)

    def plan(self):
        r = self.random
        if self.doubtful and r.random() < 0.5:
            return dict(self.doubtful.pop(), again=True)
        if self.past and r.random() < 0.2:
            past = r.choice(self.past)
            if r.random() < 0.3 and past["answer"] == "ok":
                return dict(past, other=True, again=False)
            return dict(past, again=True)
        stream = r.choice(self.run.streams)
        self.count += 1
        call = {"w": self.name, "stream": stream, "type": "Counted", "expect": None, "numbered": False, "other": False, "again": False}
        n = r.choice((1, 1, 1, 1, 2, 4))
        kind = r.random()
        if kind < 0.6:
            head = self.head(stream)
            call["expect"] = max(0, head + r.choice((0, 0, 0, 0, 0, -1, 1)))
            if kind < 0.15:
                call["numbered"], n = True, 1
        call["ids"] = [event_id("%s/%s-%d-%d" % (self.run.seed, self.name, self.count, k)) for k in range(n)]
        # Refused for a number that is still to come, it may succeed another time: not to be compared.
        call["certain"] = call["expect"] is None or call["expect"] <= head
        return call

    def data(self, call):
        return {"w": self.name, "n": -1 if call["other"] else 1}

    def write(self, call):
        """The answer, and with EIO whether it was committed."""
        folder = "%s/%s" % (self.mount.point, call["stream"])
        if call["numbered"]:
            kind, name = call["stream"].split("/")
            path, flags = "%s/%d-%s.json" % (folder, call["expect"] + 1, call["type"]), os.O_CREAT | os.O_TRUNC
            text = json.dumps({"event_id": call["ids"][0], "event_type": call["type"], "aggregate_type": kind, "aggregate_id": name,
                               "data": self.data(call)}) + "\n"
        else:
            docs = [{"event_id": i, "event_type": call["type"], "data": self.data(call)} for i in call["ids"]]
            if call["expect"] is not None:
                docs[0]["expected_seq"] = call["expect"]
            path, flags = folder + "/events.ndjson", os.O_APPEND | os.O_CREAT
            text = "".join(json.dumps(doc) + "\n" for doc in docs)
        fd = -1
        try:
            fd = os.open(path, os.O_WRONLY | flags, 0o644)
            if os.write(fd, text.encode()) != len(text):
                raise Failed("a short write to " + path)
        except OSError as e:
            if e.errno == errno.EIO and self.run.live:
                said = last_error(self.mount.point) if fd >= 0 else {"committed": "no"}
                return "EIO", said["committed"] if said else "unknown"
            if e.errno not in (errno.ESTALE, errno.EEXIST):
                raise Failed("%s: %s" % (path, e)) from e
            return errno.errorcode[e.errno], None
        finally:
            if fd >= 0:
                os.close(fd)
        return "ok", None

    def see(self, call):
        """What was answered is visible on the same mount, at once."""
        try:
            with open("%s/%s/events.ndjson" % (self.mount.point, call["stream"]), "rb") as f:
                text = f.read()
        except OSError as e:
            if e.errno == errno.EIO and self.run.live:
                return
            raise
        if call["ids"][0].encode() not in text and not self.run.live:
            raise Failed("%s was answered, and can't be read on its own mount" % call["ids"][0])

    def work(self):
        while not self.run.stop_writers[0]:
            call = self.plan()
            call["began"] = time.monotonic_ns()
            call["answer"], call["committed"] = self.write(call)
            call["ended"] = time.monotonic_ns()
            append_line(self.run.calls, call)
            if call["answer"] == "EIO":
                if not call["other"]:
                    self.doubtful.append(call)
                time.sleep(PAUSE)
                continue
            if call["answer"] == "ok" and self.random.random() < 0.02:
                self.see(call)
            if not call["other"] and not call["again"] and (call["certain"] or call["answer"] == "ok"):
                self.past.append(call)
                del self.past[:-20]


class ToolWriter(Writer):
    """The same by evfsctl append, which does not name numbers, and appends one event."""

    def plan(self):
        call = super().plan()
        del call["ids"][1:]
        return dict(call, numbered=False)

    def write(self, call):
        expect = ["--expect", str(call["expect"])] if call["expect"] is not None else []
        done = evfsctl(self.run.build, "append", self.run.place.store, call["stream"], call["type"], "--id", call["ids"][0], *expect,
                       stdin=json.dumps(self.data(call)).encode(), env=dict(self.mount.env, EVFS_TIMEOUT=self.run.timeout))
        if done.returncode == EXIT_RETRY and self.run.live:
            return "EIO", "unknown"
        if b"has no ledger in the schema" in done.stderr and self.run.live:
            return "EIO", "no"  # it is being put back
        if done.returncode not in (0, EXIT_CONFLICT):
            raise Failed("evfsctl append: status %d, %s" % (done.returncode, done.stderr.decode(errors="replace")))
        return ("ok" if not done.returncode else "EEXIST" if call["other"] else "ESTALE"), None

    def see(self, call):
        pass


def read(run, point, streams):
    """A reader: every stream again and again. It writes down when it saw how much; its last words are what was wrong."""
    seen = {s: occ_history.Prefix("%s on %s" % (s, os.path.basename(point))) for s in streams}
    rounds = 0
    while not run.stop_readers[0]:
        for stream, prefix in seen.items():
            began = time.monotonic_ns()
            try:
                with open("%s/%s/events.ndjson" % (point, stream), "rb") as f:
                    text = f.read()
            except OSError as e:
                if e.errno == errno.ENOENT and not prefix.seen or e.errno == errno.EIO and run.live:
                    continue
                raise
            ended = time.monotonic_ns()
            prefix.saw(text)
            if text.endswith(b"\n"):
                last = json.loads(text[text.rfind(b"\n", 0, -1) + 1:])["sequence_number"]
                append_line(run.reads, {"stream": stream, "read": [began, ended, last]})
        rounds += 1
        time.sleep(PAUSE)
    for stream, prefix in seen.items():
        append_line(run.reads, {"stream": stream, "who": prefix.name, "wrong": prefix.wrong[:5], "text": prefix.seen.decode(),
                                "rounds": rounds})


def lines_of(fd):
    parts, at = [], 0
    while True:
        part = os.pread(fd, 1 << 26, at)
        if not part:
            return [json.loads(line) for line in b"".join(parts).splitlines()]
        parts.append(part)
        at += len(part)


class Run:
    """
    One store, two mounts, and what is to be found out. wrong: texts of what was wrong, by what was asked.
    live: servers fail meanwhile, EIO is an answer. plant: the bug that the mounts and evfsctl have. meanwhile: called while all work, with
    the run; its end ends the work. limit: seconds after which an answered append must be seen everywhere.
    """

    streams_n, writers, tools, readers = 4, 32, 4, 4
    ask = "fresh=20ms", "fresh=40ms"  # -o, one for each mount
    timeout = "10s"

    def __init__(self, build, place, folder, seed, live=False, plant=None, options="", limit=1.0, seconds=8):
        self.build, self.place, self.folder, self.seed = build, place, folder, seed
        self.live, self.plant, self.limit, self.seconds = live, plant, limit, seconds
        self.options = options + place.options
        self.streams = ["Occ/s-%d" % i for i in range(self.streams_n)]
        self.lost_ledger = False
        self.stop_writers, self.stop_readers = mmap.mmap(-1, 1), mmap.mmap(-1, 1)
        os.makedirs(folder, exist_ok=True)
        self.calls = os.open(folder + "/calls", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self.reads = os.open(folder + "/reads", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self.mounts = []
        self.wrong = {}
        self.counted = {}

    def meanwhile(self):
        time.sleep(self.seconds)

    def afterwards(self):
        """All writers have ended; whatever was broken is to be well again."""

    def note(self, what, wrong):
        self.wrong.setdefault(what, []).extend(wrong)

    # ---- the work

    def mount(self, name, options, plant):
        env = dict(self.place.env, XDG_CACHE_HOME="%s/cache-%s" % (self.folder, name))
        if plant:
            env["EVFS_PLANT"] = plant
        mount = Mount(self.build, self.place.store, "%s/mnt-%s" % (self.folder, name), options, "%s/log-%s" % (self.folder, name), None,
                      env)
        self.mounts.append(mount)
        return mount

    def begin(self):
        self.place.make()
        for i, ask in enumerate(self.ask):
            self.mount(str(i + 1), "timeout=%s,%s%s" % (self.timeout, ask, self.options), self.plant)
        for mount in self.mounts:
            if not mount.ready():
                raise Failed("the mount was killed: " + mount.said())
            for stream in self.streams:
                os.makedirs("%s/%s" % (mount.point, stream), exist_ok=True)

    def ended_well(self, pids, what):
        done = wait_all(pids, 60)
        kill_all(p for p in pids if p not in done)
        failed = ["%d %s hang" % (len(pids) - len(done), what)] * (len(done) < len(pids))
        if any(done.values()):
            with open(self.folder + "/errors") as f:
                lines = f.read().splitlines()
            failed += [line for line in lines if re.match(r"[\w.]+(Failed|Error): ", line)] or lines[-5:]
        self.note("writers and readers end well", failed)

    def work(self):
        errors = self.folder + "/errors"
        writers, readers = [], []
        try:
            for i in range(self.readers):
                streams = self.streams[i // 2::max(1, self.readers // 2)]
                readers.append(fork(read, self, self.mounts[i % 2].point, streams, errors=errors))
            for i in range(self.writers):
                writer = (ToolWriter if i < self.tools else Writer)(self, "w%d" % i, self.mounts[i % 2])
                writers.append(fork(writer.work, errors=errors))
            self.meanwhile()
            self.stop_writers[0] = 1
            pids, writers = writers, []
            self.ended_well(pids, "writers")
            self.afterwards()
            self.stop_readers[0] = 1
            pids, readers = readers, []
            self.ended_well(pids, "readers")
        finally:
            kill_all(writers + readers)

    # ---- the judgement

    def shown(self, stream):
        """Each mount's text of the stream; what can't be read is an OSError."""
        texts = []
        for mount in self.mounts:
            try:
                with open("%s/%s/events.ndjson" % (mount.point, stream), "rb") as f:
                    texts.append(f.read())
            except FileNotFoundError:
                texts.append(b"")
            except OSError as e:
                texts.append(e)
        return texts

    def final(self):
        """
        What both mounts show in the end, which must be the same, and the same as one shows that has seen nothing before. On a machine that
        has too much to do a ledger may not answer within the time-out of a test: then it is EIO, or what is committed and not yet stored
        is not shown until it is asked the next time. So they are asked again; what readers saw meanwhile is judged by the history.
        """
        time.sleep(0.2)  # longer than the mounts' fresh=
        looker = self.mount("3", "ro" + self.place.options, None)
        looker.ready()
        final = {}
        for stream in self.streams:
            texts = self.shown(stream)
            for _ in range(2):
                if len(set(texts)) > 1:
                    time.sleep(1)
                    texts = self.shown(stream)
            self.note("all mounts show the same", ["%s: %s" % (stream, t) for t in texts if isinstance(t, OSError)])
            texts = [b"" if isinstance(t, OSError) else t for t in texts]
            final[stream] = texts[-1]
            if len(set(texts)) > 1:
                self.note("all mounts show the same", ["%s: %s bytes" % (stream, [len(t) for t in texts])])
        looker.stop()
        self.mounts.remove(looker)
        return final

    def check_objects(self, stream, events):
        """S3, or the directory, holds what is shown, and nothing else."""
        names = self.place.objects(stream)
        wanted = ["%010d.json" % e["sequence_number"] for e in events]
        if names != wanted:
            self.note("the objects are those of the streams", ["%s: %s more, %s missing" % (
                stream, sorted(set(names) - set(wanted))[:5], sorted(set(wanted) - set(names))[:5])])
        for event in events[::7] + events[-3:]:
            body = self.place.body(stream, "%010d.json" % event["sequence_number"]) if names == wanted else b""
            if body and json.loads(body) != event:
                self.note("the objects are those of the streams", ["%s: object %d differs" % (stream, event["sequence_number"])])

    def judge(self):
        calls, reads = lines_of(self.calls), lines_of(self.reads)
        final = self.final()
        n = 0
        for stream in self.streams:
            events = [json.loads(line) for line in final[stream].splitlines()]
            n += len(events)
            numbers = [e["sequence_number"] for e in events]
            if self.lost_ledger:
                ids = [None] * max(numbers, default=0)
                for e in events:
                    ids[e["sequence_number"] - 1] = e["event_id"]
                self.note("numbers rise", [] if numbers == sorted(set(numbers)) else ["%s: %s" % (stream, numbers)])
            else:
                ids = [e["event_id"] for e in events]
                self.note("numbers are 1 to n without gap", occ_history.check_numbers(stream, numbers))
            wrong, made = occ_history.check_stream(stream, [c for c in calls if c["stream"] == stream], ids, self.lost_ledger)
            self.note("every answer was right", wrong)
            self.note("every answer was right", ["%s: event %d has the data of a call that was refused" % (stream, e["sequence_number"])
                                                 for e in events if e["data"]["n"] != 1])
            self.check_objects(stream, events)
            mine = [r for r in reads if r["stream"] == stream]
            if not self.lost_ledger:
                self.note("reads are fresh", occ_history.check_reads(stream, [r["read"] for r in mine if "read" in r], made,
                                                                     int(self.limit * 1e9)))
            for r in mine:
                if "who" not in r or self.lost_ledger:  # what was committed only was shown, and is gone
                    continue
                self.note("reads are prefixes, each time the same or more", r["wrong"])
                if not final[stream].startswith(r["text"].encode()):
                    self.note("reads are prefixes, each time the same or more",
                              ["%s: what was read is no prefix of the final stream" % r["who"]])
                if r["rounds"] < 1:  # one may starve beside 32 writers
                    self.note("reads are prefixes, each time the same or more", ["%s: %d rounds" % (r["who"], r["rounds"])])
        self.count(calls, reads, n)

    def count(self, calls, reads, n):
        kinds = {
            "events": lambda c: False,
            "reads": lambda c: False,
            "accepted without expectation": lambda c: c["answer"] == "ok" and c["expect"] is None,
            "accepted with expectation": lambda c: c["answer"] == "ok" and c["expect"] is not None,
            "refused, ESTALE": lambda c: c["answer"] == "ESTALE",
            "refused, EEXIST for a number": lambda c: c["answer"] == "EEXIST" and c["numbered"],
            "accepted again": lambda c: c["answer"] == "ok" and c["again"],
            "refused again": lambda c: c["answer"] in ("ESTALE", "EEXIST") and c["again"],
            "refused for other content": lambda c: c["other"] and c["answer"] == "EEXIST",
            "by evfsctl": lambda c: int(c["w"][1:]) < self.tools,
        }
        self.counted = {name: sum(map(is_kind, calls)) for name, is_kind in kinds.items()}
        if self.live:
            print("# %-30s %6d" % ("answered EIO", sum(c["answer"] == "EIO" for c in calls)))
        self.counted["events"], self.counted["reads"] = n, sum("read" in r for r in reads)

    def go(self, settle=20):
        """All of it. What is wrong stands in self.wrong."""
        try:
            self.begin()
            self.work()
            for mount in self.mounts:
                mount.settle(settle)
            self.judge()
            for mount in self.mounts:
                mount.stop()
            verify(self.build, self.place.store, self.place.env)
            self.note("verify finds nothing", [])
        except (Failed, OSError) as e:
            self.note("the store and its mounts work", [str(e)])
        finally:
            for mount in self.mounts:
                if mount.alive():
                    mount.kill()
                    mount.clear()

    def told(self):
        """Every finding, one line each."""
        return ["%s: %s" % (what, w) for what, wrong in self.wrong.items() for w in wrong]

    def report(self, results, least=5):
        """A result for each question; a run in which a kind of answer hardly came up shows nothing about it."""
        for name, n in self.counted.items():
            print("# %-30s %6d" % (name, n))
        for what, wrong in self.wrong.items():
            results.check(what, wrong)
        if self.counted:
            results.check("every kind of answer came up", ["%s: only %d" % item for item in self.counted.items() if item[1] < least])
