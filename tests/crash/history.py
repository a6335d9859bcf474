# SPDX-License-Identifier: Apache-2.0
"""The manifest of appends against what the store holds: pure, so that planted faults can prove that it finds them.

An attempt is a dict, written by its writer before the append, and completed by the answer:
  a        its number, counted by its writer           w        the writer
  stream   "Type/id"                                   tokens   one for each event, unique in the store
  own      the events have ids of the writer's choice  expect   the stream's last number before it, None where it did not say
  type     event_type                                  pad      bytes of filling in the data
  retried  the same was written again, after it was cut
  doubt    what a dead mount, or a broken connection, had asked for may happen later: what its writer appends then may come before
  answer   "ok"       answered: it is there once, at its place
           "cut"      not answered, or its outcome was said to be unknown: there whole or not at all
           "owed"     failed, but committed, as .evfs/errors said: there whole
           "unsent", "refused"   nothing of it may be there
"""
import json

from harness import event_id


def pad(token, n):
    """Filling that shows when a part is missing."""
    return (token + " ") * (n // (len(token) + 1)) + token[:n % (len(token) + 1)]


class Manifest:
    """Its records as attempts. A try that is logged twice stays two attempts: their tokens meet in check_stream."""

    def __init__(self):
        self.attempts, self.open_tries = [], {}

    def add(self, record):
        key = (record["w"], record["a"])
        if "stream" in record:
            self.attempts.append(dict(record, answer="cut"))
            self.open_tries[key] = self.attempts[-1]
        elif "retry" in record:
            self.open_tries[key].update(answer="cut", retried=True)
        else:
            self.open_tries[key]["answer"] = record["answer"]


def check_event(event, attempt, index, stream):
    """What the event says against what its writer wrote."""
    token = attempt["tokens"][index]
    wanted = {"event_type": attempt["type"], "aggregate_type": stream.split("/", 1)[0], "aggregate_id": stream.split("/", 1)[1],
              "data": {"t": token, "pad": pad(token, attempt["pad"])}}
    if attempt["own"]:
        wanted["event_id"] = event_id(token)
    return ["%s: event %s of '%s' has %s %.200s, written was %.200s" % (token, event.get("sequence_number"), stream, k,
                                                                      json.dumps(event.get(k)), json.dumps(v))
            for k, v in wanted.items() if event.get(k) != v]


def check_numbers(stream, events, may_skip):
    wrong, last = [], 0
    for event in events:
        number = event.get("sequence_number")
        if not isinstance(number, int) or (number <= last if may_skip else number != last + 1):
            wrong.append("%s: number %s follows %d" % (stream, number, last))
        last = number if isinstance(number, int) else last + 1
    ids = [event.get("event_id") for event in events]
    if len(set(ids)) != len(ids):
        wrong.append("%s: an event id stands twice" % stream)
    return wrong


def check_stream(stream, attempts, events, lost_ledger=False):
    """
    attempts: those of the stream, in the order in which each writer made them. events: the stream from its beginning, parsed.
    lost_ledger: its ledger was once lost or put back, so that only answered appends must be there, and numbers may be void.
    Returns what is wrong, a text each.
    """
    wrong = check_numbers(stream, events, lost_ledger)
    where, of_token = {}, {}
    for i, attempt in enumerate(attempts):
        for k, token in enumerate(attempt["tokens"]):
            if token in of_token:
                wrong.append("%s: %s is in the manifest twice" % (stream, token))
            of_token[token] = (attempt, k)
    for i, event in enumerate(events):
        token = event.get("data", {}).get("t")
        if token not in of_token:
            wrong.append("%s: event %s was never written: %.200s" % (stream, event.get("sequence_number"), json.dumps(event)))
            continue
        if token in where:
            wrong.append("%s: %s is there twice, as %s and %s" % (stream, token, events[where[token]].get("sequence_number"),
                                                                event.get("sequence_number")))
        where[token] = i
        wrong += check_event(event, *of_token[token], stream)

    ends = {}  # of each writer: where its last append ended
    for attempt in attempts:
        places = [where.get(token) for token in attempt["tokens"]]
        there = [p for p in places if p is not None]
        name = "%s: %s of %d events, answered %s," % (stream, attempt["tokens"][0], len(places), attempt["answer"])
        answer = attempt["answer"]
        if lost_ledger and attempt.get("way") == "renamed" and answer == "ok":
            answer = "cut"  # rename(2) is answered when it is committed (design.md 6): such an append goes with its ledger
        if answer in ("ok", "owed"):
            if lost_ledger and answer == "owed":
                continue
            if len(there) < len(places):
                wrong.append("%s has %d in the store" % (name, len(there)))
                continue
        elif answer == "cut":
            if lost_ledger or not there:
                continue  # a lost ledger may leave it in part, or move its rest to the end
            if len(there) < len(places):
                wrong.append("%s is there in part: %d" % (name, len(there)))
                continue
        else:
            if there:
                wrong.append("%s is in the store" % name)
            continue
        if lost_ledger and attempt.get("retried"):
            continue  # what was cut once may have been moved
        if places != list(range(places[0], places[0] + len(places))):
            wrong.append("%s lies in other order, or others in between: %s" % (name, places))
        if places[0] <= ends.get(attempt["w"], -1):
            wrong.append("%s lies before what its writer had appended before" % name)
        if answer == "ok" and not attempt.get("retried") or not attempt.get("doubt"):
            ends[attempt["w"]] = places[-1]
        number = events[places[0]].get("sequence_number")
        if attempt["expect"] is not None and number != attempt["expect"] + 1:
            wrong.append("%s expected %d as the last number and became %s" % (name, attempt["expect"], number))
    return wrong


def sample():
    """A history in which everything is right, for self_test."""
    attempts, events = [], []

    def attempt(w, a, n, answer, there, expect=None):
        tokens = ["%s-%d-%d" % (w, a, k) for k in range(n)]
        attempts.append({"w": w, "a": a, "stream": "Order/s", "tokens": tokens, "own": True, "expect": expect, "type": "Noted",
                         "pad": 10, "answer": answer})
        for token in tokens if there else ():
            events.append({"event_id": event_id(token), "event_type": "Noted", "aggregate_type": "Order", "aggregate_id": "s",
                           "data": {"t": token, "pad": pad(token, 10)}, "sequence_number": len(events) + 1})

    attempt("w1", 1, 1, "ok", True, 0)
    attempt("w1", 2, 3, "ok", True)
    attempt("w2", 1, 3, "cut", True)
    attempt("w1", 3, 1, "ok", True)
    attempt("w1", 4, 2, "cut", False)
    attempt("w2", 2, 1, "refused", False)
    attempt("w2", 3, 1, "ok", True)
    attempt("w2", 4, 1, "unsent", False)
    attempt("w3", 1, 2, "cut", False)
    attempts[-1]["doubt"] = True
    attempt("w3", 2, 1, "ok", True)
    attempt("w3", 3, 2, "owed", True)
    for token in attempts[-3]["tokens"]:
        add(events, token)
    return attempts, events


def renumber(events):
    for i, event in enumerate(events):
        event["sequence_number"] = i + 1


def drop(events, *tokens):
    events[:] = [e for e in events if e["data"]["t"] not in tokens]
    renumber(events)


def add(events, token):
    events.append(dict(events[0], event_id=event_id(token), data={"t": token, "pad": pad(token, 10)}))
    renumber(events)


def swap(events, i, k):
    events[i], events[k] = events[k], events[i]
    renumber(events)


# Each breaks the sample in one way; check_stream must find it, and the text says how its finding begins or reads.
PLANTED = {
    "an answered event that is gone": (lambda a, e: drop(e, "w2-3-0"), "has 0 in the store"),
    "an answered batch without its middle": (lambda a, e: drop(e, "w1-2-1"), "has 2 in the store"),
    "an unanswered batch in part": (lambda a, e: drop(e, "w2-1-2"), "is there in part"),
    "a committed batch without its end": (lambda a, e: drop(e, "w3-3-1"), "has 1 in the store"),
    "what was cut without doubt, and came late": (lambda a, e: a[-3].update(doubt=False), "before what its writer"),
    "an event twice": (lambda a, e: add(e, "w1-3-0"), "is there twice"),
    "one id twice": (lambda a, e: e[-1].update(event_id=e[0]["event_id"]), "an event id stands twice"),
    "a number that is missing": (lambda a, e: e[-1].update(sequence_number=99), "number 99 follows"),
    "a number twice": (lambda a, e: e[-1].update(sequence_number=len(e) - 1), "follows"),
    "a number that is none": (lambda a, e: e[0].update(sequence_number=None), "number None"),
    "an event that nobody wrote": (lambda a, e: add(e, "x-1-0"), "was never written"),
    "a refused append that is there": (lambda a, e: add(e, "w2-2-0"), "is in the store"),
    "an unsent append that is there": (lambda a, e: add(e, "w2-4-0"), "is in the store"),
    "two appends of one writer the wrong way round": (lambda a, e: swap(e, 0, 7), "before what its writer"),
    "a batch in other order": (lambda a, e: swap(e, 1, 2), "in other order"),
    "a batch with another's event in it": (lambda a, e: swap(e, 3, 4), "in other order"),
    "an expectation that did not hold": (lambda a, e: a[0].update(expect=4), "expected 4"),
    "other data": (lambda a, e: e[0]["data"].update(pad="w1-1-0 w1"), "written was"),
    "another event type": (lambda a, e: e[0].update(event_type="Other"), "written was"),
    "another event id": (lambda a, e: e[0].update(event_id="other"), "written was"),
    "a line of the manifest twice": (lambda a, e: a.append(dict(a[0])), "in the manifest twice"),
}


def self_test():
    """Returns (how many planted faults were found, what went wrong)."""
    wrong = ["a right history is blamed: " + w for w in check_stream("Order/s", *sample())]
    for name, (plant, finding) in PLANTED.items():
        attempts, events = sample()
        plant(attempts, events)
        found = check_stream("Order/s", attempts, events)
        if not any(finding in f for f in found):
            wrong.append("planted %s, found %s" % (name, found or "nothing"))
    attempts, events = sample()
    drop(events, "w2-1-2")
    wrong += ["a batch that a lost ledger left in part is blamed: " + w for w in check_stream("Order/s", attempts, events, True)]
    drop(events, "w2-3-0")
    if not check_stream("Order/s", attempts, events, True):
        wrong.append("planted an answered event that is gone with its ledger, found nothing")
    return len(PLANTED) + 1, wrong
