# SPDX-License-Identifier: Apache-2.0
"""The fault proxy (proxy.c) as a test drives it."""
import os
import socket
import subprocess

from harness import Failed, die_with_parent


class Proxy:
    """proxy.ports[name] is where the link listens; the commands are those of proxy.c."""

    def __init__(self, build, folder, links, seed=1):
        """links: {name: (host, port)}."""
        self.path = os.path.join(folder, "proxy.sock")
        self.links = links
        command = [os.path.join(build, "tests/faults/proxy"), self.path, "seed=%d" % seed]
        command += ["%s=%s:%d" % (name, host, port) for name, (host, port) in links.items()]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.ports = {}
        while len(self.ports) < len(links):
            line = self.process.stdout.readline().split()
            if not line:
                raise Failed("the proxy did not start")
            self.ports[line[0].decode()] = int(line[1])

    def tell(self, link, command, **keys):
        """A command of one link, and what it answers: {key: number}."""
        words = [link, command] + ["%s=%s" % item for item in keys.items()]
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.path)
            s.sendall(" ".join(words).encode() + b"\n")
            answer = s.recv(300).decode().split()
        if not answer or answer[0] != "ok":
            raise Failed("the proxy: %s: %s" % (" ".join(words), " ".join(answer)))
        return {k: int(v) for k, v in (word.split("=") for word in answer[1:])}

    def clear(self):
        for link in self.links:
            self.tell(link, "clear")

    def fired(self):
        return sum(self.tell(link, "stats")["fired"] for link in self.links)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
