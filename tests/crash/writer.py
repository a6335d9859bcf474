# SPDX-License-Identifier: Apache-2.0
"""A writer of the kill cycles: appends through a mount in every way there is, and writes down each append and its answer."""
import errno
import json
import os
import random
import time

from harness import GONE, append_line, event_id, evfsctl, last_error
from history import pad

NOT_ANSWERED = GONE + (errno.EIO,)
NOT_SENT = "unsent"


class Cut(Exception):
    """No answer; status says what became of the append that was being made."""

    def __init__(self, status, cause):
        super().__init__(status)
        self.status, self.error = status, errno.errorcode[cause.errno]


def document(attempt, k):
    token = attempt["tokens"][k]
    doc = {"event_type": attempt["type"], "data": {"t": token, "pad": pad(token, attempt["pad"])}}
    if attempt["own"]:
        doc["event_id"] = event_id(token)
    if attempt["expect"] is not None and k == 0:
        doc["expected_seq"] = attempt["expect"]
    return doc


def envelope(attempt):
    """The whole event, as it would be copied from elsewhere."""
    kind, name = attempt["stream"].split("/", 1)
    doc = document(attempt, 0)
    return {"event_id": event_id(attempt["tokens"][0]), "event_type": attempt["type"], "aggregate_type": kind, "aggregate_id": name,
            "occurred_at": "2026-01-02T03:04:05.678901Z", "actor": None, "data": doc["data"], "metadata": {},
            "schema_version": "1", "sequence_number": None if attempt["expect"] is None else attempt["expect"] + 1}


def text(value):
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def make_directory(path):
    try:
        os.mkdir(path)
    except FileExistsError:
        pass


def opened(path, flags):
    """Nothing is appended by open: where the mount is gone, or can't tell what is there, the append was never sent."""
    try:
        return os.open(path, flags, 0o644)
    except OSError as e:
        if e.errno in NOT_ANSWERED:
            raise Cut(NOT_SENT, e) from e
        raise


def written(path, flags, data, appends=True):
    fd = opened(path, flags)
    try:
        n = os.write(fd, data)
        if n != len(data):
            raise RuntimeError("%s: %d bytes of %d were taken" % (path, n, len(data)))
    except OSError as e:
        if e.errno in NOT_ANSWERED:
            raise Cut("cut" if appends else NOT_SENT, e) from e
        raise
    finally:
        try:
            os.close(fd)
        except OSError as e:
            if e.errno not in GONE:  # what was answered before stays answered
                raise


def append_lines(folder, attempt):
    data = b"".join(text(document(attempt, k)) for k in range(len(attempt["tokens"])))
    written(folder + "/events.ndjson", os.O_WRONLY | os.O_APPEND | os.O_CREAT, data)


def named_path(folder, attempt):
    number = "" if attempt["expect"] is None else "%d-" % (attempt["expect"] + 1)
    return "%s/%s%s.json" % (folder, number, attempt["type"])


def append_named(folder, attempt):
    data = text(envelope(attempt) if attempt["own"] else document(attempt, 0)["data"])
    written(named_path(folder, attempt), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, data)


def append_renamed(folder, attempt):
    temporary = "%s/.%s.tmp" % (folder, attempt["tokens"][0])
    data = text(envelope(attempt) if attempt["own"] else document(attempt, 0)["data"])
    written(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, data, appends=False)
    try:
        os.rename(temporary, named_path(folder, attempt))
    except OSError as e:
        if e.errno in NOT_ANSWERED:
            raise Cut("cut", e) from e
        raise


WAYS = {"lines": append_lines, "named": append_named, "renamed": append_renamed}


class Writer:
    """
    One process. manifest: a descriptor of its file, outside the mount; first: how many appends it made before; heads: the last numbers of
    streams, as checked; stop: one shared byte, not 0 when it shall end; live: the mount goes on when the servers below it fail, so an EIO
    is no end.
    """

    pause = 0  # seconds between two appends

    def __init__(self, name, mount, manifest, first, seed, streams, heads, stop, live=False):
        self.name, self.mount, self.manifest, self.count = name, mount, manifest, first
        self.random = random.Random(seed)
        self.streams, self.own_stream = streams, "Own/" + name
        self.head = heads.get(self.own_stream, 0)
        self.stop, self.live = stop, live

    def plan(self):
        """The next append. Only in a stream that is this writer's alone does it know the last number."""
        r = self.random
        way = r.choice(("lines", "lines", "lines", "lines", "named", "renamed"))
        n = r.choice((1, 1, 1, 2, 3, 8)) if way == "lines" else 1
        alone = r.random() < 0.3
        stream = self.own_stream if alone else r.choice(self.streams)
        self.count += 1
        return {"w": self.name, "a": self.count, "stream": stream, "way": way, "own": r.random() < 0.5,
                "tokens": ["%s-%d-%d" % (self.name, self.count, k) for k in range(n)], "doubt": self.live,
                "expect": self.head if alone and self.head is not None and r.random() < 0.8 else None, "type": r.choice(("Noted", "OrderPaid")),
                "pad": r.choice((0, 10, 10, 200, 200, 200, 1000, 30000 if n == 1 else 100))}

    def answer(self, attempt, answer, **more):
        append_line(self.manifest, dict(more, w=self.name, a=attempt["a"], answer=answer))
        if attempt["stream"] != self.own_stream or answer in (NOT_SENT, "refused"):
            return
        if answer != "ok":
            self.head = None
        elif self.head is not None and not attempt.get("was_there"):
            self.head += len(attempt["tokens"])

    def what_became(self, attempt, cut):
        """The answer that an EIO is: .evfs/errors says whether the append was committed. And what it says."""
        said = last_error(self.mount)
        if attempt.get("retried"):
            return "cut", said  # a try that was cut before stays in doubt, though the next was never sent
        if cut.status == NOT_SENT or not said:
            return cut.status, said
        return {"no": "refused", "yes": "owed", "unknown": "cut"}[said["committed"]], said

    def make(self, attempt):
        """True when it is to go on. A refusal is an error: none is due, but where may_refuse says so."""
        began = time.monotonic()
        folder = "%s/%s" % (self.mount, attempt["stream"])
        try:
            try:
                make_directory(os.path.dirname(folder))
                make_directory(folder)
            except OSError as e:
                if e.errno in NOT_ANSWERED:
                    raise Cut(NOT_SENT, e) from e
                raise
            WAYS[attempt["way"]](folder, attempt)
        except Cut as e:
            answer, reason = ("cut" if attempt.get("retried") else e.status), None
            if e.error == "EIO":
                answer, reason = self.what_became(attempt, e)
            self.answer(attempt, answer, error=e.error, reason=reason, took=time.monotonic() - began)
            if not self.live or e.error != "EIO":
                return False
            time.sleep(0.02)
            return True
        except OSError as e:
            if attempt.get("may_refuse") and e.errno in (errno.ESTALE, errno.EEXIST):
                self.answer(attempt, attempt["may_refuse"])
                return True
            raise RuntimeError("%s of %s to '%s' expecting %s%s: %s; last_error %s" % (
                attempt["way"], attempt["tokens"][0], attempt["stream"], attempt["expect"],
                ", again" if attempt.get("retried") else "", e, last_error(self.mount))) from e
        self.answer(attempt, "ok")
        return True

    def run(self, retries):
        """retries: appends that an earlier mount did not answer, with ids of their own: the same again must succeed."""
        for attempt in retries:
            append_line(self.manifest, {"w": self.name, "a": attempt["a"], "retry": True})
            attempt["retried"] = True
            if not self.make(attempt):
                return
        while not self.stop[0]:
            attempt = self.plan()
            append_line(self.manifest, attempt)
            if not self.make(attempt):
                return
            time.sleep(self.pause)


class ToolWriter(Writer):
    """The same by evfsctl append, beside the mounts; a share of its processes is killed at a failpoint."""

    def __init__(self, build, place, failpoints, *args):
        super().__init__(*args)
        self.build, self.place, self.failpoints = build, place, failpoints

    def make(self, attempt):
        failpoint = self.random.choice(self.failpoints) + ":1" if self.failpoints and self.random.random() < 0.3 else None
        expect = ["--expect", str(attempt["expect"])] if attempt["expect"] is not None else []
        attempt_id = ["--id", event_id(attempt["tokens"][0])] if attempt["own"] else []
        data = json.dumps(document(attempt, 0)["data"]).encode()
        done = evfsctl(self.build, "append", self.place.store, attempt["stream"], attempt["type"], *expect, *attempt_id, stdin=data,
                       failpoint=failpoint, env=dict(self.place.env, EVFS_TIMEOUT="1s"))
        if done.returncode == 4 and attempt.get("may_refuse"):
            self.answer(attempt, attempt["may_refuse"])
            return True
        if done.returncode not in (0, -9, 5):
            raise RuntimeError("evfsctl append of %s to '%s' expecting %s: status %d, %s" % (
                attempt["tokens"][0], attempt["stream"], attempt["expect"], done.returncode, done.stderr.decode(errors="replace")))
        self.answer(attempt, "cut" if done.returncode else "ok", failpoint=failpoint if done.returncode == -9 else None)
        return done.returncode == 0

    def plan(self):
        attempt = super().plan()
        del attempt["tokens"][1:]
        return dict(attempt, way="tool")
