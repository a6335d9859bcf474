# SPDX-License-Identifier: Apache-2.0
"""Was every answer right? Pure: calls with their times against the final streams, so that wrong histories can be planted.

A call is a dict: w (who), stream, ids (of its events, in order), began and ended (one clock for all), answer ("ok", "ESTALE", "EEXIST", "EIO"),
committed (with EIO, as .evfs/errors said: "no", "yes", "unknown"), expect (the last number that it expected; None), numbered (it said so by naming its own number), other (an id that was used before with
other content), again (the same call was made before). A stream's true history is known at the end only; where it was at the time of a
call is bounded by the calls that made its events: an event is there after its call ended, and is not before its call began. One whose
outcome is unknown may be there at any time after it began, or never.
"""
import bisect

NEVER = float("inf")


def groups(calls):
    """The calls that share their ids, in the order of time: the first, and its repetitions."""
    found = {}
    for call in sorted((c for c in calls if not c["other"]), key=lambda c: c["began"]):
        found.setdefault(tuple(call["ids"]), []).append(call)
    return list(found.values())


def surely_last(number, began, ended, made):
    """From began to ended the stream ended at this number, whatever the order of what overlaps. made: number -> its call."""
    if number > len(made):
        return False
    if number and made[number]["ended"] >= began:
        return False
    if number and number < len(made) and made[number] is made[number + 1]:
        return False  # inside a batch
    return number == len(made) or made[number + 1]["began"] > ended


def check_refusal(call, made):
    """Could the stream's last number differ from the expected one at some time between call and answer?"""
    expect, began, ended = call["expect"], call["began"], call["ended"]
    name = "%s: %s, expecting %s," % (call["stream"], call["ids"][0], expect)
    if expect is None:
        return ["%s was refused (%s) without an expectation" % (name, call["answer"])]
    if call["answer"] == "EEXIST":
        if not call["numbered"]:
            return ["%s was answered EEXIST, though it named no number of its own" % name]
        if expect + 1 > len(made) or made[expect + 1]["began"] > ended:
            return ["%s was answered EEXIST, though event %d was not there yet" % (name, expect + 1)]
        return []
    if surely_last(expect, began, ended, made):
        return ["%s was refused, though the stream ended there all the time" % name]
    if call["numbered"] and (expect == 0 or expect <= len(made) and made[expect]["ended"] < began):
        return ["%s was answered ESTALE, though the stream was there or further (EEXIST)" % name]
    return []


def verdict(group, lost_ledger):
    """What the answers to one call and its repetitions mean together: "there", "absent", "open"; and from when on it is surely there."""
    answers = {c["answer"] for c in group}
    surely = min([c["ended"] for c in group if c["answer"] == "ok" or not lost_ledger and c["committed"] == "yes"], default=NEVER)
    if surely < NEVER:
        return "there", surely
    if answers & {"ESTALE", "EEXIST"} or all(c["committed"] == "no" for c in group if c["answer"] == "EIO"):
        return "absent", surely
    return "open", surely


def check_group(stream, group, number, lost_ledger, made):
    """One call with its repetitions against where its events lie; what is there is entered in made."""
    wrong = []
    first = group[0]
    name = "%s: %s" % (stream, first["ids"][0])
    clear = [c for c in group if c["answer"] != "EIO"]
    for again in clear[1:]:
        if again["answer"] != clear[0]["answer"]:
            wrong.append("%s was answered %s at first, and %s again" % (name, clear[0]["answer"], again["answer"]))
    there = [number[i] for i in first["ids"] if i in number]
    must, surely = verdict(group, lost_ledger)
    if lost_ledger and first["answer"] == "EIO":
        # a batch may be left in part, and its rest moved to the end, or be refused for that
        for n in there:
            made[n] = dict(first, ended=surely)
        if must == "there" and len(there) != len(first["ids"]):
            wrong.append("%s was answered, and %d of its %d events are there" % (name, len(there), len(first["ids"])))
        return wrong
    if must == "absent" and there:
        return wrong + ["%s was refused, and is there" % name if clear else "%s failed, said not to be committed, and is there" % name]
    if not there and must != "there":
        return wrong
    if len(there) != len(first["ids"]):
        return wrong + ["%s was answered, and %d of its %d events are there" % (name, len(there), len(first["ids"]))]
    if there != list(range(there[0], there[0] + len(there))):
        wrong.append("%s: the batch of %s lies at %s" % (stream, first["ids"][0], there))
    if first["expect"] is not None and there[0] != first["expect"] + 1:
        wrong.append("%s expected %d and became %d" % (name, first["expect"], there[0]))
    if first.get("number") is not None and there[0] != first["number"]:
        wrong.append("%s was answered as number %d, and is %d" % (name, first["number"], there[0]))
    for n in there:
        made[n] = dict(first, ended=surely)
    return wrong


def check_stream(stream, calls, ids, lost_ledger=False):
    """
    calls: those of the stream. ids: the event ids of the final stream, number 1 first; None for a void. lost_ledger: it was put back once,
    and with it went what was committed only. Returns what is wrong, and made: number -> its call.
    """
    wrong = []
    number = {}
    for i, event_id in enumerate(ids):
        if event_id is None:
            continue
        if event_id in number:
            wrong.append("%s: %s is there twice, as %d and %d" % (stream, event_id, number[event_id], i + 1))
        number[event_id] = i + 1
    made = {}
    all_groups = groups(calls)
    for group in all_groups:
        wrong += check_group(stream, group, number, lost_ledger, made)
    for event_id, n in number.items():
        if n not in made:
            wrong.append("%s: event %d, %s, is of no answered call" % (stream, n, event_id))
    for call in calls:
        if call["other"] and call["answer"] not in ("EEXIST", "EIO"):
            wrong.append("%s: %s with other content was answered %s" % (stream, call["ids"][0], call["answer"]))
    if wrong:
        return wrong, made  # what follows needs to know who made each number

    latest = None
    for n in sorted(made):  # what ended before another began has the lower number
        if latest and latest["began"] > made[n]["ended"]:
            wrong.append("%s: event %d was answered before the call of an event before it began" % (stream, n))
        if not latest or made[n]["began"] > latest["began"]:
            latest = made[n]
    for group in all_groups:
        for call in group:
            if call["answer"] in ("ESTALE", "EEXIST") and len(made) == len(ids):  # before a void nobody can tell
                wrong += check_refusal(call, made)
    return wrong, made


class Fresh:
    """What a read must show: all that was answered long enough before it began."""

    def __init__(self, made):
        known = sorted((call["ended"], n) for n, call in made.items())
        self.ended, self.most = [], []
        for ended, n in known:
            self.ended.append(ended)
            self.most.append(max(n, self.most[-1] if self.most else 0))

    def least(self, began):
        """The number of the last event that a read that began then must show."""
        i = bisect.bisect_left(self.ended, began)
        return self.most[i - 1] if i else 0


def check_reads(stream, reads, made, limit):
    """reads: (began, ended, number of the last event that it showed). limit: how old what it shows may be."""
    fresh, wrong = Fresh(made), []
    for began, ended, last in reads:
        least = fresh.least(began - limit)
        if last < least:
            wrong.append("%s: a read showed %d, though %d was answered %.3f s before it began" % (
                stream, last, least, (began - made[least]["ended"]) / 1e9))
        elif last and last in made and made[last]["began"] > ended:
            wrong.append("%s: a read showed %d before its call began" % (stream, last))
    return wrong


def check_numbers(stream, numbers):
    return [] if numbers == list(range(1, len(numbers) + 1)) else ["%s: the numbers are not 1 to %d: %s" % (
        stream, len(numbers), [n for i, n in enumerate(numbers) if n != i + 1][:5])]


class Prefix:
    """What one reader sees of a stream: each time what it saw before, and perhaps more, in whole lines."""

    def __init__(self, name):
        self.name, self.seen, self.wrong = name, b"", []

    def saw(self, text):
        if not text.startswith(self.seen):
            self.wrong.append("%s: after %d bytes it read %d that do not begin with them" % (self.name, len(self.seen), len(text)))
        elif text and not text.endswith(b"\n"):
            self.wrong.append("%s: the last line is cut: %r" % (self.name, text[-80:]))
        self.seen = text

    def end(self, final):
        if not final.startswith(self.seen):
            self.wrong.append("%s: the last that it read is no prefix of the final stream" % self.name)
        return self.wrong


def sample():
    """A right history: 1 a, 2 b, 3-4 a batch c, 5 d; with refusals, repetitions, and overlaps."""
    calls = []

    def call(ids, began, ended, answer="ok", expect=None, **more):
        calls.append(dict({"w": 0, "committed": None, "stream": "S/s", "ids": ids.split(), "began": began, "ended": ended, "answer": answer,
                           "expect": expect, "numbered": False, "other": False, "again": False}, **more))

    call("a", 0, 10, expect=0)
    call("x1", 11, 12, "ESTALE", 0)
    call("x2", 11, 12, "EEXIST", 0, numbered=True)
    call("b", 20, 30, expect=1)
    call("x3", 25, 26, "ESTALE", 1)     # b may have been there
    call("x4", 27, 29, "EEXIST", 1, numbered=True)
    call("x5", 32, 33, "ESTALE", 7)
    call("x6", 32, 33, "ESTALE", 7, numbered=True)
    call("c1 c2", 40, 50)
    call("x7", 51, 52, "ESTALE", 3)
    call("a", 53, 54, expect=0, again=True)
    call("x1", 53, 54, "ESTALE", 0, again=True)
    call("a", 55, 56, "EEXIST", 0, other=True)
    call("d", 45, 70, expect=4)
    call("u1", 60, 61, "EIO", committed="unknown")
    call("u2", 60, 61, "EIO", committed="unknown")
    call("n", 60, 61, "EIO", committed="no")
    call("y1", 72, 73, "EIO", committed="yes")
    call("u3", 80, 81, "EIO", committed="unknown")
    call("u3", 82, 83, again=True)
    call("z9", 90, 91, expect=8)
    return calls, ["a", "b", "c1", "c2", "d", "y1", "u3", "u1", "z9"]


def find(calls, event_id, again=False, other=False):
    return next(c for c in calls if c["ids"][0] == event_id and c["again"] == again and c["other"] == other)


# How each planted history differs from the right one, and what must be found.
PLANTED = {
    "an answered event is gone": (lambda c, i: i.pop(), "0 of its 1"),
    "a committed event is gone": (lambda c, i: i.remove("y1"), "0 of its 1"),
    "what failed for sure is there": (lambda c, i: i.append("n"), "said not to be committed"),
    "an unknown one twice": (lambda c, i: i.append("u1"), "is there twice"),
    "an unknown one, answered again, is gone": (lambda c, i: i.remove("u3"), "0 of its 1"),
    "a batch in part": (lambda c, i: i.remove("c2"), "1 of its 2"),
    "an event twice": (lambda c, i: i.append("a"), "is there twice"),
    "an event of nobody": (lambda c, i: i.append("z"), "of no answered call"),
    "a refused event": (lambda c, i: i.append("x1"), "was refused, and is there"),
    "a batch taken apart": (lambda c, i: i.__setitem__(slice(2, 5), ["c1", "d", "c2"]), "the batch of c1"),
    "an expectation that did not hold": (lambda c, i: find(c, "d").update(expect=3), "expected 3 and became 5"),
    "an answer with another number": (lambda c, i: find(c, "b").update(number=3), "answered as number 3"),
    "a repetition that is refused": (lambda c, i: find(c, "a", True).update(answer="ESTALE"), "ESTALE again"),
    "a repetition that is accepted": (lambda c, i: find(c, "x1", True).update(answer="ok"), "ok again"),
    "other content that is accepted": (lambda c, i: find(c, "a", other=True).update(answer="ok"), "with other content"),
    "a refusal though it was the last": (lambda c, i: find(c, "x1").update(expect=1), "ended there all the time"),
    "a refusal though the stream was new": (lambda c, i: (find(c, "x1").update(began=-5, ended=-1),
                                                          find(c, "x1", True).update(ids=["y"])), "ended there all the time"),
    "a refusal at the very end": (lambda c, i: find(c, "x7").update(expect=9, began=93, ended=94), "ended there all the time"),
    "a refusal without expectation": (lambda c, i: find(c, "x5").update(expect=None), "without an expectation"),
    "EEXIST before it was there": (lambda c, i: find(c, "x2").update(expect=4), "was not there yet"),
    "EEXIST of what never was": (lambda c, i: find(c, "x2").update(expect=18), "was not there yet"),
    "EEXIST where no number was named": (lambda c, i: find(c, "x2").update(numbered=False), "named no number"),
    "ESTALE where it is EEXIST": (lambda c, i: find(c, "x6").update(expect=1), "(EEXIST)"),
    "the order of time broken": (lambda c, i: (i.__setitem__(slice(0, 2), ["b", "a"]), find(c, "a").update(expect=None),
                                               find(c, "b").update(expect=None)), "before the call of an event"),
}


def self_test():
    """Returns (how many planted faults were tried, what went wrong)."""
    wrong = ["a right history is blamed: " + w for w in check_stream("S/s", *sample())[0]]
    for name, (plant, finding) in PLANTED.items():
        calls, ids = sample()
        plant(calls, ids)
        found, _ = check_stream("S/s", calls, ids)
        if not any(finding in f for f in found):
            wrong.append("planted: %s; found %s" % (name, found or "nothing"))
    for numbers in ([1, 2, 4], [2, 3], [1, 2, 2], [1, 3, 2]):
        if not check_numbers("S/s", numbers):
            wrong.append("the numbers %s pass" % numbers)
    made = check_stream("S/s", *sample())[1]
    seen = {"what a read must show": ([(72, 74, 5), (9, 9, 0), (50, 52, 4)], True), "a stale read": ([(90, 91, 4)], False),
            "a read of what is not yet": ([(10, 15, 2)], False)}
    for name, (rows, right) in seen.items():
        if bool(check_reads("S/s", rows, made, 1)) == right:
            wrong.append("%s: %s" % (name, check_reads("S/s", rows, made, 1)))
    reads = {"a read that goes back": [b"1\n2\n", b"1\n"], "a read of other text": [b"1\n", b"2\n3\n"], "half a line": [b"1\n2"],
             "what is not in the end": [b"1\n2\n9\n"]}
    for name, texts in dict(reads, right=[b"", b"1\n", b"1\n", b"1\n2\n3\n"]).items():
        reader = Prefix("a reader")
        for text in texts:
            reader.saw(text)
        if bool(reader.end(b"1\n2\n3\n4\n")) != (name != "right"):
            wrong.append("%s: %s" % (name, reader.wrong or "passes"))
    return len(PLANTED) + len(seen) + 4 + len(reads), wrong
