# SPDX-License-Identifier: Apache-2.0
"""The processes of the publisher's kill cycles: evfs-publisher, and who appends beside it."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

from harness import LATE, REPORTS, Failed, die_with_parent, event_id

STOPS_WITHIN = 30  # seconds; -o flush= and what a slow machine adds


def environment(place, failpoint=None, **more):
    env = dict(os.environ, **place.env)
    env.update({k: v for k, v in more.items() if v is not None})
    env.pop("EVFS_FAILPOINT", None)
    if failpoint:
        env["EVFS_FAILPOINT"] = failpoint
    return env


class Publisher:
    """evfs-publisher in a process of its own. options: {environment name: value}."""

    count = 0

    def __init__(self, build, place, folder, options, failpoint=None, arguments=()):
        Publisher.count += 1
        self.name = "p%d" % Publisher.count
        self.log = "%s/log-%s" % (folder, self.name)
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = "%s/n%d" % (folder, Publisher.count)
        self.notices.bind(path)
        self.is_ready = threading.Event()
        threading.Thread(target=self.listen, daemon=True).start()
        env = environment(place, failpoint, NOTIFY_SOCKET=path, **options)
        self.command = [os.path.join(build, "evfs-publisher"), place.store] + list(arguments), env
        self.starts = 0
        self.start()

    def start(self):
        command, env = self.command
        self.starts += 1
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            preexec_fn=die_with_parent)

    def was_late(self):
        """It could not begin: a server did not answer within the time-out of a test, on a machine that has too much to do."""
        return self.process.poll() == 1 and self.said().endswith(LATE)

    def started_again(self):
        again = self.starts < 5 and self.was_late()
        if again:
            self.start()
        return again

    def listen(self):
        """As systemd does: who notifies waits where nobody reads."""
        try:
            while told := self.notices.recv(4096):
                if b"READY=1" in told:
                    self.is_ready.set()
        except OSError:
            pass

    def said(self, n=3000):
        with open(self.log, "rb") as f:
            return f.read()[-n:].decode(errors="replace")

    def alive(self):
        return self.process.poll() is None

    def ready(self, seconds=30):
        """True once it said so; False when it has ended."""
        end = time.monotonic() + seconds
        while not self.is_ready.wait(0.01):
            if not self.alive() and not self.started_again():
                return False
            if time.monotonic() > end:
                raise Failed("the publisher is not ready within %d s: %s" % (seconds, self.said()))
        return True

    def signal(self, number):
        if self.alive():
            os.kill(self.process.pid, number)

    def end(self):
        """What is left of it; a sanitizer's report is a failure."""
        self.notices.shutdown(socket.SHUT_RDWR)
        self.notices.close()
        with open(self.log, "rb") as f:
            text = f.read()
        if any(r in text for r in REPORTS):
            raise Failed("a sanitizer's report: " + text[-6000:].decode(errors="replace"))

    def kill(self):
        """kill -9 if it still lives. Returns its exit status."""
        self.signal(signal.SIGKILL)
        status = self.process.wait(20)
        self.end()
        return status

    def stop(self):
        """SIGTERM: it must end well, as soon as it minds the signal."""
        self.ready()
        self.signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired as e:
            said = self.said()
            self.kill()
            raise Failed("the publisher lives %d s after SIGTERM: %s" % (STOPS_WITHIN, said)) from e
        self.end()
        if status:
            raise Failed("the publisher ended with status %d: %s" % (status, self.said()))

    def says(self, text, seconds, meanwhile=None):
        """Wait until its log has the text."""
        end = time.monotonic() + seconds
        while text not in self.said(1 << 20):
            if not self.alive() and not self.started_again():
                raise Failed("the publisher ended by itself, status %s: %s" % (self.process.returncode, self.said()))
            if time.monotonic() > end:
                raise Failed("the publisher did not say \"%s\" within %d s: %s" % (text, seconds, self.said()))
            if meanwhile:
                meanwhile()
            time.sleep(0.02)


class Feed:
    """Who appends: 'evfsctl append --ndjson', fed by a pipe; begun anew where it has ended (by a failpoint, or a server that is gone)."""

    def __init__(self, build, place, folder, name):
        self.build, self.place, self.folder, self.name = build, place, folder, name
        self.process, self.count, self.killed = None, 0, []
        self.failpoint = None

    def start(self, failpoint):
        self.failpoint = failpoint
        with open("%s/log-%s" % (self.folder, self.name), "ab") as out:
            self.process = subprocess.Popen([os.path.join(self.build, "evfsctl"), "append", self.place.store, "--ndjson", "--keep-going"],
                                            env=environment(self.place, failpoint, EVFS_TIMEOUT="2s"), stdin=subprocess.PIPE,
                                            stdout=subprocess.DEVNULL, stderr=out, preexec_fn=die_with_parent)

    def append(self, stream, n=1, failpoint=None, pad=0, **more):
        """Ask for n events. Returns the id of the last one; whether it is stored is another matter."""
        if not self.process or self.process.poll() is not None:
            self.close()
            self.start(failpoint)
        kind, name = stream.split("/", 1)
        lines = []
        for _ in range(n):
            self.count += 1
            token = "%s-%s-%d" % (self.folder, self.name, self.count)
            lines.append(json.dumps(dict({"event_id": event_id(token), "aggregate_type": kind, "aggregate_id": name, "event_type": "Noted",
                                          "data": {"t": self.name, "n": self.count, "pad": "x" * pad}}, **more)))
        try:
            self.process.stdin.write("".join(line + "\n" for line in lines).encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return event_id(token)

    def close(self, seconds=60):
        """All that was asked for is stored, or will be by who sweeps."""
        if not self.process:
            return
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed("evfsctl append does not end within %d s" % seconds)
        if status == -signal.SIGKILL and self.failpoint:
            self.killed.append(self.failpoint.split(":")[0])
        self.process = None

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait(20)
            self.process = None
