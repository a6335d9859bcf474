# SPDX-License-Identifier: Apache-2.0
"""
One store that is appended to and published, through kill after kill. Everything random comes from the seed: the same seed, the same
faults. delivery.py says what must hold.
"""
import datetime
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time

import delivery
from broker import READ_WITHIN, Topic, kcat
from harness import Failed, Standstill, die_with_parent, event_id, evfsctl, evfsctl_in_time
from place import Directory, Remote
from process import Feed, Publisher
from remote import BROKEN, break_connections

STREAMS = ["Order/s-%d" % i for i in range(6)]
FIRES_WITHIN = 2.5  # seconds; a failpoint that is not passed by then is given up: a plain kill instead
DRAINS_WITHIN = 60
HANGS_AFTER = 150
LEASE = 0.6
BAD_TOPIC = "no/topic"  # of an event that is for the DLQ
PASSED_ONCE = ("publisher-take-over", "publisher-send-dead", "publisher-rewind")
AT_FROM = "publisher-rewind"  # a failpoint that is passed with --from only
CHECKPOINT = "checkpoints/event_publisher.json"
IN_WRITER = ("store-committed", "object-put-before", "object-put-after", "store-delivered", "ledger-append-after-commit")
# What a store is put through, beside kills at failpoints and at any time.
KINDS = {
    "plain": ("kill",),
    "pair": ("pair", "pair", "stopped"),
    "checkpoint": ("damaged", "damaged live", "rewind live", "missing", "kill"),
    "ledger": ("put back", "put back live", "kill"),
    "topic": ("topic deleted", "topic deleted live", "kill"),
    "broker": ("broker killed", "broker killed", "broker stands still", "kill"),
    "broken": ("broken", "broken", "broken", "kill"),
}
# Each: a checkpoint out of a good one.
DAMAGE = {
    "garbage": lambda c: b"\x00\xff not a checkpoint",
    "empty": lambda c: b"",
    "an array": lambda c: b"[]",
    "cut": lambda c: json.dumps(c).encode()[:-7],
    "a time that is a text": lambda c: json.dumps(dict(c, last_timestamp_ms="yesterday")).encode(),
    "ids that are a number": lambda c: json.dumps(dict(c, recent_event_ids=7)).encode(),
    "of the future": lambda c: json.dumps(dict(c, last_timestamp_ms=int(time.time() * 1000) + 40 * 86400000)).encode(),
}


def parse_ms(text):
    """The millisecond of a time as evfs writes it."""
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if "." in text else "%Y-%m-%dT%H:%M:%SZ"
    t = datetime.datetime.strptime(text, form).replace(tzinfo=datetime.timezone.utc)
    return (t - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(milliseconds=1)


def time_text(ms):
    return (datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


class InDirectory(Directory):
    def names(self, known):
        """Those of objects below streams/ that are not known."""
        top = self.store + "/streams/"
        return [f[len(top):] for f in (os.path.join(d, n) for d, _, ns in os.walk(top) for n in ns if n.endswith(".json"))
                if f[len(top):] not in known]

    def event(self, name):
        return self.body(*name.rsplit("/", 1))

    def checkpoint(self):
        try:
            with open(self.store + "/" + CHECKPOINT, "rb") as f:
                return f.read()
        except FileNotFoundError:
            return None

    def ledger_is_free(self):
        """Nobody keeps it for a second."""
        ledger = sqlite3.connect(self.store + "/.evfs/ledger.db", isolation_level=None, timeout=1)
        try:
            ledger.execute("BEGIN IMMEDIATE")
            return True
        except sqlite3.OperationalError:
            return False
        finally:
            ledger.close()

    def put_checkpoint(self, body):
        """None: take it away."""
        path = self.store + "/" + CHECKPOINT
        if body is None:
            if os.path.exists(path):
                os.unlink(path)
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "wb") as f:
            f.write(body)
        os.rename(path + ".new", path)


class InS3(Remote):
    @staticmethod
    def ledger_is_free():
        return True

    def names(self, known):
        top = self.prefix + "/streams/"
        return [k[len(top):] for k in self.servers.bucket().list(top) if k[len(top):] not in known]

    def event(self, name):
        return self.servers.bucket().get(self.prefix + "/streams/" + name)

    def checkpoint(self):
        return self.servers.bucket().get(self.prefix + "/" + CHECKPOINT)

    def put_checkpoint(self, body):
        key = self.prefix + "/" + CHECKPOINT
        status, said = self.servers.bucket().ask("DELETE", key) if body is None else self.servers.bucket().ask("PUT", key, body=body)
        if status not in (200, 204):
            raise Failed("the checkpoint can't be written: %d %s" % (status, said[:300]))


class Publication:
    def __init__(self, folder, build, failpoints, seed, index, kind, broker, servers=None, topic_tool=None):
        self.folder = os.path.join(folder, "%d-%s" % (index, kind))
        os.makedirs(self.folder)
        self.build, self.index, self.kind, self.broker, self.servers = build, index, kind, broker, servers
        self.failpoints, self.topic_tool = failpoints, topic_tool
        self.random = random.Random("%s/%d" % (seed, index))
        self.name = "store-%d" % index
        self.topic, self.dlq = Topic("t-%s" % self.name), Topic("t-%s-dlq" % self.name)
        self.proxy = None
        self.publishers, self.feeds = [], []
        self.events, self.bodies = [], {}
        self.records, self.in_kafka, self.looks = [], set(), []
        self.epoch = self.cycles = 0
        self.plans, self.points, self.ways = [], [], []
        self.fired, self.done = {}, {}
        self.ones = 0
        self.again = 0  # records of events that were there before
        self.takeovers = []
        self.doing, self.hung = "init", False
        self.tampered = False  # the checkpoint is not the publisher's now
        self.lost_topic = False  # it was deleted under a publisher

    # ---- parts

    def prepare(self):
        Publisher.count = 0
        if self.servers:
            self.proxy = self.servers.proxy(self.folder)
            self.direct = InS3(self.build, self.folder, self.servers, self.name)
            self.place = InS3(self.build, self.folder, self.servers, self.name, self.proxy)
            self.direct.env["XDG_CACHE_HOME"] = self.place.env["XDG_CACHE_HOME"] = self.folder + "/cache"
        else:
            self.place = self.direct = InDirectory(self.build, self.folder)
        self.place.make()
        self.feeds = [Feed(self.build, self.direct, self.folder, "w%d" % i) for i in range(2)]

    def close(self):
        for p in self.publishers:
            if p.alive():
                p.signal(signal.SIGCONT)
                p.kill()
        for feed in self.feeds:
            feed.kill()
        if self.proxy:
            self.proxy.stop()

    def publisher(self, failpoint=None, arguments=(), **more):
        options = {"EVFS_KAFKA": self.broker.address, "EVFS_DEFAULT_TOPIC": self.topic.name, "EVFS_DLQ_TOPIC": self.dlq.name,
                   "EVFS_LEASE": "%dms" % (LEASE * 1000), "EVFS_SAVE": self.random.choice(("10ms", "30ms", "100ms")), "EVFS_POLL": "100ms",
                   "EVFS_TIMEOUT": "1s" if self.kind == "ledger" else "2s", "EVFS_WINDOW": self.random.choice(("20", "200", "20000")), "EVFS_FLUSH": "10s"}
        p = Publisher(self.build, self.place, self.folder, dict(options, **more), failpoint, arguments)
        self.publishers.append(p)
        return p

    @staticmethod
    def active(publisher):
        """Wait until it is the one that publishes: who was killed before it held the lease."""
        publisher.says("info: active", READ_WITHIN)

    def gone(self, publisher):
        """It is dead, and was looked at."""
        self.publishers.remove(publisher)

    def feed(self, n=None):
        """Some more to append, by one of the writers, which a failpoint may kill."""
        r = self.random
        point = r.choice(IN_WRITER)
        failpoint = "%s:%d" % (point, r.randint(1, 20)) if r.random() < 0.15 and self.failpoints else None
        feed = r.choice(self.feeds)
        more = {"metadata": {"kafka_topic": BAD_TOPIC}} if r.random() < 0.06 else {}
        return feed.append(r.choice(STREAMS), n or r.choice((1, 1, 2, 5)), failpoint, pad=r.choice((0, 20, 200, 3000)), **more)

    def feed_for(self, seconds, publisher=None):
        """As long as the publisher lives."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and (not publisher or publisher.alive()):
            self.feed()
            time.sleep(self.random.choice((0.001, 0.005, 0.02, 0.04)))

    def close_feeds(self):
        for feed in self.feeds:
            feed.close()

    def read_kafka(self):
        for topic in (self.topic, self.dlq):
            for record in topic.read(self.broker.address):
                self.records.append(dict(record, dead=topic is self.dlq))
                i = delivery.record_id(record)
                self.again += i in self.in_kafka
                self.in_kafka.add(i)

    def read_store(self):
        for name in self.direct.names(self.bodies):
            body = self.direct.event(name)
            if not body:
                raise Failed("the object %s is empty, or gone" % name)
            self.bodies[name] = body
            event = json.loads(body)
            self.events.append({"stream": event["aggregate_type"] + "/" + event["aggregate_id"], "number": event["sequence_number"],
                                "id": event["event_id"], "body": body, "ms": parse_ms(event["occurred_at"]),
                                "dead": event["metadata"].get("kafka_topic") == BAD_TOPIC})

    def look(self):
        """What the checkpoint says, then what is in Kafka. Returns the former."""
        text = self.direct.checkpoint()
        c = None
        if text is not None and not self.tampered:
            c = json.loads(text)
            held = {h["aggregate_type"] + "/" + h["aggregate_id"]: h["next"] for h in c.get("held", [])}
        self.read_kafka()
        if c:
            self.looks.append({"last_ms": c["last_timestamp_ms"], "held": held, "ids": c["recent_event_ids"], "records": len(self.records),
                               "epoch": self.epoch})
        return c

    def pending(self):
        done = evfsctl(self.build, "status", self.direct.store, "--json", env=self.direct.env)
        if done.returncode:
            return None
        status = json.loads(done.stdout)
        return status["pending"] + (not status["complete"])

    def drain(self, publisher=None):
        """Wait until all that is stored is in Kafka, by this publisher or one of its own, which is returned."""
        self.close_feeds()
        publisher = publisher or self.publisher()
        end = time.monotonic() + DRAINS_WITHIN
        wait = 0.05
        while True:
            self.read_store()
            self.read_kafka()
            missing = [e for e in self.events if e["id"] not in self.in_kafka]
            if not missing and self.pending() == 0:
                self.read_store()
                if all(e["id"] in self.in_kafka for e in self.events):
                    break
            if not publisher.alive() and not publisher.started_again():
                raise Failed("the publisher ended by itself, status %s: %s" % (publisher.process.returncode, publisher.said()))
            if time.monotonic() > end:
                raise Failed("%d of %d events are not in Kafka after %d s, first %s; pending: %s; the publisher says: %s" % (
                    len(missing), len(self.events), DRAINS_WITHIN, missing and delivery.name(missing[0]), self.pending(), publisher.said()))
            time.sleep(wait)
            wait = min(0.5, wait * 1.5)
        self.checked()
        return publisher

    def checked(self, quiet=False):
        wrong = delivery.check(self.events, self.records, self.looks, quiet, self.lost_topic)
        if wrong:
            raise Failed("\n".join(wrong[:20]))

    def drain_and_stop(self):
        """After a good end nothing waits, as 'evfsctl publisher status' says."""
        publisher = self.drain()
        publisher.stop()
        self.gone(publisher)
        self.look()
        end = time.monotonic() + 5  # a lease that could not be given back ends by itself
        while True:
            status = self.publisher_status()
            if not status.get("holder") or time.monotonic() > end:
                break
            time.sleep(0.1)
        if status.get("damaged") or status.get("lag_events") != 0 or status.get("holder"):
            raise Failed("all is published, the publisher was stopped, and its status is %s" % json.dumps(status))

    def publisher_status(self):
        done = evfsctl_in_time(self.build, "publisher", self.direct.store, "status", "--json", env=self.direct.env)
        if done.returncode:
            raise Failed("evfsctl publisher status: %d %s" % (done.returncode, done.stderr.decode(errors="replace")))
        return json.loads(done.stdout)

    def rewind(self, to):
        done = evfsctl_in_time(self.build, "publisher", self.direct.store, "rewind", "--to", to, "--json", env=self.direct.env)
        if done.returncode:
            raise Failed("evfsctl publisher rewind --to %s: %d %s" % (to, done.returncode, done.stderr.decode(errors="replace")))
        self.epoch += 1
        self.tampered = False
        return json.loads(done.stdout)

    # ---- what is to happen

    def plan(self):
        """Kind of fault, failpoint or None, which pass of it, seconds."""
        if not self.plans:
            self.plans = list(KINDS[self.kind])
            self.random.shuffle(self.plans)
        what = self.plans.pop()
        name = None
        if what in ("kill", "pair"):
            if not self.points:
                self.points = [f for f in self.failpoints if what == "kill" or f != AT_FROM] + [None] * (1 + len(self.failpoints) // 4)
                self.random.shuffle(self.points)
            name = self.points.pop()
        nth = self.random.choice((1, 1, 2, 3, 5, 8))
        return what, name, 1 if name in PASSED_ONCE else nth, self.random.uniform(0.05, 0.6)

    def describe(self, fault):
        what, name, nth, seconds = fault
        return "%s, %s" % (what, "at %s:%d" % (name, nth) if name else "after %.3f s" % seconds)

    def strike(self, publisher, fault):
        """Append until its failpoint, or the time, kills it."""
        _, name, nth, seconds = fault
        self.feed_for(FIRES_WITHIN if name else seconds, publisher)
        fired = not publisher.alive()
        status = publisher.kill()
        self.gone(publisher)
        if fired and not publisher.was_late():
            if not name or status != -signal.SIGKILL:
                raise Failed("the publisher ended by itself, status %d: %s" % (status, publisher.said()))
            self.fired[name] = self.fired.get(name, 0) + 1

    # ---- the faults

    def kill(self, fault):
        _, name, nth, _ = fault
        if name == AT_FROM:
            publisher = self.publisher(name + ":1", ("--from", "beginning"))
            self.epoch += 1
        else:
            publisher = self.publisher(name and "%s:%d" % (name, nth))
        if not name:
            self.active(publisher)
        self.strike(publisher, fault)

    def in_kafka_within(self, i, seconds, publisher):
        """How long it took until the event was there."""
        began = time.monotonic()
        while True:
            self.read_kafka()
            took = time.monotonic() - began
            if i in self.in_kafka:
                return took
            if took > seconds:
                raise Failed("an event is not in Kafka %.1f s after the active publisher's end: %s" % (took, publisher.said()))
            time.sleep(0.02)

    def takes_over(self, second):
        """How long until it publishes what is appended now, but for what the broker's disk stood still."""
        with Standstill(os.path.dirname(self.folder)) as still:
            took = self.in_kafka_within(self.one_event(), READ_WITHIN, second)
        self.takeovers.append(max(0.0, took - still.seconds))

    def one_event(self):
        """Appended, for sure: what a feed asks for may be refused."""
        self.ones += 1
        i = event_id("%s-one%d" % (self.folder, self.ones))
        done = evfsctl_in_time(self.build, "append", self.direct.store, self.random.choice(STREAMS), "Noted", "--id", i, stdin=b"{}",
                               env=self.direct.env)
        if done.returncode:
            raise Failed("evfsctl append: %d %s" % (done.returncode, done.stderr.decode(errors="replace")))
        return i

    def drained(self):
        """A publisher that has published all there is, and at least one event."""
        self.one_event()
        return self.drain()

    def drained_quickly(self):
        """Nothing old is waiting, so that a take-over's time is its own."""
        publisher = self.drain()
        publisher.kill()
        self.gone(publisher)

    def pair(self, fault):
        """The second stands by, and takes over within 5 s of the first one's death."""
        self.drained_quickly()
        first = self.publisher(fault[1] and "%s:%d" % fault[1:3])
        if not fault[1]:
            self.active(first)
        second = self.publisher()
        self.strike(first, fault)
        self.close_feeds()
        second.ready()
        self.takes_over(second)
        self.look()
        self.drain(second)
        second.kill()
        self.gone(second)

    def stop_at_once(self, publisher):
        """SIGSTOP, but not while it holds a directory's ledger: then all stand still with it."""
        publisher.signal(signal.SIGSTOP)
        while not self.direct.ledger_is_free():
            publisher.signal(signal.SIGCONT)
            time.sleep(self.random.uniform(0.001, 0.02))
            publisher.signal(signal.SIGSTOP)

    def stopped(self, fault):
        """The first one stands still until after the take-over, and then may do no harm."""
        self.drained_quickly()
        first = self.publisher()
        first.ready()
        self.in_kafka_within(self.one_event(), READ_WITHIN, first)
        second = self.publisher()
        second.ready()
        self.feed_for(fault[3], first)
        try:
            self.stop_at_once(first)
            self.close_feeds()
            self.takes_over(second)
            self.feed_for(0.2)
            self.look()
        finally:
            first.signal(signal.SIGCONT)
        self.feed_for(0.5)
        self.look()
        if not first.alive():
            raise Failed("the publisher that stood still ended: %s" % first.said())
        first.kill()
        self.gone(first)
        self.look()
        self.drain(second)
        second.stop()
        self.gone(second)
        self.look()

    def good_checkpoint(self):
        c = self.look()
        if not c:
            raise Failed("there is no checkpoint after all was published")
        return c

    def rewound(self, c):
        """To a time that is not ahead of what was delivered. Returns since when events go out again."""
        to = self.random.choice((0, c["last_timestamp_ms"] - self.random.randint(1, 3000)))
        self.rewind(time_text(to) if to else "beginning")
        return to

    def damage(self, c):
        how = self.random.choice(sorted(DAMAGE))
        self.doing += ", " + how
        self.tampered = True
        self.direct.put_checkpoint(DAMAGE[how](c))

    def damaged(self, fault):
        """It is not taken for a place to go on from; rewound, it is one, also for who waits."""
        self.one_event()
        self.drain_and_stop()
        c = self.good_checkpoint()
        self.damage(c)
        self.feed_for(fault[3] / 3)
        i = self.one_event()
        publisher = self.publisher()
        publisher.says("evfsctl publisher rewind", READ_WITHIN)
        self.read_kafka()
        if i in self.in_kafka:
            raise Failed("an event is published behind a checkpoint that is damaged: %s" % publisher.said())
        self.rewound(c)
        self.drain(publisher)
        publisher.kill()
        self.gone(publisher)

    def damaged_live(self, fault):
        """Under a publisher that is up: it sees it at its next save."""
        publisher = self.drained()
        c = self.good_checkpoint()
        self.damage(c)
        publisher.says("evfsctl publisher rewind", READ_WITHIN, self.feed)
        self.close_feeds()
        self.rewound(c)
        self.feed_for(fault[3])
        self.drain(publisher)
        publisher.kill()
        self.gone(publisher)

    def rewind_live(self, fault):
        """Who is up goes on from there, also where nothing is appended: what was recorded since comes again."""
        publisher = self.drained()
        c = self.good_checkpoint()
        before = len(self.records)
        since = self.rewound(c)
        want = {e["id"] for e in self.events if e["ms"] >= since}
        end = time.monotonic() + READ_WITHIN
        while not want <= {delivery.record_id(r) for r in self.records[before:]}:
            if not publisher.alive() or time.monotonic() > end:
                raise Failed("%d events were rewound, %d came again: %s" % (len(want), len(self.records) - before, publisher.said()))
            time.sleep(0.1)
            self.read_kafka()
        self.feed_for(fault[3])
        self.look()
        publisher.kill()
        self.gone(publisher)

    def missing(self, fault):
        """It begins from the first event."""
        self.drain_and_stop()
        self.direct.put_checkpoint(None)
        self.epoch += 1
        self.kill(fault)

    def put_back(self, fault, live=False):
        """What was stored and not yet published is published, whatever the ledger knows of it."""
        publisher = self.drain()
        if not live:
            publisher.kill()
            self.gone(publisher)
        self.feed_for(fault[3] / 2)
        self.close_feeds()
        self.direct.keep_ledger()
        try:
            if live:
                self.stop_at_once(publisher)
            self.feed_for(fault[3])
            self.close_feeds()
            self.direct.put_ledger_back()
        finally:
            if live:
                publisher.signal(signal.SIGCONT)
        if not live:
            publisher = self.publisher(None)
        self.feed_for(fault[3])
        self.drain(publisher)
        self.feed_for(fault[3] / 2)
        self.look()
        publisher.kill()
        self.gone(publisher)

    def put_back_live(self, fault):
        self.put_back(fault, True)

    def delete_topic(self):
        done = subprocess.run([self.topic_tool, self.broker.address, "delete", self.topic.name], capture_output=True, check=False, timeout=60,
                              preexec_fn=die_with_parent)
        if done.returncode and b"Unknown topic" not in done.stderr:  # all that came since the last time was for the DLQ, or nothing came
            raise Failed("the topic can't be deleted: " + done.stderr.decode(errors="replace"))
        self.topic.deleted()

    def topic_deleted(self, fault):
        self.feed_for(0.2)
        self.drain_and_stop()
        self.delete_topic()
        self.kill(fault)
        self.drain_and_stop()

    def topic_deleted_live(self, fault):
        """What it held was read; what comes behind it finds a new one."""
        self.feed_for(0.2)
        publisher = self.drain()
        self.lost_topic = True
        self.delete_topic()
        self.feed_for(fault[3], publisher)
        self.drain(publisher)
        publisher.kill()
        self.gone(publisher)

    def broker_killed(self, fault):
        publisher = self.publisher()
        self.active(publisher)
        self.feed_for(fault[3], publisher)
        self.broker.kill()
        self.feed_for(self.random.choice((0.1, 1.0)), publisher)
        if self.random.random() < 0.3:
            publisher.kill()
            self.gone(publisher)
            publisher = None
        self.broker.start()
        self.look()
        if publisher:
            self.drain(publisher)
            publisher.kill()
            self.gone(publisher)

    def broker_stands_still(self, fault):
        publisher = self.publisher()
        self.active(publisher)
        self.feed_for(fault[3], publisher)
        self.broker.server.signal(signal.SIGSTOP)
        try:
            self.feed_for(self.random.choice((0.5, 2.5)), publisher)
        finally:
            self.broker.server.signal(signal.SIGCONT)
        self.look()
        self.strike(publisher, ("kill", None, 1, 0.1))

    def broken(self, fault):
        """The servers below break for a while, on the publisher's side; it lives on, or is killed within."""
        publisher = self.publisher()
        self.active(publisher)
        self.feed_for(fault[3] / 2, publisher)
        if not self.ways:
            self.ways = self.random.sample(sorted(BROKEN), len(BROKEN))
        how = self.ways.pop()
        self.doing += ", " + how
        fired = break_connections(self.proxy, how, self.random.randint(1, 8), self.random.choice((0.2, 0.4, 1.6)),
                                  lambda seconds: self.feed_for(seconds, publisher) if publisher.alive() else time.sleep(seconds))
        self.done[how] = self.done.get(how, 0) + fired
        if not publisher.alive():
            raise Failed("the publisher ended where it must wait: %s" % publisher.said())
        if self.random.random() < 0.4:
            publisher.kill()
            self.gone(publisher)
            publisher = None
        self.mend()
        self.look()
        if publisher:
            self.drain(publisher)
            publisher.kill()
            self.gone(publisher)

    def mend(self):
        self.proxy.clear()
        for link in ("s3", "pg"):
            self.proxy.tell(link, "drop")

    # ---- a cycle

    def cycle(self):
        fault = self.plan()
        self.doing = self.describe(fault)
        try:
            getattr(self, fault[0].replace(" ", "_"))(fault)
            self.close_feeds()
            self.look()
            if self.random.random() < 0.2:
                self.drain_and_stop()
        finally:
            for p in list(self.publishers):
                if p.alive():
                    p.signal(signal.SIGCONT)
                    p.kill()
                self.gone(p)
            for feed in self.feeds:
                feed.kill()
        self.cycles += 1
        self.done[fault[0]] = self.done.get(fault[0], 0) + 1

    def give_up(self):
        self.hung = True
        for p in self.publishers:
            p.signal(signal.SIGCONT)
            p.signal(signal.SIGKILL)

    def guarded(self, what):
        watchdog = threading.Timer(HANGS_AFTER, self.give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            return what()
        except (Failed, OSError) as e:
            if self.hung:
                raise Failed("hangs for %d s: %s" % (HANGS_AFTER, e)) from e
            raise
        finally:
            watchdog.cancel()

    def finish(self):
        """All is published, and nothing is wrong."""
        self.doing = "the end"
        self.drain_and_stop()
        self.checked()

    def story(self):
        return "store %d (%s%s), cycle %d, %s" % (self.index, self.kind, ", S3" if self.servers else "", self.cycles, self.doing)
