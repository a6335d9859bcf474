# SPDX-License-Identifier: Apache-2.0
"""A store in S3 and PostgreSQL that lives through kill after kill, and through what becomes of its servers."""
import os
import shutil
import signal
import time

from place import Remote
from scenario import Scenario
from servers import Servers

# What a store is put through, beside what scenario.py has. faults: the connections break, the mount lives on for a while. servers: its
# own servers are killed, restarted and stalled.
KINDS = ("s3-lost", "s3-committed", "s3-faults-committed", "s3-pair", "s3", "s3-faults", "s3", "s3-faults")  # the slow ones first
SERVERS_KIND = "s3-servers"

APPEND, PUT = '"event_type"', "PUT"  # stand in what goes to PostgreSQL with an append, and to S3
# Each: the proxy's commands. n is a number of the cycle's.
BROKEN = {
    "the ledger's reply is lost": lambda n: [("pg", "lost", {"match": APPEND, "nth": n})],
    "the ledger's replies are lost": lambda n: [("pg", "lost", {"p": 0.05})],
    "the ledger is cut off": lambda n: [("pg", "cut", {"p": 0.05})],
    "the ledger swallows a request": lambda n: [("pg", "swallow", {"nth": n})],
    "the ledger swallows an append's answer": lambda n: [("pg", "swallow", {"match": APPEND, "nth": n, "dir": "down"})],
    "the ledger is slow": lambda n: [("pg", "delay", {"ms": 5, "jitter": 30, "times": 0})],
    "the ledger is gone": lambda n: [("pg", "refuse", {"times": 0}), ("pg", "drop", {})],
    "a PUT's reply is lost": lambda n: [("s3", "lost", {"match": PUT, "nth": n, "times": 2})],
    "replies of S3 are lost": lambda n: [("s3", "lost", {"p": 0.1})],
    "S3 is cut off": lambda n: [("s3", "cut", {"p": 0.1})],
    "PUTs are cut in their middle": lambda n: [("s3", "cut", {"match": PUT, "p": 0.1, "after": 300})],
    "S3's connections are reset": lambda n: [("s3", "reset", {"p": 0.1})],
    "answers of S3 are cut in their middle": lambda n: [("s3", "cut", {"dir": "down", "p": 0.1, "after": 20})],
    "S3 swallows PUTs": lambda n: [("s3", "swallow", {"match": PUT, "p": 0.2})],
    "S3 swallows a PUT's answer": lambda n: [("s3", "swallow", {"match": PUT, "nth": n, "dir": "down"})],
    "S3 stalls": lambda n: [("s3", "swallow", {"times": 0})],
    "S3 is slow": lambda n: [("s3", "delay", {"ms": 10, "jitter": 40, "times": 0}), ("s3", "slow", {"rate": 200000, "times": 0})],
    "S3 is gone": lambda n: [("s3", "refuse", {"times": 0}), ("s3", "drop", {})],
    "both break": lambda n: [("pg", "lost", {"p": 0.03}), ("s3", "reset", {"p": 0.05}), ("pg", "cut", {"p": 0.03})],
}
BROKEN_SERVERS = ("S3 is killed and restarted", "PostgreSQL stops at once and restarts", "both are killed", "S3 stands still",
                  "S3 stands still and goes on", "backends are told to end", "a backend is killed")
UNMOUNTED = "unmounted after the last close, the cache removed"
BREAKS_WITHIN = 8  # seconds


def break_connections(proxy, how, n, seconds, work=time.sleep):
    """Break them for so many seconds of work, longer where nothing met it yet. Returns how often something did."""
    before = proxy.fired()
    for link, command, keys in BROKEN[how](n):
        proxy.tell(link, command, **keys)
    end = time.monotonic() + BREAKS_WITHIN
    work(seconds)
    while (fired := proxy.fired() - before) == 0 and time.monotonic() < end:
        work(0.05)
    return fired


class RemoteScenario(Scenario):
    live = True
    settles_within = 60.0
    verified_every = 5  # a process and a walk over all: now and then
    patience = ",timeout=4s"  # nothing is broken any more: who looks must not fail for a slow machine

    def __init__(self, servers, *arguments):
        self.servers = servers
        self.own_servers = self.proxy = None
        if "committed" in arguments[-1]:
            self.fires_within = 0.7  # what is only committed piles up, and has to be stored before the check
        self.broken = {}  # what was done to the connections: how often
        super().__init__(*arguments)

    def new_place(self):
        return None  # prepare() knows where the servers are

    def prepare(self):
        if self.kind == SERVERS_KIND:
            self.own_servers = Servers(self.build, self.folder)
            self.servers = self.own_servers.__enter__()
        self.proxy = self.servers.proxy(self.folder)
        self.place = Remote(self.build, self.folder, self.servers, "store-%d" % self.index, self.proxy)
        self.place.env["XDG_CACHE_HOME"] = self.folder + "/cache"
        super().prepare()

    def close(self):
        if self.proxy:
            self.proxy.stop()
        if self.own_servers:
            self.own_servers.__exit__()

    # ---- what is to happen: a fault is (failpoint, pass, seconds), or (None, text, seconds)

    def plan(self):
        if not self.plans and self.kind == SERVERS_KIND:
            self.plans = list(BROKEN_SERVERS)
            self.random.shuffle(self.plans)
        elif not self.plans and "faults" in self.kind:
            self.plans = list(BROKEN) + [UNMOUNTED]
            self.random.shuffle(self.plans)
        if not self.plans or not isinstance(self.plans[-1], str) or self.plans[-1] in self.failpoints:
            fault = super().plan()
            return fault if fault[0] or self.random.random() < 0.6 else (None, UNMOUNTED, fault[2])
        return None, self.plans.pop(), self.random.uniform(0.05, 0.4)

    def describe(self, fault):
        return fault[1] if isinstance(fault[1], str) else super().describe(fault)

    def strike(self, victim, fault):
        name, what, seconds = fault
        if not isinstance(what, str):
            return super().strike(victim, fault)
        time.sleep(seconds / 2)
        if what in BROKEN:
            # longer than timeout=1s every now and then, so that it is given up
            fired = break_connections(self.proxy, what, self.random.randint(1, 8), self.random.choice((0.2, 0.4, 1.6)))
            self.broken[what] = self.broken.get(what, 0) + fired
        elif what != UNMOUNTED:
            self.break_servers(what)
        if what == UNMOUNTED or self.random.random() < 0.3:
            self.mend()
            self.unmount(victim)
        else:
            self.kill(victim, None, None, 0)
        self.mend()
        return False

    def break_servers(self, what):
        s = self.servers
        if "stands still" in what:
            s.stall_s3(True)
            time.sleep(self.random.choice((0.1, 1.5)))
            if "goes on" in what:
                s.stall_s3(False)
                time.sleep(0.2)
            return
        if "backend" in what:  # between a COMMIT and its reply, now and then; the latter has the postmaster end all of them
            end = time.monotonic() + 0.6
            while time.monotonic() < end:
                for pid in s.backends()[:1 if "killed" in what else 2]:
                    os.kill(pid, signal.SIGKILL if "killed" in what else signal.SIGTERM)
                if "killed" in what:
                    break
            s.is_listening()
            return
        broken = [s.minio] if "S3" in what else [s.postgres] if "PostgreSQL" in what else [s.minio, s.postgres]
        for server in broken:
            server.kill()
        time.sleep(self.random.choice((0.0, 0.5, 1.2)))
        for server in broken:
            server.begin()
        for server in broken:
            server.ready()
        time.sleep(0.5)

    def mend(self):
        """Servers and connections are well again."""
        if self.own_servers:
            self.servers.stall_s3(False)
        self.proxy.clear()
        for link in ("s3", "pg"):
            self.proxy.tell(link, "drop")  # one that is half-open stays so

    def unmount(self, victim):
        """Right after the last close; nothing of it stays on this machine."""
        self.end_writers()
        self.end(victim)
        shutil.rmtree(self.place.env["XDG_CACHE_HOME"], ignore_errors=True)

    def recovery(self, fault):
        return super().recovery(fault if not isinstance(fault[1], str) else (None, 1, 0))
