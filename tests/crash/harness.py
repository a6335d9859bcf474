# SPDX-License-Identifier: Apache-2.0
"""What the kill cycles and the tests of many writers share: mounts, forked writers, results, and that nothing is left behind.

Every process that a test starts dies with the process that started it (PR_SET_PDEATHSIG), and every mount lies in the test's own
folder, so cleaning up is: kill the children, unmount what /proc/self/mountinfo shows below the folder, remove the folder.
"""
import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid

GONE = (errno.ENOTCONN, errno.ECONNABORTED)  # what a process sees of a mount whose server died
REPORTS = (b"ERROR: AddressSanitizer", b"ERROR: LeakSanitizer", b"ERROR: ThreadSanitizer", b"runtime error:")
NAMESPACE = uuid.UUID("8a4b8ab1-6f0b-4a55-9d2e-3a1c5b1f7e90")
LATE = "answer in time\n"  # how the last words of a program end that a server did not answer within the time-out of a test
EXIT_TEMPORARY = 5
PR_SET_PDEATHSIG = 1
MNT_FORCE = 1
libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """The program under test did what it must not; the text is the report."""


class Results:
    """One line a result, counted by contrib/check."""

    def __init__(self):
        self.passed = self.failed = 0

    def ok(self, name):
        self.passed += 1
        print("ok - " + name, flush=True)

    def not_ok(self, name, details=()):
        self.failed += 1
        print("\n    ".join(["not ok - " + name] + [str(d) for d in details]), flush=True)

    def check(self, name, details):
        """details: what is wrong, nothing if all is well."""
        if details:
            more = ["… and %d more" % (len(details) - 12)] if len(details) > 12 else []
            self.not_ok(name, details[:12] + more)
        else:
            self.ok(name)

    def status(self):
        return 1 if self.failed or not self.passed else 0


def need_fuse(build):
    if not os.path.exists("/dev/fuse") or not shutil.which("fusermount3"):
        print("skip - nothing can be mounted: no /dev/fuse, or no fusermount3")
        sys.exit(77)
    for program in ("evfs", "evfsctl"):
        if not os.access(os.path.join(build, program), os.X_OK):
            print("not ok - no program %s/%s" % (build, program))
            sys.exit(1)


def event_id(token):
    return str(uuid.uuid5(NAMESPACE, token))


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def fork(function, *args, errors=None):
    """
    Run function in a child of its own; its status is 0 unless an exception leaves it. errors: the file that its stderr is appended to.
    Returns the process id.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        die_with_parent()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if errors:
            os.dup2(os.open(errors, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), 2)
        function(*args)
        status = 0
    except BaseException:  # reported here: the parent sees only the status
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def wait_all(pids, seconds):
    """Wait for children; returns {pid: status} of those that ended in time."""
    end, done = time.monotonic() + seconds, {}
    while len(done) < len(pids):
        for pid in pids:
            if pid not in done:
                got, status = os.waitpid(pid, os.WNOHANG)
                if got:
                    done[pid] = status
        if len(done) < len(pids):
            if time.monotonic() > end:
                break
            time.sleep(0.002)
    return done


def kill_all(pids):
    pids = list(pids)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    try:
        wait_all(pids, 5)  # one that hangs in the kernel stays
    except ChildProcessError:
        pass


def append_line(fd, record):
    os.write(fd, json.dumps(record, separators=(",", ":")).encode() + b"\n")


def read_lines(path):
    with open(path) as f:
        return [json.loads(line) for line in f]


def mounts_below(folder):
    folder = os.path.realpath(folder)
    with open("/proc/self/mountinfo") as f:
        points = [line.split()[4] for line in f]
    return [p for p in points if p == folder or p.startswith(folder + "/")]


def fast_folder():
    """
    Where a test's folder lies: in memory where there is room, for a process that is killed loses nothing that a disk would keep, and thousands
    of files come and go. TMPDIR decides where it is set.
    """
    try:
        room = os.statvfs("/dev/shm")
    except OSError:
        return None
    return "/dev/shm" if "TMPDIR" not in os.environ and room.f_bavail * room.f_frsize >= 6 << 30 and os.access("/dev/shm", os.W_OK) else None


class Standstill:
    """
    with Standstill(folder) as s: …; s.seconds: how long this machine, or the disk below folder, did nothing meanwhile, which no program
    under test can help. What a busy machine takes for every step is not counted: pauses of a second and more are.
    """

    PAUSE = 1.0
    STEP = 0.05

    def __init__(self, folder):
        self.path = os.path.join(folder, "standstill")
        self.seconds = 0.0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
        before = time.monotonic()
        while not self.done.wait(self.STEP):
            os.pwrite(fd, b"x", 0)
            os.fsync(fd)
            now = time.monotonic()
            self.seconds += now - before if now - before > self.PAUSE else 0
            before = now
        os.close(fd)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.done.set()
        self.thread.join()


class Folder:
    """The test's own folder. with Folder(…) as f: f.path; all mounts below it and the folder are gone afterwards."""

    def __init__(self, keep=False):
        self.keep = keep
        self.owner = os.getpid()
        self.path = tempfile.mkdtemp(prefix="evfs-test.", dir=fast_folder())

    def __enter__(self):
        os.environ["XDG_CACHE_HOME"] = os.path.join(self.path, "cache")  # the catalogs; never the user's own
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda n, frame: sys.exit(128 + n))
        return self

    def __exit__(self, *exception):
        if os.getpid() != self.owner:
            return
        for point in mounts_below(self.path):
            subprocess.run(["fusermount3", "-uz", point], stderr=subprocess.DEVNULL, check=False)
        if self.keep:
            print("# kept: " + self.path)
        else:
            shutil.rmtree(self.path, ignore_errors=True)


class Mount:
    """A mount in the foreground, in a process of its own."""

    def __init__(self, build, store, point, options, log, failpoint=None, env=None):
        os.makedirs(point, exist_ok=True)
        self.store, self.point, self.log = store, point, log
        self.outside = os.stat(point).st_dev
        self.env = env
        env = dict(os.environ, **(env or {}))
        env.pop("EVFS_FAILPOINT", None)
        if failpoint:
            env["EVFS_FAILPOINT"] = failpoint
        self.command = [os.path.join(build, "evfs"), store, point, "-f", "-o", options], env
        self.starts = 0
        self.start()

    def start(self):
        command, env = self.command
        self.starts += 1
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            preexec_fn=die_with_parent)

    def ready(self, seconds=30):
        """
        True when the mount answers; False when its process was killed meanwhile (by its failpoint). Where a server, or the ledger, did not
        answer within the time-out of a test, on a machine that has too much to do, it is started, or asked, again.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                if os.stat(self.point).st_dev != self.outside and os.path.exists(self.point + "/.evfs/health.json"):
                    return True
            except OSError as e:
                if e.errno not in GONE + (errno.EIO,):
                    raise
            status = self.process.poll()
            if status is not None:
                if status == -signal.SIGKILL:
                    return False
                if self.starts < 10 and self.said().endswith(LATE):
                    self.start()
                    continue
                raise Failed("the mount did not come up, status %d: %s" % (status, self.said()))
            if time.monotonic() > end:
                raise Failed("the mount did not come up within %d s: %s" % (seconds, self.said()))
            time.sleep(0.003)

    def said(self):
        with open(self.log, "rb") as f:
            return f.read()[-2000:].decode(errors="replace")

    def alive(self):
        return self.process.poll() is None

    def reported(self):
        """Raises Failed where a sanitizer found something."""
        with open(self.log, "rb") as f:
            text = f.read()
        if any(r in text for r in REPORTS):
            raise Failed("a sanitizer's report: " + text[-6000:].decode(errors="replace"))

    def kill(self):
        """kill -9 if it still lives. Returns its exit status."""
        if self.alive():
            self.process.kill()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.abort()
            raise Failed("kill -9 does not end the mount: a thread of its process waits for the mount itself?")

    def clear(self):
        """Unmount what a dead server left, as its user would have to."""
        subprocess.run(["fusermount3", "-uz", self.point], stderr=subprocess.DEVNULL, check=False)
        if self.point in mounts_below(self.point):
            raise Failed("what the dead mount left can't be unmounted: " + self.point)
        self.reported()

    def abort(self):
        """Cut the connection: for a mount that hangs. Needs root; without it nothing more can be done."""
        libc.umount2(self.point.encode(), MNT_FORCE)

    def health(self):
        with open(self.point + "/.evfs/health.json") as f:
            return json.load(f)

    def settle(self, seconds=20):
        """Wait until health.json says that nothing is pending, and nothing waits for a re-seed. False when it was killed meanwhile."""
        end, health = time.monotonic() + seconds, None
        while True:
            try:
                health = self.health()
                if is_settled(health):
                    return True
            except OSError as e:
                if not self.alive() or e.errno in GONE:
                    if self.process.wait() == -signal.SIGKILL:
                        return False
                    raise Failed("the mount ended by itself: " + self.said())
                if e.errno != errno.EIO:
                    raise
            if time.monotonic() > end:
                raise Failed("still not settled after %d s: %s\n%s" % (seconds, json.dumps(health), self.said()))
            time.sleep(0.01)

    def stop(self):
        """Unmount; it must end well. False when it was killed meanwhile."""
        end = time.monotonic() + 20
        while True:
            done = subprocess.run(["fusermount3", "-u", self.point], capture_output=True, check=False)
            if done.returncode == 0 or not self.alive():
                break
            if time.monotonic() > end:
                raise Failed("can't be unmounted: " + done.stderr.decode(errors="replace"))
            time.sleep(0.02)
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            raise Failed("the process still lives 30 s after it was unmounted: " + self.said())
        self.reported()
        if status == -signal.SIGKILL:
            return False
        if status:
            raise Failed("the mount ended with status %d: %s" % (status, self.said()))
        return True


def last_error(point):
    """What .evfs/errors of the mount says last of this process; None: nothing, or the mount is gone."""
    try:
        with open(point + "/.evfs/errors") as f:
            mine = [e for e in map(json.loads, f.read().splitlines()) if e["pid"] == os.getpid()]
            return mine[-1] if mine else None
    except OSError:
        return None


def is_settled(health):
    """Nothing pending, nothing to be re-seeded, wherever these stand in the document; it must say so."""
    found = {}

    def walk(value):
        if isinstance(value, dict):
            for k, v in value.items():
                if k in ("pending", "unseeded", "seeding") and isinstance(v, (bool, int)):
                    found[k] = found.get(k, 0) + int(v)
                walk(v)
        elif isinstance(value, list):
            for v in value:
                walk(v)

    walk(health)
    if "pending" not in found:
        raise Failed("health.json does not say what is pending: " + json.dumps(health))
    return not any(found.values())


def evfsctl(build, *args, stdin=b"", failpoint=None, timeout=120, env=None):
    """Run evfsctl; returns the finished process."""
    environment = dict(os.environ, **(env or {}))
    environment.pop("EVFS_FAILPOINT", None)
    if failpoint:
        environment["EVFS_FAILPOINT"] = failpoint
    done = subprocess.run([os.path.join(build, "evfsctl")] + list(args), input=stdin, capture_output=True, env=environment,
                          timeout=timeout, check=False, preexec_fn=die_with_parent)
    if any(r in done.stderr for r in REPORTS):
        raise Failed("a sanitizer's report of evfsctl %s: %s" % (args[0], done.stderr.decode(errors="replace")))
    return done


def evfsctl_in_time(build, *args, stdin=b"", env=None):
    """The same where nothing is broken: what a server did not answer in time, on a machine that has too much to do, is asked again."""
    for _ in range(5):
        done = evfsctl(build, *args, stdin=stdin, env=env)
        if done.returncode != EXIT_TEMPORARY:
            break
    return done


def verify(build, store, env=None):
    done = evfsctl_in_time(build, "verify", store, env=env)
    if done.returncode:
        raise Failed("evfsctl verify: status %d\n%s%s" % (done.returncode, done.stdout.decode(errors="replace"),
                                                         done.stderr.decode(errors="replace")))
