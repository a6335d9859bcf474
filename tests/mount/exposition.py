#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""exposition.py [NAME{LABELS}…] <TEXT - is it Prometheus text (format 0.0.4), as promtool would take it? Prints what is wrong.

Checked: names, labels and their escapes, values; HELP and TYPE once a family, before its samples, these all in one place; no sample
twice; counters and buckets not negative; of histograms: bounds that ascend, counts that never fall, +Inf's that is _count's, _sum.
With names: prints the values of these samples instead, a line each, 0 for one that is not there.
"""
import math
import re
import sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(r"(%s)(?:\{((?:%s,)*%s)?\})? (\S+)$" % (NAME, LABEL.replace("(", "(?:").replace("(?:?:", "(?:"),
                                                            LABEL.replace("(", "(?:").replace("(?:?:", "(?:")))
VALUE = re.compile(r"[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|Inf)$|NaN$")


def parse(line):
    """(name, labels, value) of a sample; None: it is none."""
    match = SAMPLE.match(line)
    if not match or not VALUE.match(match.group(3)):
        return None
    return match.group(1), tuple(re.findall(LABEL, match.group(2) or "")), float(match.group(3))


class Checker:
    def __init__(self):
        self.wrong, self.help, self.type, self.samples = [], set(), {}, {}
        self.family, self.left = None, set()

    def complain(self, number, text):
        self.wrong.append("line %d: %s" % (number, text))

    def family_of(self, name):
        for suffix in ("_bucket", "_sum", "_count"):
            if name.endswith(suffix) and self.type.get(name[:-len(suffix)]) == "histogram":
                return name[:-len(suffix)]
        return name

    def enter(self, number, family):
        if family == self.family:
            return
        if family in self.left:
            self.complain(number, "%s stands in two places" % family)
        if self.family:
            self.left.add(self.family)
        self.family = family

    def head(self, number, line):
        match = re.match(r"# (HELP|TYPE) (%s) (.*)$" % NAME, line)
        if not match:
            return self.complain(number, "no HELP and no TYPE: %s" % line)
        word, name, text = match.groups()
        self.enter(number, name)
        if any(self.family_of(known) == name for known, _ in self.samples):
            self.complain(number, "%s of %s behind its samples" % (word, name))
        if word == "HELP":
            if name in self.help:
                self.complain(number, "a second HELP of %s" % name)
            if re.search(r"\\(?![\\n])", re.sub(r"\\\\", "", text)):
                self.complain(number, "a bad escape in the HELP of %s" % name)
            return self.help.add(name)
        if name in self.type:
            self.complain(number, "a second TYPE of %s" % name)
        if text not in ("counter", "gauge", "histogram"):
            self.complain(number, "an unknown TYPE: %s" % text)
        self.type[name] = text

    def sample(self, number, line):
        found = parse(line)
        if not found:
            return self.complain(number, "no sample: %s" % line)
        name, labels, value = found
        family = self.family_of(name)
        self.enter(number, family)
        if family not in self.type or family not in self.help:
            self.complain(number, "%s has no HELP or no TYPE" % family)
        elif self.type[family] == "histogram" and name == family:
            self.complain(number, "a histogram's sample is _bucket, _sum or _count: %s" % line)
        elif self.type[family] != "gauge" and not name.endswith("_sum") and not value >= 0:
            self.complain(number, "below zero: %s" % line)
        if len(dict(labels)) != len(labels):
            self.complain(number, "a label twice: %s" % line)
        key = (name, tuple(sorted(labels)))
        if key in self.samples:
            self.complain(number, "twice: %s" % line)
        self.samples[key] = value

    def histograms(self):
        buckets = {}
        for (name, labels), value in self.samples.items():
            if name.endswith("_bucket") and self.type.get(name[:-7]) == "histogram":
                rest = tuple(l for l in labels if l[0] != "le")
                bounds = [float(l[1].replace("Inf", "inf")) for l in labels if l[0] == "le"]
                buckets.setdefault((name[:-7], rest), []).append((bounds[0] if bounds else math.nan, value))
        for (family, labels), found in buckets.items():
            bounds, counts = [b for b, _ in found], [n for _, n in found]
            where = "%s%s" % (family, dict(labels) or "")
            if bounds != sorted(bounds) or not bounds or bounds[-1] != math.inf:
                self.wrong.append("%s: bounds do not ascend to +Inf: %s" % (where, bounds))
            if counts != sorted(counts):
                self.wrong.append("%s: counts fall: %s" % (where, counts))
            if self.samples.get((family + "_count", labels)) != counts[-1]:
                self.wrong.append("%s: _count is not +Inf's" % where)
            if (family + "_sum", labels) not in self.samples:
                self.wrong.append("%s: no _sum" % where)
        for (name, labels) in self.samples:
            if name.endswith("_count") and self.type.get(name[:-6]) == "histogram" and (name[:-6], labels) not in buckets:
                self.wrong.append("%s: no buckets" % name)

    def text(self, text):
        if text and not text.endswith("\n"):
            self.wrong.append("the last line has no end")
        for number, line in enumerate(text.split("\n")[:-1], 1):
            if line.startswith("#"):
                self.head(number, line)
            elif line:
                self.sample(number, line)
        self.histograms()
        if not self.samples:
            self.wrong.append("no samples at all")


def main():
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as e:
        sys.exit("no UTF-8: %s" % e)
    checker = Checker()
    checker.text(text)
    if checker.wrong:
        sys.exit("\n".join(checker.wrong))
    for name in sys.argv[1:]:
        wanted = parse(name + " 0")
        if not wanted:
            sys.exit("no name of a sample: %s" % name)
        value = checker.samples.get((wanted[0], tuple(sorted(wanted[1]))), 0)
        print("%d" % value if value == int(value) else repr(value))


if __name__ == "__main__":
    main()
