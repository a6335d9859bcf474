#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An S3 server that misbehaves as it is told: a bucket FAULT, or FAULT.ANYTHING, is one in which this goes wrong.

As a program it writes its port to standard output and serves until standard input ends. Each bucket begins with the same few objects; "clean-NAME"
is the bucket NAME without its fault. In a test of Python, Script.faults says what goes wrong from now on, whatever the bucket.
"""
import datetime
import hashlib
import re
import socket
import sys
import threading
import time
import urllib.parse

OBJECTS = {"a": b'{"n":1}', "dir/b": b"x" * 1000, "dir/c": b"3", "z": b""}
SECONDS_MAX = 30  # no answer goes on for longer


class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.headers, self.body = method, headers, body
        path, _, query = target.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        _, self.bucket, *key = urllib.parse.unquote(path).split("/", 2)
        self.key = key[0] if key else ""

    @property
    def lists(self):
        return self.method == "GET" and not self.key and "list-type" in self.query

    @property
    def region(self):
        found = re.search(r"Credential=[^/]*/[0-9]*/([^/]*)/", self.headers.get("authorization", ""))
        return found and found.group(1)


def xml(text):
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + text.encode()


def error_body(code, more=""):
    return xml("<Error><Code>%s</Code><Message>as the script says</Message>%s<RequestId>R%s</RequestId></Error>" % (code, more, code))


def etag(body):
    return '"%s"' % hashlib.md5(body).hexdigest()


class Answer:
    """What goes out: a head and a body, or raw bytes; close: the connection ends after it."""

    def __init__(self, status, body=b"", headers=None, close=False):
        self.status, self.body, self.headers, self.close = status, body, dict(headers or {}), close

    def bytes(self, method):
        names = {h.lower() for h in self.headers}
        if "content-length" not in names and "transfer-encoding" not in names:
            self.headers["Content-Length"] = str(len(self.body))
        if "date" not in names:
            self.headers["Date"] = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
        self.headers.setdefault("x-amz-request-id", "RSCRIPT")
        head = "HTTP/1.1 %d Scripted\r\n%s\r\n" % (self.status, "".join("%s: %s\r\n" % h for h in self.headers.items()))
        return head.encode() + (b"" if method == "HEAD" else self.body)


class Bucket:
    def __init__(self, objects):
        self.objects = dict(objects)
        self.seen = {}  # requests by method
        self.lock = threading.Lock()

    def answer(self, r):
        """As a server should."""
        with self.lock:
            if r.lists:
                return Answer(200, page(r, [k for k in sorted(self.objects) if k.startswith(r.query.get("prefix", ""))], self.objects))
            if not r.key:
                return Answer(200, xml("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"))
            there = self.objects.get(r.key)
            if r.method == "PUT":
                if r.headers.get("if-none-match") == "*" and there is not None:
                    return Answer(412, error_body("PreconditionFailed"))
                if "if-match" in r.headers and (there is None or r.headers["if-match"] != etag(there)):
                    return Answer(412, error_body("PreconditionFailed"))
                self.objects[r.key] = r.body
                return Answer(200, headers={"ETag": etag(r.body)})
            if there is None:
                return Answer(404, error_body("NoSuchKey"))
            return Answer(200, there, {"ETag": etag(there), "Last-Modified": "Fri, 21 Nov 2025 10:00:00 GMT"})


def entry(key, size=1):
    return ("<Contents><Key>%s</Key><LastModified>2025-11-21T10:00:00.000Z</LastModified><ETag>&quot;x&quot;</ETag><Size>%d</Size>"
            "</Contents>" % (urllib.parse.quote(key, safe="/"), size))


def page(r, keys, objects=None, more="<IsTruncated>false</IsTruncated>", prefixes=()):
    after = r.query.get("start-after", "") if "continuation-token" not in r.query else ""
    if "delimiter" in r.query and not prefixes:
        start = len(r.query.get("prefix", ""))
        prefixes = sorted({k[:k.index("/", start) + 1] for k in keys if "/" in k[start:]})
        keys = [k for k in keys if "/" not in k[start:]]
    return xml("<ListBucketResult><Name>b</Name><Prefix>%s</Prefix><EncodingType>url</EncodingType>%s%s%s</ListBucketResult>" % (
        urllib.parse.quote(r.query.get("prefix", ""), safe="/"), more,
        "".join(entry(k, len(objects[k]) if objects else 1) for k in keys if k > after),
        "".join("<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>" % p for p in prefixes if p > after)))


def truncated(token):
    return "<IsTruncated>true</IsTruncated><NextContinuationToken>%s</NextContinuationToken>" % token


# --- what goes wrong: each is called with the request, the bucket, how many of its kind came before, and the connection ---
# None: as it should be. An Answer, bytes to send before the connection ends, or an iterator of bytes that are sent as they come.


def refuses(status, code, body=None, headers=None, times=None, only=None, close=False):
    """With this status and code: the first `times` requests (None: all) of the method `only` (None: any)."""
    def fault(r, _, nth, __):
        if (times is not None and nth >= times) or (only and r.method not in only):
            return None
        return Answer(status, error_body(code) if body is None else body, headers, close)
    return fault


def first(n, fault):
    return lambda r, bucket, nth, s: fault(r, bucket, nth, s) if nth < n else None


def on(method, fault):
    return lambda r, bucket, nth, s: fault(r, bucket, nth, s) if r.method == method else None


def cut(r, bucket, _, __):
    """Half of the body that was announced."""
    whole = bucket.answer(r).bytes(r.method)
    head = whole.index(b"\r\n\r\n") + 4
    return whole[:head + (len(whole) - head) // 2]


def cut_chunks(r, bucket, _, __):
    body = bucket.answer(r).body
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body)


def until_close(r, bucket, _, __):
    """A body that ends where the connection does: nobody can tell whether it is whole."""
    return b"HTTP/1.1 200 OK\r\n\r\n" + bucket.answer(r).body[:3]


def longer(r, bucket, _, __):
    """More than was announced: what looks like an answer to the next request."""
    a = bucket.answer(r)
    forged = Answer(200, b"FORGED").bytes("GET")
    a.headers["Content-Length"] = str(len(a.body))
    a.body += forged
    return a


def shorter_and_waits(r, bucket, _, __):
    """Less than was announced, and the connection stays."""
    yield Answer(200, b"part", {"Content-Length": "1000"}).bytes("GET")
    time.sleep(SECONDS_MAX)


def endless(r, _, __, ___):
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"10000\r\n" + b" " * 65536 + b"\r\n"


def endless_list(r, _, __, ___):
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    start = b"<ListBucketResult><IsTruncated>false</IsTruncated>"
    yield b"%x\r\n%s\r\n" % (len(start), start)
    n = 0
    while True:
        part = "".join(entry("k%012d" % (n + i)) for i in range(500)).encode()
        n += 500
        yield b"%x\r\n%s\r\n" % (len(part), part)


def drip(r, bucket, _, __):
    for c in bucket.answer(r).bytes(r.method) + b" " * 100000:
        yield bytes([c])
        time.sleep(0.02)


def drip_body(r, _, __, ___):
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    while True:
        yield b"x"
        time.sleep(0.02)


def silent(_, __, ___, ____):
    time.sleep(SECONDS_MAX)
    return b""


def hangs_up(_, __, ___, ____):
    return b""


def stored_and_hangs_up(r, bucket, _, __):
    bucket.answer(r)
    return b""


def stored_and_silent(r, bucket, _, __):
    bucket.answer(r)
    time.sleep(SECONDS_MAX)
    return b""


def endless_head(_, __, ___, ____):
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"x-more: " + b"x" * 1000 + b"\r\n"


def interim(_, __, ___, ____):
    while True:
        yield b"HTTP/1.1 100 Continue\r\n\r\n"
        time.sleep(0.01)


def wants_region(r, _, __, ___):
    if r.region == "eu-test-7":
        return None
    return Answer(301, error_body("PermanentRedirect", "<Region>eu-test-7</Region>"), {"x-amz-bucket-region": "eu-test-7"})


def wants_region_by_400(r, _, __, ___):
    if r.region == "eu-test-7":
        return None
    return Answer(400, error_body("AuthorizationHeaderMalformed", "<Region>eu-test-7</Region>"))


def never_the_region(r, _, __, ___):
    other = "eu-test-8" if r.region == "eu-test-7" else "eu-test-7"
    return Answer(301, error_body("PermanentRedirect", "<Region>%s</Region>" % other))


def elsewhere(status):
    def fault(r, _, __, ___):
        where = "/clean-trap/%s" % r.key
        return Answer(status, error_body("TemporaryRedirect" if status == 307 else "PermanentRedirect"), {"Location": where})
    return fault


def a_day_ahead(r, _, __, ___):
    then = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    sent = datetime.datetime.strptime(r.headers.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    if abs((sent - then).total_seconds()) < 900:
        return None
    return Answer(403, error_body("RequestTimeTooSkewed"), {"Date": then.strftime("%a, %d %b %Y %H:%M:%S GMT")})


def before_the_body(_, __, ___, ____):
    """See Script.serve: answered as soon as the head is there."""
    return Answer(403, error_body("AccessDenied"), close=True)


def ignores_conditions(r, bucket, _, __):
    for name in ("if-none-match", "if-match"):
        r.headers.pop(name, None)
    return bucket.answer(r)


def passes_over(r, nth):
    """As MinIO where a listing starts after a key that is deeper than its prefix: what is passed over counts, and the end comes too soon."""
    if "/" in r.query.get("start-after", "")[len(r.query.get("prefix", "")):]:
        return page(r, [])
    return page(r, sorted(OBJECTS))


def lists(make):
    """make(request, nth): the document."""
    return lambda r, _, nth, __: Answer(200, make(r, nth)) if r.lists else None


FAULTS = {
    "500": refuses(500, "InternalError"),
    "500-once": refuses(500, "InternalError", times=1),
    "500-empty": refuses(500, "", body=b""),
    "502-html": refuses(502, "", body=b"<html><body>Bad gateway</body></html>"),
    "503-slowdown": refuses(503, "SlowDown"),
    "503-slowdown-twice": refuses(503, "SlowDown", times=2),
    "503-retry-after-hour": refuses(503, "SlowDown", headers={"Retry-After": "3600"}),
    "503-html": refuses(503, "", body=b"<html>busy</html>"),
    "429": refuses(429, "TooManyRequests"),
    "403-expired": refuses(403, "ExpiredToken"),
    "400-expired": refuses(400, "ExpiredToken"),
    "403-denied": refuses(403, "AccessDenied"),
    "403-signature": refuses(403, "SignatureDoesNotMatch"),
    "403-skew": refuses(403, "RequestTimeTooSkewed"),
    "400-empty": refuses(400, "", body=b""),
    "404-html": refuses(404, "", body=b"<html><body>Not found</body></html>"),
    "404-bucket": refuses(404, "NoSuchBucket"),
    "409-conflict": refuses(409, "ConditionalRequestConflict"),
    "409-conflict-once": refuses(409, "ConditionalRequestConflict", times=1),
    "412": refuses(412, "PreconditionFailed"),
    "413": refuses(413, "EntityTooLarge"),
    "501": refuses(501, "NotImplemented"),
    "507": refuses(507, "XMinioStorageFull"),
    "200-error": refuses(200, "InternalError"),
    "200-slowdown": refuses(200, "SlowDown"),
    "200-html": refuses(200, "", body=b"<html>Log in first</html>"),
    "301-nowhere": refuses(301, "PermanentRedirect"),
    "301-region": wants_region,
    "301-region-forever": never_the_region,
    "301-location": elsewhere(301),
    "307-location": elsewhere(307),
    "400-region": wants_region_by_400,
    "clock-ahead": a_day_ahead,
    "cut": cut,
    "cut-once": first(1, cut),
    "cut-chunks": cut_chunks,
    "until-close": until_close,
    "longer": longer,
    "shorter": shorter_and_waits,
    "endless": endless,
    "endless-head": endless_head,
    "interim": interim,
    "drip": drip,
    "drip-body": drip_body,
    "silent": silent,
    "hangs-up": hangs_up,
    "hangs-up-once": first(1, hangs_up),
    "garbage": lambda *_: b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n",
    "lost-reply": on("PUT", stored_and_hangs_up),
    "stored-silent": on("PUT", stored_and_silent),
    "before-body": on("PUT", before_the_body),
    "ignores-conditions": ignores_conditions,
    "list-repeats": lists(lambda r, nth: page(r, ["a", "b"], more=truncated("t%d" % nth))),
    "list-overlaps": lists(lambda r, nth: page(r, ["a", "b"] if nth == 0 else ["b", "c"], more=truncated("t%d" % nth))),
    "list-same-token": lists(lambda r, nth: page(r, ["k%d" % nth], more=truncated("t"))),
    "list-no-token": lists(lambda r, nth: page(r, ["a", "b"], more="<IsTruncated>true</IsTruncated>")),
    "list-says-nothing": lists(lambda r, nth: page(r, ["a", "b"], more="")),
    "list-token-at-end": lists(lambda r, nth: page(r, ["a"], more="<IsTruncated>false</IsTruncated>"
                                                   "<NextContinuationToken>t</NextContinuationToken>")),
    "list-count": lists(lambda r, nth: page(r, ["a"], more="<KeyCount>2</KeyCount><IsTruncated>false</IsTruncated>")),
    "list-unsorted": lists(lambda r, nth: page(r, ["b", "a"])),
    "list-outside": lists(lambda r, nth: page(r, ["a", "zz/outside"], prefixes=["zz/"])),
    "list-empty-pages": lists(lambda r, nth: page(r, [], more=truncated("t%d" % nth))),
    "list-cut": lists(lambda r, nth: page(r, ["a", "b"])[:-20]),
    "list-cut-once": lists(lambda r, nth: page(r, ["a", "b"])[:-20 if nth == 0 else None]),
    "list-doctype": lists(lambda r, nth: page(r, ["a"]).replace(b"<ListB", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><ListB', 1)),
    "list-start-after": lists(passes_over),
    "list-endless": endless_list,
}


class Script:
    def __init__(self, objects=()):
        """objects: what each bucket begins with."""
        self.objects = objects
        self.faults = None  # in place of those of the buckets: a function, as above
        self.buckets = {}
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            s, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def bucket(self, name):
        with self.lock:
            return self.buckets.setdefault(name, Bucket(self.objects))

    @staticmethod
    def read_head(f):
        line = f.readline(65536).decode("latin-1")
        if not line.endswith("\r\n"):
            return None
        headers = {}
        while True:
            h = f.readline(65536).decode("latin-1")
            if h in ("\r\n", ""):
                break
            name, _, value = h.partition(":")
            headers[name.strip().lower()] = value.strip()
        method, target, _ = line.split(" ", 2)
        return method, target, headers

    def answer(self, r, s):
        clean = r.bucket.startswith("clean-")
        name = r.bucket[len("clean-"):] if clean else r.bucket
        bucket = self.bucket(name)
        kind = "LIST" if r.lists else r.method
        with bucket.lock:
            nth = bucket.seen.get(kind, 0)
            if not clean:
                bucket.seen[kind] = nth + 1
        fault = None if clean else self.faults or FAULTS.get(name.partition(".")[0])
        if name == "trap":
            return Answer(200, b"TRAPPED")
        out = fault(r, bucket, nth, s) if fault else None
        return bucket.answer(r) if out is None else out

    def serve(self, s):
        with s, s.makefile("rb") as f:
            try:
                while self.exchange(s, f):
                    pass
            except (OSError, ValueError):
                pass

    def exchange(self, s, f):
        head = self.read_head(f)
        if not head:
            return False
        method, target, headers = head
        early = target.startswith("/before-body") and method == "PUT"
        if headers.get("expect", "").lower() == "100-continue" and not early:
            s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b"" if early else f.read(int(headers.get("content-length", 0)))
        out = self.answer(Request(method, target, headers, body), s)
        if isinstance(out, Answer):
            s.sendall(out.bytes(method))
            return not out.close
        if isinstance(out, bytes):
            s.sendall(out)
            return False
        until = time.monotonic() + SECONDS_MAX
        for part in out:
            if time.monotonic() > until:
                break
            s.sendall(part)
        return False


if __name__ == "__main__":
    print(Script(OBJECTS).port, flush=True)
    sys.stdin.read()
