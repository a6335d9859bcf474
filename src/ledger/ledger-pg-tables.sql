-- SPDX-License-Identifier: Apache-2.0
-- The tables of one store, made by 'evfsctl init' in a schema of their own (search_path names it).
-- An append of one event touches one page each of streams (HOT), events and its three indexes,
-- bodies and its index, pending and its two; a settle one of pending.

CREATE TABLE version (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	number integer NOT NULL
);
INSERT INTO version(number) VALUES (1);

-- One row that is never updated: its xmin is a part of the ledger's identity.
CREATE TABLE store (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	uuid uuid NOT NULL,
	place text NOT NULL,
	created timestamptz NOT NULL DEFAULT now()
);

-- The one row that says what the last seeding wrote down. suspect_below: what is unsettled in a
-- stream with a lower mark is another line's. complete: a stream that is not there is new.
CREATE TABLE seeding (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	number bigint NOT NULL DEFAULT 0,
	identity text NOT NULL DEFAULT '',
	floor_us bigint NOT NULL DEFAULT 0,
	suspect_below bigint NOT NULL DEFAULT 0,
	complete boolean NOT NULL DEFAULT false
) WITH (fillfactor = 20);
INSERT INTO seeding DEFAULT VALUES;

-- last: the last number; last_us: the recorded time there. mark: the seeding under which it was re-
-- seeded. made: see made_now().
CREATE TABLE streams (
	stream bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	type text COLLATE "C" NOT NULL,
	id text COLLATE "C" NOT NULL,
	last bigint NOT NULL DEFAULT 0,
	last_us bigint NOT NULL DEFAULT 0,
	mark bigint NOT NULL,
	made bigint NOT NULL,
	UNIQUE (type, id)
) WITH (fillfactor = 70);
CREATE INDEX streams_made ON streams(made, stream);

-- span > 0: a void, numbers number .. number + span - 1 have no event. occurred_us null: as
-- recorded_us, the writer named no time. body: bodies.seq, even after that row went.
CREATE TABLE events (
	stream bigint NOT NULL,
	number bigint NOT NULL,
	recorded_us bigint NOT NULL,
	occurred_us bigint,
	body bigint,
	span bigint NOT NULL DEFAULT 0,
	size bigint,
	event_id text COLLATE "C",
	event_type text COLLATE "C",
	digest bytea,
	PRIMARY KEY (stream, number)
);
CREATE UNIQUE INDEX events_id ON events(event_id) WHERE event_id IS NOT NULL;
CREATE INDEX events_time ON events(recorded_us, stream, number) WHERE event_id IS NOT NULL;

-- The pieces of the bodies of recent events, in the order of their commits. Kept as they are: they
-- go in 15 minutes.
CREATE TABLE bodies (
	seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	stream bigint NOT NULL,
	number bigint NOT NULL,
	made_us bigint NOT NULL,
	head bytea NOT NULL,
	tail bytea NOT NULL
) WITH (toast_tuple_target = 8160);
ALTER TABLE bodies ALTER head SET STORAGE EXTERNAL, ALTER tail SET STORAGE EXTERNAL;

-- The events that are not settled. Who appends holds a ROW EXCLUSIVE lock on it before it looks at
-- anything: see ledger_seed and the publisher's horizon.
CREATE TABLE pending (
	stream bigint NOT NULL,
	number bigint NOT NULL,
	recorded_us bigint NOT NULL,
	lease_until bigint NOT NULL,
	attempts integer NOT NULL DEFAULT 0,
	expected boolean NOT NULL,
	PRIMARY KEY (stream, number)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
	autovacuum_vacuum_insert_threshold = 50000);
CREATE INDEX pending_time ON pending(recorded_us, stream, number);

-- Who may do what only one may, until when by the ledger's clock: the active publisher. Each taking or
-- renewing is one update of one page (HOT).
CREATE TABLE leases (
	name text COLLATE "C" PRIMARY KEY,
	token text COLLATE "C" NOT NULL,
	taken_us bigint NOT NULL,
	until_us bigint NOT NULL
) WITH (fillfactor = 20);

-- What append answers: a row per item (known: a row per event). item 0: about all of it.
CREATE TYPE append_answer AS (
	item integer,
	code integer,
	stream bigint,
	last bigint,		-- of the stream before
	number bigint,		-- of the item's first event; of the event
	recorded_us bigint,
	settled boolean,
	detail text,		-- the event id that decided
	at pg_lsn		-- how far the log is, to be believed once the commit is known
);
