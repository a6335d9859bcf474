# SPDX-License-Identifier: Apache-2.0
"""What Kafka holds against what the store holds: pure, so that planted faults can prove that it finds them.

An event is a dict, out of the store's object:
  stream   "Type/id"          number   its sequence number
  id       event_id           body     the object's bytes
  ms       when it was recorded, its millisecond
  dead     it names a topic that can't be one: the DLQ must have it
A record is a dict, out of Kafka, in the order of its partition:
  topic, partition, offset    generation   counts how often the topic was deleted
  dead     it stands in the DLQ
  key, value   bytes          headers      a dict of texts
A look is what a checkpoint said, taken before Kafka was read:
  last_ms, held {stream: next number}, ids     records   how many records were known after Kafka was read
  epoch    counts the rewinds: within one the checkpoint never goes back
"""
import json


def name(event):
    return "%s %d" % (event["stream"], event["number"])


def index_events(events):
    """By event id; and what is wrong with the store itself."""
    wrong, by_id = [], {}
    for event in events:
        if event["id"] in by_id:
            wrong.append("%s: its event id stands twice in the store" % name(event))
        by_id[event["id"]] = event
    return by_id, wrong


def check_record(record, event):
    """One message against its event."""
    wrong = []
    where = "%s at %s/%d:%d" % (name(event), record["topic"], record["partition"], record["offset"])
    if record["value"] != event["body"]:
        wrong.append("%s: other bytes: %.200r, stored was %.200r" % (where, record["value"], event["body"]))
    if record["headers"].get("event_id") != event["id"]:
        wrong.append("%s: the header event_id is %s" % (where, record["headers"].get("event_id")))
    if record["headers"].get("sequence_number") != str(event["number"]):
        wrong.append("%s: the header sequence_number is %s" % (where, record["headers"].get("sequence_number")))
    if record["key"] != event["stream"].split("/", 1)[1].encode():
        wrong.append("%s: the key is %r" % (where, record["key"]))
    return wrong


def record_id(record):
    """Of the event that it carries: by its value, for that is what a consumer has."""
    try:
        value = json.loads(record["value"])
        return value.get("event_id") if isinstance(value, dict) else None
    except ValueError:
        return None


def was_refused(record):
    """By the broker, says the DLQ."""
    return json.loads(record["value"]).get("stage") == "produce"


def check_order(firsts):
    """firsts: {stream: its records that carry an event for the first time, as they stand}."""
    wrong = []
    for stream, found in sorted(firsts.items()):
        last = {}
        partitions = {}
        for event, record in found:
            log = (record["topic"], record["generation"])
            partitions.setdefault(log, set()).add(record["partition"])
            if event["number"] < last.get(record["topic"], 0):
                wrong.append("%s: number %d comes behind %d, at %s/%d:%d" % (
                    stream, event["number"], last[record["topic"]], record["topic"], record["partition"], record["offset"]))
            last[record["topic"]] = max(last.get(record["topic"], 0), event["number"])
        wrong += ["%s: lies in the partitions %s of %s" % (stream, sorted(p), log[0]) for log, p in partitions.items() if len(p) > 1]
    return wrong


def check_looks(events, looks, known):
    """known[i]: the ids that the first i records carry."""
    wrong, last, held_back = [], {}, {}
    for n, look in enumerate(looks):
        there = known(look["records"])
        for event in events:
            held = look["held"].get(event["stream"])
            if event["ms"] <= look["last_ms"] and not (held and event["number"] >= held) and event["id"] not in there:
                wrong.append("look %d: the checkpoint is at %d, and %s of %d was not in Kafka" % (n, look["last_ms"], name(event), event["ms"]))
        wrong += ["look %d: the checkpoint remembers %s, which was not in Kafka" % (n, i) for i in look["ids"] if i not in there]
        if look["last_ms"] < last.get(look["epoch"], 0):
            wrong.append("look %d: the checkpoint went back from %d to %d" % (n, last[look["epoch"]], look["last_ms"]))
        last[look["epoch"]] = max(look["last_ms"], last.get(look["epoch"], 0))
        for stream, number in look["held"].items():
            before = held_back.get((look["epoch"], stream), 0)
            if number < before:
                wrong.append("look %d: %s was held at %d and is at %d" % (n, stream, before, number))
            held_back[look["epoch"], stream] = max(before, number)
    return wrong


def check(events, records, looks, quiet=False, lost_topic=False):
    """
    records: all that were ever seen in Kafka, those of one partition in its order.
    quiet: nothing was killed, cut off or rewound: then nothing may be there twice. lost_topic: a topic was deleted under a publisher,
    which may have sent to the DLQ what the broker refused for it. Returns what is wrong, a text each.
    """
    by_id, wrong = index_events(events)
    firsts, counts, carried = {}, {}, []
    records = list(records)
    for record in records:
        i = record_id(record)
        event = by_id.get(i)
        carried.append(i)
        if event is None:
            wrong.append("%s/%d:%d holds what is not in the store: %.200r" % (
                record["topic"], record["partition"], record["offset"], record["value"]))
            continue
        counts[i] = counts.get(i, 0) + 1
        if record["dead"] and lost_topic and was_refused(record):
            continue
        if record["dead"] != event["dead"]:
            wrong.append("%s is in %s, and %s: %.300r" % (
                name(event), record["topic"], "its topic can't be one" if event["dead"] else "it could be published", record["value"]))
        elif not record["dead"]:
            wrong += check_record(record, event)
            if counts[i] == 1:
                firsts.setdefault(event["stream"], []).append((event, record))
    wrong += ["%s is not in %s" % (name(e), "the DLQ" if e["dead"] else "Kafka") for e in events if e["id"] not in counts]
    if quiet:
        wrong += ["%s is in Kafka %d times, and nothing was killed" % (name(by_id[i]), n) for i, n in counts.items() if n > 1]
    cache = {}

    def known(n):
        if n not in cache:
            cache[n] = set(carried[:n])
        return cache[n]

    return wrong + check_order(firsts) + check_looks(events, looks, known)


# ---- the self-test

def make_event(stream, number, ms):
    i = "%s-%d" % (stream.split("/")[1], number)
    body = {"event_id": i, "aggregate_type": stream.split("/")[0], "aggregate_id": stream.split("/")[1], "data": {}, "sequence_number": number}
    return {"stream": stream, "number": number, "id": i, "body": json.dumps(body, separators=(",", ":")).encode(), "ms": ms,
            "dead": False}


def make_record(event, offset, partition=0, generation=0):
    return {"topic": "t", "partition": partition, "offset": offset, "generation": generation, "dead": False, "key": event["stream"].split("/", 1)[1].encode(),
            "value": event["body"], "headers": {"event_id": event["id"], "sequence_number": str(event["number"])}}


def sample():
    """Two streams, all delivered, in order; two of the events twice, behind a crash."""
    a = [make_event("Order/a", n, 1000 + n) for n in range(1, 7)]
    b = [make_event("Order/b", n, 1000 + 2 * n) for n in range(1, 4)]
    records = []

    def send(event, partition=0):
        records.append(make_record(event, sum(r["partition"] == partition for r in records), partition))

    for event in a[:4]:
        send(event)
    send(b[0], 1)
    for event in a[2:]:
        send(event)
    for event in b:
        send(event, 1)
    looks = [{"last_ms": 0, "held": {}, "ids": [], "records": 0, "epoch": 0},
             {"last_ms": 1003, "held": {}, "ids": ["a-3"], "records": 5, "epoch": 0},
             {"last_ms": 1005, "held": {"Order/b": 2}, "ids": [], "records": 9, "epoch": 0},
             {"last_ms": 1001, "held": {}, "ids": [], "records": 9, "epoch": 1},
             {"last_ms": 1006, "held": {}, "ids": [], "records": 12, "epoch": 1}]
    return a + b, records, looks


def swap(records, i, k):
    records[i]["value"], records[k]["value"] = records[k]["value"], records[i]["value"]
    records[i]["headers"], records[k]["headers"] = records[k]["headers"], records[i]["headers"]


def again(records, i, **change):
    records.append(dict(records[i], offset=99, **change))


# Each breaks the sample in one way; check must find it, and the text says how its finding reads. e, r, l: events, records, looks.
PLANTED = {
    "an event that is missing": (lambda e, r, l: e.append(make_event("Order/c", 1, 9000)), "Order/c 1 is not in Kafka"),
    "the last event of a stream that is missing": (lambda e, r, l: e.append(make_event("Order/a", 7, 9000)), "Order/a 7 is not in Kafka"),
    "two events the wrong way round": (lambda e, r, l: swap(r, 0, 1), "number 1 comes behind 2"),
    "a late first that was passed over before": (lambda e, r, l: (swap(r, 2, 3), swap(r, 5, 6)), "number 3 comes behind 4"),
    "a duplicate with other bytes": (lambda e, r, l: again(r, 0, value=r[0]["value"].replace(b"{}", b'{"n":1}')), "other bytes"),
    "a duplicate with a blank more": (lambda e, r, l: again(r, 0, value=r[0]["value"] + b" "), "other bytes"),
    "a duplicate with another id in its header": (lambda e, r, l: again(r, 0, headers=dict(r[0]["headers"], event_id="x")), "the header event_id"),
    "a duplicate with another number in its header": (
        lambda e, r, l: again(r, 0, headers=dict(r[0]["headers"], sequence_number="9")), "the header sequence_number"),
    "a duplicate with another key": (lambda e, r, l: again(r, 0, key=b"x"), "the key is"),
    "a message without headers": (lambda e, r, l: again(r, 0, headers={}), "the header event_id is None"),
    "a message that is no event": (lambda e, r, l: again(r, 0, value=b"hello"), "not in the store"),
    "a message of an event that nobody stored": (lambda e, r, l: again(r, 0, value=make_event("Order/x", 1, 1)["body"]), "not in the store"),
    "a stream in two partitions": (lambda e, r, l: r[4].update(partition=0, offset=4), "lies in the partitions"),
    "an event in the DLQ that could be published": (lambda e, r, l: again(r, 0, dead=True), "it could be published"),
    "an event that must be in the DLQ, and is not": (lambda e, r, l: e.append(dict(make_event("Order/c", 1, 9000), dead=True)), "not in the DLQ"),
    "an event that must be in the DLQ, and is elsewhere": (lambda e, r, l: e[0].update(dead=True), "its topic can't be one"),
    "an event id that stands twice in the store": (lambda e, r, l: e[-1].update(id=e[0]["id"]), "stands twice in the store"),
    "a checkpoint that is ahead": (lambda e, r, l: l[1].update(last_ms=1006), "and Order/a 5 of 1005 was not in Kafka"),
    "a checkpoint that is ahead of one event": (lambda e, r, l: l[1].update(records=2), "Order/a 3 of 1003 was not in Kafka"),
    "a checkpoint that is ahead of a late stream": (lambda e, r, l: l[2].update(held={}), "Order/b 2 of 1004 was not in Kafka"),
    "a held stream that says too much": (lambda e, r, l: l[2].update(held={"Order/b": 3}), "Order/b 2 of 1004 was not in Kafka"),
    "an id that is remembered too early": (lambda e, r, l: l[1].update(ids=["a-6"]), "remembers a-6"),
    "a checkpoint that goes back": (lambda e, r, l: l[3].update(epoch=0), "went back from 1005 to 1001"),
    "a held stream that goes back": (lambda e, r, l: l.insert(3, dict(l[2], held={"Order/b": 1})), "was held at 2 and is at 1"),
}


def self_test():
    """Returns (how many planted faults were found, what went wrong)."""
    wrong = ["what is right is blamed: " + w for w in check(*sample())]
    for what, (plant, finding) in PLANTED.items():
        events, records, looks = sample()
        plant(events, records, looks)
        found = check(events, records, looks)
        if not any(finding in f for f in found):
            wrong.append("planted %s, found %s" % (what, found or "nothing"))
    events, records, looks = sample()
    if not any("and nothing was killed" in f for f in check(events, records, looks, quiet=True)):
        wrong.append("planted a duplicate where nothing was killed, found nothing")
    events, records, looks = sample()
    again(records, 0, dead=True, value=b'{"event_id":"a-1","stage":"route"}')
    again(records, 0, dead=True, value=b'{"event_id":"a-1","stage":"produce"}')
    found = [f for f in check(events, records, looks, lost_topic=True) if "it could be published" in f]
    if len(found) != 1:
        wrong.append("planted an event in the DLQ for another reason than its topic, found %s" % (found or "nothing"))
    # What a deleted topic held counts as delivered: it goes on in the next one.
    events, records, looks = sample()
    for n, record in enumerate(records[5:]):
        record.update(generation=1, offset=n)
    wrong += ["a topic that was deleted is blamed: " + w for w in check(events, records, looks)]
    return len(PLANTED) + 2, wrong
