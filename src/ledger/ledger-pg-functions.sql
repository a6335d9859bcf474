-- SPDX-License-Identifier: Apache-2.0
-- What the ledger does in PostgreSQL; 'evfsctl init' replaces these functions when it upgrades.
-- They run with the rights of who calls them, in sessions set up by ledger-pg-conn.c (search_path,
-- read committed, generic plans).
--
-- p_prefix and p_middle are the parts of the identity that can't change within a connection: see
-- identity(). p_seen is the highest WAL position that the caller saw.

-- The ledger's clock: microseconds since 1970.
CREATE OR REPLACE FUNCTION now_us() RETURNS bigint LANGUAGE sql VOLATILE AS
	$$ SELECT (date_part('epoch', clock_timestamp()) * 1000000)::bigint $$;

-- Where this ledger lives: system, timeline, database, and the transaction that wrote the store's
-- row.
CREATE OR REPLACE FUNCTION identity(p_prefix text, p_middle text, p_xmin xid) RETURNS text
	LANGUAGE sql VOLATILE AS
	$$ SELECT p_prefix || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
		|| p_middle || p_xmin::text $$;

-- When a stream is made: the seeding and the transaction. Those that may still be under way have
-- none below made_until(): that is where the next question for new streams goes on.
CREATE OR REPLACE FUNCTION made_now(p_seeding bigint) RETURNS bigint LANGUAGE sql VOLATILE AS
	$$ SELECT (p_seeding << 44) + pg_current_xact_id()::text::bigint $$;
CREATE OR REPLACE FUNCTION made_until(p_seeding bigint) RETURNS bigint LANGUAGE sql STABLE AS
	$$ SELECT (p_seeding << 44) + pg_snapshot_xmin(pg_current_snapshot())::text::bigint $$;

-- How far the log is, for the caller to remember: what the commit makes durable, or, where nothing
-- was written and so nothing is, what was before. What a crash can take back would look like a
-- server that was put back.
CREATE OR REPLACE FUNCTION log_end() RETURNS pg_lsn LANGUAGE sql VOLATILE AS
	$$ SELECT CASE WHEN pg_current_xact_id_if_assigned() IS NULL THEN pg_current_wal_flush_lsn()
		ELSE pg_current_wal_insert_lsn() END $$;

-- Why a call may not go on: 1: the ledger is not the one that was seeded. 2: the log is shorter
-- than the caller saw it, which says the same; then the written identity goes.
CREATE OR REPLACE FUNCTION fence(p_seen pg_lsn) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
	IF pg_current_wal_insert_lsn() >= p_seen THEN
		RETURN 1;
	END IF;
	UPDATE seeding SET identity = '' WHERE identity <> '';
	RETURN 2;
END $$;

-- Codes of append_answer: 0 committed, 1 known, 2 not the expected number, 3 the id is another
-- stream's, 4 the id has other content, 5 only some ids are stored (detail is), 6 the same (detail
-- is not), 7 the stream must be re-seeded. p_types and p_ids name each stream once, in order. Items
-- name their stream by its place there. Events stand in the order of their ids and name their item
-- and their place in it, from 0. That order, which is everyone's, leaves no deadlock.
CREATE OR REPLACE FUNCTION append(p_prefix text, p_middle text, p_seen pg_lsn, p_lease_us bigint,
	p_types text[], p_ids text[], p_item_stream integer[], p_item_n integer[],
	p_item_expect bigint[], p_item_skip boolean[],
	p_item integer[], p_place integer[], p_event_id text[], p_event_type text[], p_head bytea[],
	p_tail bytea[],
	p_size bigint[], p_occurred bigint[], p_digest bytea[])
RETURNS SETOF append_answer LANGUAGE plpgsql AS $$
DECLARE
	g record; s record; k record;
	now bigint; n integer := array_length(p_item_stream, 1);
	at integer; first bigint; us bigint;
	streams bigint[]; lasts bigint[]; times bigint[]; marks bigint[];	-- by stream
	known integer[]; taken text[]; taken_code integer[]; missing text[];	-- by item
	firsts bigint[]; item_us bigint[]; item_handle bigint[]; item_expected boolean[];
	wrote boolean := false; refused boolean := false; made boolean := false;
	any_known boolean := false;
	seqs bigint[];
	a append_answer;
BEGIN
	LOCK TABLE pending IN ROW EXCLUSIVE MODE;
	SELECT e.number, e.floor_us, e.complete INTO g FROM seeding e, store o
		WHERE e.identity = identity(p_prefix, p_middle, o.xmin)
		AND pg_current_wal_insert_lsn() >= p_seen;
	IF NOT FOUND THEN
		a.item := 0;
		a.code := fence(p_seen);
		a.at := log_end();
		RETURN NEXT a;
		RETURN;
	END IF;

	-- make what is missing, before anything is locked; then lock
	streams := array_fill(NULL::bigint, ARRAY[array_length(p_types, 1)]);
	lasts := streams;
	times := streams;
	marks := streams;
	IF g.complete THEN
		INSERT INTO streams(type, id, mark, made)
			SELECT v.type, v.id, g.number, made_now(g.number)
			FROM unnest(p_types, p_ids) WITH ORDINALITY v(type, id, n)
			WHERE NOT EXISTS (SELECT FROM streams x WHERE x.type = v.type
			AND x.id = v.id)
			ORDER BY v.n
			ON CONFLICT DO NOTHING;
		made := FOUND;
	END IF;
	FOR s IN SELECT v.n, x.stream, x.last, x.last_us, x.mark
		FROM unnest(p_types, p_ids) WITH ORDINALITY v(type, id, n)
		JOIN streams x ON x.type = v.type AND x.id = v.id ORDER BY v.n
		FOR NO KEY UPDATE OF x LOOP
		streams[s.n] := s.stream;
		lasts[s.n] := s.last;
		times[s.n] := s.last_us;
		marks[s.n] := s.mark;
	END LOOP;

	-- ids first; ids made one after another (UUIDv7) stand side by side, and where the range of
	-- a batch's is empty none of them is known
	FOR k IN SELECT v.item, v.id, x.stream, x.number,
			x.digest = v.digest
				AND (v.occurred IS NULL
				OR v.occurred = coalesce(x.occurred_us, x.recorded_us)) AS same
		FROM unnest(p_item, p_place, p_event_id, p_occurred, p_digest)
			v(item, place, id, occurred, digest)
		JOIN events x ON x.event_id = v.id
		WHERE EXISTS (SELECT FROM events y
		WHERE y.event_id BETWEEN p_event_id[1] AND p_event_id[array_length(p_event_id, 1)])
		ORDER BY v.item, v.place LOOP
		IF NOT any_known THEN
			any_known := true;
			known := array_fill(0, ARRAY[n]);
			taken_code := known;
			taken := array_fill(NULL::text, ARRAY[n]);
			missing := taken;
		END IF;
		known[k.item] := known[k.item] + 1;
		IF taken_code[k.item] = 0 THEN
			taken[k.item] := k.id;
			IF k.stream IS DISTINCT FROM streams[p_item_stream[k.item]] THEN
				taken_code[k.item] := 3;
			ELSIF NOT k.same THEN
				taken_code[k.item] := 4;
				missing[k.item] := k.number::text;
			END IF;
		END IF;
	END LOOP;

	now := now_us();
	firsts := array_fill(NULL::bigint, ARRAY[n]);
	item_us := firsts;
	item_handle := firsts;
	item_expected := array_fill(false, ARRAY[n]);
	FOR i IN 1 .. n LOOP
		at := p_item_stream[i];
		a := NULL;
		a.item := i;
		a.code := 0;
		a.stream := streams[at];
		a.last := lasts[at];
		IF streams[at] IS NULL OR marks[at] < g.number THEN
			a.code := 7;
		ELSIF any_known AND known[i] > 0 THEN
			IF taken_code[i] > 0 THEN
				a.code := taken_code[i];
				a.detail := taken[i];
				a.number := missing[i]::bigint;
			ELSIF known[i] < p_item_n[i] THEN
				a.code := 5;
				a.detail := taken[i];
			ELSE
				RETURN QUERY SELECT i, 1, x.stream, a.last, x.number, x.recorded_us,
					NOT EXISTS (SELECT FROM pending o WHERE o.stream = x.stream
						AND o.number = x.number), NULL::text,
					p_seen
					FROM unnest(p_item, p_place, p_event_id) v(item, place, id)
					JOIN events x ON x.event_id = v.id WHERE v.item = i
					ORDER BY v.place;
				refused := true;
				CONTINUE;
			END IF;
		ELSIF p_item_expect[i] <> a.last
			AND NOT (p_item_skip[i] AND p_item_expect[i] > a.last) THEN
			a.code := 2;
		END IF;
		IF a.code > 0 THEN
			refused := true;
			RETURN NEXT a;
			CONTINUE;
		END IF;
		first := coalesce(p_item_expect[i], a.last) + 1;
		us := greatest(times[at], now, g.floor_us);
		IF first > a.last + 1 THEN
			INSERT INTO events(stream, number, span, recorded_us)
				VALUES (a.stream, a.last + 1, first - a.last - 1, us);
		END IF;
		lasts[at] := first + p_item_n[i] - 1;
		times[at] := us;
		wrote := true;
		firsts[i] := first;
		item_us[i] := us;
		item_handle[i] := a.stream;
		item_expected[i] := p_item_expect[i] IS NOT NULL;
		a.number := first;
		a.recorded_us := us;
		RETURN NEXT a;
	END LOOP;

	IF wrote THEN
		seqs := ARRAY(SELECT nextval('bodies_seq_seq')
			FROM generate_series(1, array_length(p_item, 1)));
		INSERT INTO events(stream, number, recorded_us, occurred_us, body, size, event_id,
			event_type, digest)
			SELECT item_handle[v.item], firsts[v.item] + v.place, item_us[v.item],
				v.occurred, v.seq,
				v.size + length((firsts[v.item] + v.place)::text)
				+ CASE WHEN v.occurred IS NOT NULL THEN 0
					WHEN item_us[v.item] % 1000000 = 0 THEN 22 ELSE 29 END,
				v.id, v.type, v.digest
			FROM unnest(p_item, p_place, p_event_id, p_event_type, p_size, p_occurred,
			p_digest, seqs)
				v(item, place, id, type, size, occurred, digest, seq)
			WHERE firsts[v.item] IS NOT NULL;
		INSERT INTO bodies(seq, stream, number, made_us, head, tail) OVERRIDING SYSTEM VALUE
			SELECT v.seq, item_handle[v.item], firsts[v.item] + v.place, now, v.head,
				v.tail
			FROM unnest(p_item, p_place, p_head, p_tail, seqs)
				v(item, place, head, tail, seq)
			WHERE firsts[v.item] IS NOT NULL;
		INSERT INTO pending(stream, number, recorded_us, lease_until, expected)
			SELECT item_handle[v.item], firsts[v.item] + v.place, item_us[v.item],
				now + p_lease_us, item_expected[v.item]
			FROM unnest(p_item, p_place) v(item, place)
			WHERE firsts[v.item] IS NOT NULL;
		UPDATE streams x SET last = v.last, last_us = v.us
			FROM unnest(streams, lasts, times) v(stream, last, us)
			WHERE x.stream = v.stream AND x.last <> v.last;
	END IF;
	IF made AND refused THEN
		DELETE FROM streams x WHERE x.stream = ANY (streams) AND x.last = 0
			AND x.made = made_now(g.number) AND x.mark = g.number;
	END IF;
	a := NULL;
	a.item := 0;
	a.code := 0;
	a.at := log_end();
	RETURN NEXT a;
END $$;

-- The append of one event, without a look at its id: that it is known shows as a unique violation,
-- and the caller asks append. Statements of one table each: they cost half of what one statement
-- for all does.
CREATE OR REPLACE FUNCTION append_one(p_prefix text, p_middle text, p_seen pg_lsn,
	p_lease_us bigint, p_type text, p_id text,
	p_expect bigint, p_skip boolean, p_event_id text, p_event_type text, p_head bytea,
	p_tail bytea, p_size bigint,
	p_occurred bigint, p_digest bytea)
RETURNS SETOF append_answer LANGUAGE plpgsql AS $$
DECLARE
	g bigint; floor bigint; complete boolean; now bigint; handle bigint; final bigint; us bigint;
	body bigint;
BEGIN
	LOCK TABLE pending IN ROW EXCLUSIVE MODE;
	SELECT e.number, e.floor_us, e.complete, now_us() INTO g, floor, complete, now
		FROM seeding e, store o
		WHERE e.identity = identity(p_prefix, p_middle, o.xmin)
		AND pg_current_wal_insert_lsn() >= p_seen;
	-- none where that found none: g is null then
	UPDATE streams x SET last = x.last + 1, last_us = greatest(x.last_us, now, floor)
		WHERE x.type = p_type AND x.id = p_id AND x.mark >= g
		AND (p_expect IS NULL OR x.last = p_expect)
		RETURNING x.stream, x.last, x.last_us INTO handle, final, us;
	IF handle IS NULL THEN
		IF complete AND coalesce(p_expect, 0) = 0 THEN
			final := 1;
			us := greatest(now, floor);
			INSERT INTO streams(type, id, last, last_us, mark, made)
				VALUES (p_type, p_id, 1, us, g, made_now(g))
				ON CONFLICT DO NOTHING RETURNING stream INTO handle;
		END IF;
		IF handle IS NULL THEN
			RETURN QUERY SELECT * FROM append(p_prefix, p_middle, p_seen, p_lease_us,
				ARRAY[p_type], ARRAY[p_id], ARRAY[1], ARRAY[1], ARRAY[p_expect],
				ARRAY[p_skip], ARRAY[1], ARRAY[0], ARRAY[p_event_id],
				ARRAY[p_event_type], ARRAY[p_head], ARRAY[p_tail], ARRAY[p_size],
				ARRAY[p_occurred], ARRAY[p_digest]);
			RETURN;
		END IF;
	END IF;
	INSERT INTO bodies(stream, number, made_us, head, tail)
		VALUES (handle, final, now, p_head, p_tail) RETURNING seq INTO body;
	INSERT INTO events(stream, number, recorded_us, occurred_us, body, size, event_id,
		event_type, digest)
		VALUES (handle, final, us, p_occurred, body, p_size + length(final::text)
			+ CASE WHEN p_occurred IS NOT NULL THEN 0
				WHEN us % 1000000 = 0 THEN 22 ELSE 29 END,
			p_event_id, p_event_type, p_digest);
	INSERT INTO pending(stream, number, recorded_us, lease_until, expected)
		VALUES (handle, final, us, now + p_lease_us, p_expect IS NOT NULL);
	-- one expression: each is made ready anew in every transaction
	RETURN NEXT ROW(1, 0, handle, final - 1, final, us, false, NULL::text,
		pg_current_wal_insert_lsn())::append_answer;
END $$;

-- Lease up to p_max unsettled rows whose lease is over, oldest first, with bodies of p_bytes at
-- most (but one). The first row is about all of it: code, now.
CREATE OR REPLACE FUNCTION claim(p_prefix text, p_middle text, p_seen pg_lsn, p_lease_us bigint,
	p_max bigint, p_all boolean,
	p_bytes bigint, OUT code integer, OUT at pg_lsn, OUT now bigint, OUT stream bigint,
	OUT type text, OUT id text,
	OUT number bigint, OUT event_id text, OUT head bytea, OUT tail bytea, OUT own_time boolean,
	OUT recorded_us bigint,
	OUT attempts integer)
RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	g bigint;
BEGIN
	LOCK TABLE pending IN ROW EXCLUSIVE MODE;
	code := 0;
	now := now_us();
	SELECT e.number INTO g FROM seeding e, store o
		WHERE e.identity = identity(p_prefix, p_middle, o.xmin)
		AND pg_current_wal_insert_lsn() >= p_seen;
	IF NOT FOUND THEN
		code := fence(p_seen);
	END IF;
	at := pg_current_wal_flush_lsn();
	RETURN NEXT;
	IF code > 0 OR NOT EXISTS (SELECT FROM pending p) THEN
		RETURN;
	END IF;
	-- a crash of the server may take it back: the lease is only given again
	PERFORM set_config('synchronous_commit', 'off', true);
	RETURN QUERY
	WITH due AS MATERIALIZED (
		SELECT p.stream, p.number, p.recorded_us FROM pending p
			JOIN streams s ON s.stream = p.stream
		-- a lease far ahead was given before the clock stepped back
		WHERE (p.lease_until <= now OR p.lease_until > now + 3600000000 OR p_all)
		AND s.mark >= g
		ORDER BY p.recorded_us, p.stream, p.number LIMIT p_max
		FOR NO KEY UPDATE OF p SKIP LOCKED
	), sized AS (
		SELECT d.stream, d.number,
			sum(e.size) OVER (ORDER BY d.recorded_us, d.stream, d.number) - e.size
				AS before
		FROM due d JOIN events e ON e.stream = d.stream AND e.number = d.number
	), leased AS (
		UPDATE pending p SET lease_until = now + p_lease_us, attempts = p.attempts + 1
			FROM sized z
		WHERE p.stream = z.stream AND p.number = z.number AND z.before < p_bytes
		RETURNING p.stream, p.number, p.attempts - 1 AS attempts
	)
	SELECT 0, NULL::pg_lsn, now, l.stream, s.type, s.id, l.number, e.event_id, b.head, b.tail,
		e.occurred_us IS NOT NULL, e.recorded_us,
		l.attempts
	FROM leased l JOIN streams s ON s.stream = l.stream JOIN events e ON e.stream = l.stream
	AND e.number = l.number
		LEFT JOIN bodies b ON b.seq = e.body
	ORDER BY e.recorded_us, l.stream, l.number;
END $$;

-- Drop up to p_max bodies of settled events that are older than 15 minutes, from p_after on.
-- o_after: where to go on, 0: at the end. o_due: when the next will be old enough.
CREATE OR REPLACE FUNCTION purge(p_after bigint, p_max bigint, OUT o_after bigint, OUT o_due bigint)
	LANGUAGE plpgsql AS $$
DECLARE
	b record; old bigint[]; looked bigint := 0; now bigint := now_us();
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	o_after := 0;
	o_due := now + 900000000;
	FOR b IN SELECT x.seq, x.made_us FROM bodies x WHERE x.seq > p_after
		ORDER BY x.seq LIMIT p_max LOOP
		IF b.made_us >= now - 900000000 THEN
			o_after := 0;
			o_due := b.made_us + 900000001;
			EXIT;
		END IF;
		looked := looked + 1;
		o_after := b.seq;
		old[looked] := b.seq;
	END LOOP;
	IF looked = p_max THEN
		o_due := now;
	ELSE
		o_after := 0;
	END IF;
	IF looked > 0 THEN
		DELETE FROM bodies x WHERE x.seq = ANY (old)
			AND NOT EXISTS (SELECT FROM pending p WHERE p.stream = x.stream
			AND p.number = x.number);
	END IF;
END $$;

-- Rows that are gone, moved or another event's, and those of streams that wait for their re-seed,
-- are passed over.
CREATE OR REPLACE FUNCTION settle(p_prefix text, p_middle text, p_seen pg_lsn, p_stream bigint[],
	p_number bigint[], p_event_id text[],
	OUT code integer, OUT at pg_lsn) LANGUAGE plpgsql AS $$
DECLARE
	g bigint;
BEGIN
	LOCK TABLE pending IN ROW EXCLUSIVE MODE;
	-- a settle that a crash of the server takes back is only repeated
	PERFORM set_config('synchronous_commit', 'off', true);
	code := 0;
	SELECT e.number INTO g FROM seeding e, store o
		WHERE e.identity = identity(p_prefix, p_middle, o.xmin)
		AND pg_current_wal_insert_lsn() >= p_seen;
	IF NOT FOUND THEN
		code := fence(p_seen);
	ELSE
		DELETE FROM pending p
			USING unnest(p_stream, p_number, p_event_id) v(stream, number, id),
				events e, streams s
			WHERE p.stream = v.stream AND p.number = v.number AND e.stream = v.stream
			AND e.number = v.number
			AND e.event_id = v.id AND s.stream = v.stream AND s.mark >= g;
	END IF;
	at := pg_current_wal_flush_lsn();
END $$;

-- Write p_identity down as seeding p_number. No append is under way meanwhile. 3: the ledger lives
-- elsewhere by now (at o_identity); 4: it was seeded as o_number meanwhile.
CREATE OR REPLACE FUNCTION seed(p_prefix text, p_middle text, p_seen pg_lsn, p_identity text,
	p_number bigint, p_other_line boolean,
	p_floor bigint, OUT code integer, OUT at pg_lsn, OUT o_identity text, OUT o_number bigint)
	LANGUAGE plpgsql AS $$
BEGIN
	LOCK TABLE pending IN EXCLUSIVE MODE;
	code := 0;
	IF pg_current_wal_insert_lsn() < p_seen THEN
		code := fence(p_seen);	-- and go on: this is what is seeded now
	END IF;
	SELECT identity(p_prefix, p_middle, o.xmin), e.number INTO o_identity, o_number
		FROM store o, seeding e;
	IF o_identity IS DISTINCT FROM p_identity THEN
		code := 3;
	ELSIF p_number <= o_number THEN
		code := 4;
	ELSE
		UPDATE seeding SET number = p_number, identity = p_identity,
			floor_us = greatest(floor_us, p_floor), complete = false,
			suspect_below = CASE WHEN p_other_line THEN p_number ELSE suspect_below END;
	END IF;
	at := log_end();
END $$;
