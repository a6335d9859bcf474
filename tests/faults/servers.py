# SPDX-License-Identifier: Apache-2.0
"""A test's own MinIO, PostgreSQL and Kafka (tests/services/one), with the fault proxy before them; and what MinIO holds, read without evfs."""
import datetime
import glob
import hashlib
import hmac
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from xml.etree import ElementTree

from harness import Failed, die_with_parent
from proxy import Proxy

SERVICES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../services")
# Where the programs are: a test sets XDG_CACHE_HOME to a folder of its own, later.
CACHE = os.environ.get("EVFS_SERVICES_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "evfs-services")
SKIP = 77


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def quote(text):
    return urllib.parse.quote(text, safe="-._~/")


class S3:
    """One bucket, by one kept connection; as much as a checker needs."""

    def __init__(self, host, port, key, secret, bucket):
        self.address, self.key, self.secret, self.bucket = (host, port), key, secret, bucket
        self.connection = None

    def signed(self, method, path, query, body):
        """Signature V4."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        headers = {"host": "%s:%d" % self.address, "x-amz-content-sha256": sha256(body), "x-amz-date": now}
        names = ";".join(sorted(headers))
        request = "\n".join([method, path, query] + ["%s:%s" % (n, headers[n]) for n in sorted(headers)] + ["", names, sha256(body)])
        scope = now[:8] + "/us-east-1/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, sha256(request.encode())])
        key = ("AWS4" + self.secret).encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        headers["authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
            self.key, scope, names, hmac.new(key, text.encode(), hashlib.sha256).hexdigest())
        return headers

    def ask(self, method, key="", query=None, body=b""):
        """Status and body."""
        path = quote("/" + self.bucket + ("/" + key if key else ""))
        text = "&".join("%s=%s" % (urllib.parse.quote(k, safe="-._~"), urllib.parse.quote(v, safe="-._~"))
                        for k, v in sorted((query or {}).items()))
        for again in (True, False):
            if not self.connection:
                self.connection = http.client.HTTPConnection(*self.address, timeout=30)
            try:
                self.connection.request(method, path + ("?" + text if text else ""), body, self.signed(method, path, text, body))
                answer = self.connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                self.connection.close()
                self.connection = None
                if not again:
                    raise
        return None

    def get(self, key):
        """None: there is none."""
        status, body = self.ask("GET", key)
        if status not in (200, 404):
            raise Failed("GET %s: %d %s" % (key, status, body[:300]))
        return body if status == 200 else None

    def list(self, prefix):
        """All keys below it, in order."""
        keys, query = [], {"list-type": "2", "prefix": prefix}
        while True:
            status, body = self.ask("GET", query=query)
            if status != 200:
                raise Failed("list %s: %d %s" % (prefix, status, body[:300]))
            root = ElementTree.fromstring(body)
            space = root.tag[:root.tag.index("}") + 1]
            keys += [c.findtext(space + "Key") for c in root.iter(space + "Contents")]
            query["continuation-token"] = root.findtext(space + "NextContinuationToken")
            if not query["continuation-token"]:
                return keys


class Server:
    """One server in a folder of its own."""

    def __init__(self, kind, home):
        self.kind, self.home, self.env = kind, home, {}
        self.process = None

    def begin(self):
        """Start it; ready() waits."""
        os.makedirs(self.home, exist_ok=True)
        env = dict(os.environ, EVFS_SERVICES_CACHE=CACHE)
        self.process = subprocess.Popen([SERVICES + "/one", self.kind, self.home], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, preexec_fn=die_with_parent)

    def ready(self):
        out, err = self.process.communicate()
        if self.process.returncode == SKIP:
            print("skip - %s" % err.decode().strip())
            sys.exit(SKIP)
        if self.process.returncode:
            raise Failed("%s does not start: %s" % (self.kind, err.decode(errors="replace")))
        self.env = dict(re.findall(r"^export (\w+)='(.*)'$", out.decode(), re.M))

    def start(self):
        self.begin()
        self.ready()

    def kill(self):
        """SIGKILL, or PostgreSQL's immediate mode."""
        self.stop("--kill")

    def stop(self, how="--remove"):
        if os.path.isdir(self.home):
            subprocess.run([SERVICES + "/stop", how, self.home], stdin=subprocess.DEVNULL, check=False)

    def pid(self):
        with open(self.home + "/pid") as f:
            return int(f.read())

    def signal(self, number):
        os.kill(self.pid(), number)

    def stall(self, stalled):
        """It is there and answers nothing."""
        self.signal(signal.SIGSTOP if stalled else signal.SIGCONT)


def stop_below(folder):
    """Servers that belong to a process which was killed."""
    for home in glob.glob(folder + "/*/servers/*"):
        if os.path.exists(home + "/pid"):
            Server("", home).stop()


class Servers:
    """with Servers(build, folder, seed) as s: both run, and proxies to them; with kafka=True a broker, too, s.kafka at s.kafka_address."""

    def __init__(self, build, folder, seed=1, name="servers", kafka=False):
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder, exist_ok=True)
        os.chmod(folder, 0o711)  # PostgreSQL's own user has to pass
        os.chmod(self.folder, 0o711)
        self.build, self.seed = build, seed
        self.owner = os.getpid()
        self.minio = Server("minio", self.folder + "/minio")
        self.postgres = Server("postgres", self.folder + "/postgres")
        self.kafka = Server("kafka", self.folder + "/kafka") if kafka else None
        self.all = [s for s in (self.kafka, self.minio, self.postgres) if s]
        self.clients = {}

    def __enter__(self):
        try:
            for server in self.all:
                server.begin()
            for server in self.all:
                server.ready()
        except BaseException:
            self.__exit__()
            raise
        self.s3_address = self.address(self.minio.env["EVFS_S3_ENDPOINT"])
        self.pg_address = self.address(self.postgres.env["EVFS_PG_URL"])
        if self.kafka:
            self.kafka_address = self.kafka.env["EVFS_KAFKA"]
        return self

    def __exit__(self, *exception):
        if os.getpid() == self.owner:
            for server in self.all:
                server.stop("--remove")

    @staticmethod
    def address(url):
        parts = urllib.parse.urlsplit(url)
        return parts.hostname, parts.port

    def proxy(self, folder):
        """A proxy to both: its links are s3 and pg."""
        return Proxy(self.build, folder, {"s3": self.s3_address, "pg": self.pg_address}, self.seed)

    def environment(self, proxy=None, who="test"):
        """For evfs. who: "test" may use a store, "init" may make one."""
        s3, pg = self.minio.env, self.postgres.env
        init = "INIT_" if who == "init" else ""
        endpoint = "http://%s:%d" % (("127.0.0.1", proxy.ports["s3"]) if proxy else self.s3_address)
        url = pg["EVFS_PG_URL"] if who == "init" else pg["EVFS_PG_APPENDER_URL"]
        if proxy:
            url = url.replace(":%d/" % self.pg_address[1], ":%d/" % proxy.ports["pg"])
        return {"MINIO_ENDPOINT_URL": endpoint, "MINIO_ACCESS_KEY": s3["EVFS_S3_%sACCESS_KEY" % init],
                "MINIO_SECRET_KEY": s3["EVFS_S3_%sSECRET_KEY" % init], "POSTGRES_URL": url + "?sslmode=disable"}

    def bucket(self, name="evfs-test"):
        """What the bucket holds, asked of MinIO itself; a connection for each process."""
        s3 = self.minio.env
        key = (os.getpid(), name)
        if key not in self.clients:
            self.clients[key] = S3(*self.s3_address, s3["EVFS_S3_ROOT_ACCESS_KEY"], s3["EVFS_S3_ROOT_SECRET_KEY"], name)
        return self.clients[key]

    # ---- PostgreSQL's own programs

    def pg(self, program, *arguments, stdin=None, check=True):
        parts = urllib.parse.urlsplit(self.postgres.env["EVFS_PG_URL"])
        env = dict(os.environ, PGHOST=parts.hostname, PGPORT=str(parts.port), PGUSER=parts.username, PGPASSWORD=parts.password,
                   PGDATABASE=parts.path[1:], PGSSLMODE="disable")
        done = subprocess.run([os.path.join(self.postgres.env["EVFS_PG_BIN"], program)] + list(arguments), env=env, input=stdin,
                              capture_output=True, check=False, preexec_fn=die_with_parent)
        if check and done.returncode:
            raise Failed("%s %s: %s" % (program, arguments, done.stderr.decode(errors="replace")))
        return done.stdout

    def sql(self, text):
        return self.pg("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text).decode().strip()

    def backends(self):
        """The processes that serve evfs; none where the server does not answer."""
        said = self.pg("psql", "-X", "-A", "-t", "-c", "SELECT pid FROM pg_stat_activity WHERE usename = 'test_appender'", check=False)
        return [int(pid) for pid in said.split() if int(pid) > 1]

    def is_listening(self, seconds=30):
        end = time.monotonic() + seconds
        while self.pg("psql", "-X", "-c", "SELECT 1", check=False) == b"":
            if time.monotonic() > end:
                raise Failed("PostgreSQL does not come back")
            time.sleep(0.02)

    # ---- a base backup, put in the place of the cluster

    def base_backup(self, to):
        shutil.rmtree(to, ignore_errors=True)
        self.pg("pg_basebackup", "-D", to, "--checkpoint=fast", "--no-sync", "-X", "stream")

    def put_back(self, backup):
        """The cluster is stopped, what it was is gone, and the backup runs in its place, on its port."""
        data = self.postgres.env["EVFS_PG_DATA"]
        owner = os.stat(data)
        self.postgres.kill()
        shutil.rmtree(data)
        shutil.copytree(backup, data)
        for folder, _, names in os.walk(data):
            for path in [folder] + [os.path.join(folder, n) for n in names]:
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        os.chmod(data, 0o700)
        self.postgres.start()

    # ---- a server that does not answer

    def stall_s3(self, stalled):
        self.minio.stall(stalled)
