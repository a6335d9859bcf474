# SPDX-License-Identifier: Apache-2.0
"""A test's own Kafka (tests/services/one kafka), and what its topics hold, read by kcat."""
import json
import re
import subprocess
import time

from harness import Failed, die_with_parent
from servers import Server

PLACE = re.compile(rb'\{"topic":"[^"]*","partition":(\d+),"offset":(\d+),')  # how kcat -J begins
READ_WITHIN = 60  # seconds; a broker that was killed, and is up again, may take its time


class Broker:
    """with Broker(folder) as b: b.address."""

    def __init__(self, home):
        self.server = Server("kafka", home)
        self.kills = 0

    def __enter__(self):
        try:
            self.server.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        self.server.stop("--remove")

    @property
    def address(self):
        return self.server.env["EVFS_KAFKA"]

    def kill(self):
        self.kills += 1
        self.server.kill()

    def start(self):
        self.server.start()


def kcat(address, *arguments, check=True, seconds=READ_WITHIN):
    try:
        done = subprocess.run(["kcat", "-b", address] + list(arguments), capture_output=True, check=False, timeout=seconds,
                              stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
    except subprocess.TimeoutExpired as e:
        raise Failed("kcat %s does not end within %d s" % (" ".join(arguments), seconds)) from e
    if check and done.returncode:
        raise Failed("kcat %s: %s" % (" ".join(arguments), done.stderr.decode(errors="replace")[-1000:]))
    return done


class Topic:
    """All that was ever seen in a topic, also of generations that were deleted."""

    def __init__(self, name):
        self.name, self.generation = name, 0
        self.lengths = {}  # of the partitions, in this generation: the next offset

    def read(self, address):
        """What came since the last time."""
        end = time.monotonic() + READ_WITHIN
        while True:
            done = kcat(address, "-C", "-t", self.name, "-o", "beginning", "-e", "-q", "-J", "-X", "fetch.wait.max.ms=20",
                        "-X", "topic.metadata.refresh.interval.ms=200", check=False)
            if done.returncode == 0:
                break
            said = done.stderr.decode(errors="replace")
            if "nknown topic" in said:  # nothing was sent to it yet
                return []
            if time.monotonic() > end:
                raise Failed("kcat can't read %s: %s" % (self.name, said[-1000:]))
            time.sleep(0.1)
        fresh = []
        for line in done.stdout.splitlines():
            partition, offset = map(int, PLACE.match(line).groups())
            if offset < self.lengths.get(partition, 0):
                continue  # most are: they are not parsed
            m = json.loads(line)
            self.lengths[partition] = offset + 1
            headers = m.get("headers") or []
            fresh.append({"topic": m["topic"], "partition": m["partition"], "offset": m["offset"], "generation": self.generation,
                          "ts": m.get("ts", 0), "key": None if m.get("key") is None else m["key"].encode(),
                          "value": (m.get("payload") or "").encode(), "headers": dict(zip(headers[::2], headers[1::2]))})
        return fresh

    def deleted(self):
        """The next one of this name begins at 0."""
        self.generation += 1
        self.lengths = {}
