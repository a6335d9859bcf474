# SPDX-License-Identifier: Apache-2.0
"""Where a store of the kill cycles lives: how it is named, made, looked into without evfs, and how its ledger is lost."""
import os
import shutil
import signal

from harness import EXIT_TEMPORARY, Failed, evfsctl, evfsctl_in_time

EXIT_CONFLICT = 4


class Place:
    """store: as evfs is told; options: of -o, "" or ",…"; env: what evfs needs in its environment."""

    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        self.options, self.env = "", {}

    def make(self, *options, failpoint=None):
        """evfsctl init. True: its failpoint killed it; it was made all the same, or a mount does the rest."""
        done = evfsctl(self.build, "init", *options, self.store, failpoint=failpoint, env=self.init_env())
        killed = failpoint and done.returncode == -signal.SIGKILL
        if killed or done.returncode == EXIT_TEMPORARY:
            done = evfsctl_in_time(self.build, "init", *options, self.store, env=self.init_env())
            if done.returncode == EXIT_CONFLICT and not options and b"is a store already" in done.stderr:
                return killed
        if done.returncode:
            raise Failed("evfsctl init %s: status %d, %s" % (options, done.returncode, done.stderr.decode(errors="replace")))
        return killed

    def init_env(self):
        return self.env


class Directory(Place):
    def __init__(self, build, folder):
        super().__init__(build, folder)
        self.store = folder + "/store"
        self.ledger = self.store + "/.evfs/ledger.db"

    def objects(self, stream):
        """Names of the stream's objects, sorted."""
        folder = "%s/streams/%s" % (self.store, stream)
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def body(self, stream, name):
        with open("%s/streams/%s/%s" % (self.store, stream, name), "rb") as f:
            return f.read()

    def keep_ledger(self):
        for suffix in ("-wal", ""):
            kept = self.folder + "/ledger.db" + suffix
            if os.path.exists(kept):
                os.unlink(kept)
            if os.path.exists(self.ledger + suffix):
                shutil.copyfile(self.ledger + suffix, kept)

    def lose_ledger(self):
        for suffix in ("-shm", "-wal", ""):
            if os.path.exists(self.ledger + suffix):
                os.unlink(self.ledger + suffix)

    def put_ledger_back(self):
        """False: no copy was kept."""
        if not os.path.exists(self.folder + "/ledger.db"):
            return False
        self.lose_ledger()
        for suffix in ("-wal", ""):
            if os.path.exists(self.folder + "/ledger.db" + suffix):
                shutil.copyfile(self.folder + "/ledger.db" + suffix, self.ledger + suffix)
        return True


class Remote(Place):
    """S3 and PostgreSQL: a prefix of the servers' bucket, and a schema of their database. proxy: evfs goes through it."""

    def __init__(self, build, folder, servers, name, proxy=None):
        super().__init__(build, folder)
        self.servers, self.proxy = servers, proxy
        self.prefix, self.schema = name, "s_" + name.replace("-", "_")
        self.store = "s3://evfs-test/" + self.prefix
        self.options = ",parallel=16"
        self.env = dict(servers.environment(proxy), EVFS_SCHEMA=self.schema)

    def init_env(self):
        """It waits twice the time-out of whoever stored something: of the most patient mount (remote.py)."""
        return dict(self.servers.environment(None, "init"), EVFS_SCHEMA=self.schema, EVFS_TIMEOUT="4s")

    def key(self, stream):
        return "%s/streams/%s/" % (self.prefix, stream)

    def objects(self, stream):
        prefix = self.key(stream)
        return [k[len(prefix):] for k in self.servers.bucket().list(prefix) if "/" not in k[len(prefix):]]

    def body(self, stream, name):
        return self.servers.bucket().get(self.key(stream) + name)

    def keep_ledger(self):
        with open(self.folder + "/dump", "wb") as f:
            f.write(self.servers.pg("pg_dump", "-Fc", "-n", self.schema))

    def lose_ledger(self):
        self.servers.sql("DROP SCHEMA IF EXISTS %s CASCADE" % self.schema)

    def put_ledger_back(self):
        if not os.path.exists(self.folder + "/dump"):
            return False
        with open(self.folder + "/dump", "rb") as f:
            dump = f.read()
        self.lose_ledger()
        self.servers.pg("pg_restore", "-d", "evfs", "--single-transaction", stdin=dump)
        return True
