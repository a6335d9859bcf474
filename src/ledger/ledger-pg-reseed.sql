-- SPDX-License-Identifier: Apache-2.0
-- One stream made equal to what the object store holds of it (design.md 5 "Re-seed";
-- model/native.py reseed).

-- The whole store was listed: what the ledger does not know is new, if nothing waits any more. 3:
-- another seeding came (o_number); 4: a stream still waits (o_type, o_id).
CREATE OR REPLACE FUNCTION complete(p_prefix text, p_middle text, p_seen pg_lsn, p_seeding bigint,
	OUT code integer, OUT at pg_lsn,
	OUT o_number bigint, OUT o_type text, OUT o_id text) LANGUAGE plpgsql AS $$
BEGIN
	LOCK TABLE pending IN EXCLUSIVE MODE;
	code := 0;
	at := pg_current_wal_flush_lsn();
	SELECT e.number INTO o_number FROM seeding e, store o
		WHERE e.identity = identity(p_prefix, p_middle, o.xmin)
		AND pg_current_wal_insert_lsn() >= p_seen;
	IF NOT FOUND THEN
		code := fence(p_seen);
	ELSIF o_number <> p_seeding THEN
		code := 3;
	ELSE
		SELECT s.type, s.id INTO o_type, o_id FROM streams s WHERE s.mark < p_seeding
			ORDER BY s.stream LIMIT 1;
		IF FOUND THEN
			code := 4;
		ELSE
			UPDATE seeding SET complete = true WHERE NOT complete;
		END IF;
	END IF;
END $$;

-- In this order, so that an id never stands in two rows: choose where each listed id stands; take
-- out the unsettled rows that the objects contradict; take out the voids; enter the objects; put
-- what was taken out and may stay at the end; fill the holes. The objects come by number;
-- p_event_id null: no event. 3: another seeding came (o_number); 4: o_number, up to p_after, is not
-- settled.
CREATE OR REPLACE FUNCTION reseed(p_prefix text, p_middle text, p_seen pg_lsn, p_seeding bigint,
	p_type text, p_id text, p_after bigint,
	p_number bigint[], p_event_id text[], p_event_type text[], p_size bigint[],
	p_occurred bigint[], p_recorded bigint[],
	p_digest bytea[], OUT code integer, OUT at pg_lsn, OUT o_number bigint, OUT o_added bigint,
	OUT o_replaced bigint,
	OUT o_moved bigint, OUT o_dropped bigint, OUT o_voids bigint, OUT o_which text)
	LANGUAGE plpgsql AS $$
DECLARE
	g record; s record; r record; b record;
	suspect boolean; enter boolean[]; same boolean[]; times bigint[];
	n integer := coalesce(array_length(p_number, 1), 0);
	open_number bigint[]; open_id text[]; open_expected boolean[];
	moved events[] := '{}'; e events;
	stamp bigint; final bigint; void_last bigint := 0; void_sum bigint := 0;
	next bigint; now bigint;
BEGIN
	LOCK TABLE pending IN ROW EXCLUSIVE MODE;
	-- each plan for these very lists, which may be long; a re-seed that a crash takes back
	-- takes the stream's mark with it, and all that came after
	PERFORM set_config('plan_cache_mode', 'force_custom_plan', true),
		set_config('enable_hashjoin', 'on', true),
		set_config('enable_mergejoin', 'on', true),
		set_config('synchronous_commit', 'off', true);
	code := 0;
	o_added := 0; o_replaced := 0; o_moved := 0; o_dropped := 0; o_voids := 0;
	at := pg_current_wal_flush_lsn();
	SELECT x.number, x.floor_us, x.suspect_below INTO g FROM seeding x, store o
		WHERE x.identity = identity(p_prefix, p_middle, o.xmin)
		AND pg_current_wal_insert_lsn() >= p_seen;
	IF NOT FOUND THEN
		code := fence(p_seen);
		RETURN;
	ELSIF g.number <> p_seeding THEN
		code := 3;
		o_number := g.number;
		RETURN;
	END IF;
	INSERT INTO streams(type, id, mark, made) SELECT p_type, p_id, 0, made_now(g.number)
		WHERE NOT EXISTS (SELECT FROM streams x WHERE x.type = p_type AND x.id = p_id)
		ON CONFLICT DO NOTHING;
	SELECT x.stream, x.last, x.mark INTO STRICT s FROM streams x WHERE x.type = p_type
		AND x.id = p_id FOR NO KEY UPDATE;
	suspect := s.mark < g.suspect_below;
	now := now_us();

	-- what is unsettled; a settle under way is waited for
	SELECT array_agg(u.number ORDER BY u.number), array_agg(x.event_id ORDER BY u.number),
		array_agg(u.expected ORDER BY u.number)
		INTO open_number, open_id, open_expected
		FROM (SELECT p.number, p.expected FROM pending p WHERE p.stream = s.stream
		ORDER BY p.number FOR UPDATE) u
		JOIN events x ON x.stream = s.stream AND x.number = u.number;
	IF open_number[1] <= p_after THEN
		code := 4;
		o_number := open_number[1];
		RETURN;
	END IF;

	-- an id that is listed several times, or stands in a row, is entered once: where a row has
	-- it, else at the lowest number
	enter := array_fill(false, ARRAY[n]);
	FOR r IN SELECT DISTINCT ON (o.event_id) o.n, o.number, x.stream AS row_stream,
		x.number AS row_number
		FROM unnest(p_number, p_event_id) WITH ORDINALITY o(number, event_id, n)
		LEFT JOIN events x ON x.event_id = o.event_id
		WHERE o.event_id <> ''
		ORDER BY o.event_id, x.stream = s.stream AND x.number = o.number DESC, o.number LOOP
		IF r.row_stream = s.stream THEN
			IF r.row_number <= p_after THEN
				CONTINUE;	-- entered before the list begins: here nowhere
			ELSIF r.row_number <> r.number THEN
				-- its row of pending, if any, is looked at after this
				DELETE FROM events x WHERE x.stream = s.stream
					AND x.number = r.row_number;
			END IF;
		ELSIF r.row_stream IS NOT NULL THEN
			-- an unsettled row of another stream gives way: its number becomes a void
			-- there
			DELETE FROM pending p WHERE p.stream = r.row_stream
				AND p.number = r.row_number;
			IF NOT FOUND THEN
				CONTINUE;
			END IF;
			UPDATE events x SET span = 1, event_id = NULL, event_type = NULL,
				size = NULL, occurred_us = NULL, body = NULL,
				digest = NULL WHERE x.stream = r.row_stream
					AND x.number = r.row_number;
		END IF;
		enter[r.n] := true;
	END LOOP;

	-- an unsettled row whose number is free keeps it, unless the object store has its id, or it
	-- is from another line of the ledger
	FOR r IN SELECT u.number, u.id, u.expected, u.id = ANY (p_event_id) AS listed
		FROM unnest(open_number, open_id, open_expected) u(number, id, expected)
		LEFT JOIN unnest(p_number, p_event_id, enter) o(number, id, enter)
			ON o.number = u.number
		WHERE NOT coalesce(o.enter AND o.id = u.id, false)
		AND (o.number IS NOT NULL OR u.id = ANY (p_event_id) OR suspect)
		ORDER BY u.number LOOP
		DELETE FROM events x WHERE x.stream = s.stream AND x.number = r.number RETURNING x.*
			INTO e;
		DELETE FROM pending p WHERE p.stream = s.stream AND p.number = r.number;
		IF r.listed THEN
			CONTINUE;
		ELSIF r.expected THEN
			o_dropped := o_dropped + 1;
			IF o_dropped <= 10 THEN
				o_which := coalesce(o_which || ', ', 'number ')
					|| format('%s ''%s''', r.number, left(r.id, 40));
			END IF;
		ELSE
			moved := moved || e;
		END IF;
	END LOOP;

	-- the voids above p_after; one that reaches beyond it ends there
	SELECT x.number, x.span, x.recorded_us INTO r FROM events x WHERE x.stream = s.stream
		AND x.number <= p_after
		ORDER BY x.number DESC LIMIT 1;
	stamp := coalesce(r.recorded_us, 0);
	IF r.number + r.span > p_after + 1 THEN
		void_last := r.number + r.span - 1;
		void_sum := void_last - p_after;
		UPDATE events x SET span = p_after + 1 - x.number WHERE x.stream = s.stream
			AND x.number = r.number;
	END IF;
	WITH v AS (
		DELETE FROM events x WHERE x.stream = s.stream AND x.number > p_after
			AND x.event_id IS NULL RETURNING x.number, x.span
	)
	SELECT greatest(void_last, max(v.number + v.span - 1)), void_sum + coalesce(sum(v.span), 0)
		INTO void_last, void_sum FROM v;

	-- the objects; no recorded time before the one below
	SELECT array_agg(c.same ORDER BY c.n), array_agg(c.us ORDER BY c.n),
		count(*) FILTER (WHERE c.enter AND NOT c.there),
		count(*) FILTER (WHERE c.enter AND c.there AND NOT c.same_id),
			coalesce(max(c.us), stamp)
		INTO same, times, o_added, o_replaced, stamp
		FROM (SELECT o.n, o.us, o.enter, x.number IS NOT NULL AS there,
		coalesce(x.event_id = o.event_id, false) AS same_id,
			coalesce(o.enter AND x.event_id = o.event_id AND x.recorded_us = o.us
				AND coalesce(x.occurred_us, x.recorded_us) = o.occurred
				AND x.size = o.size AND x.digest = o.digest, false) AS same
			FROM (SELECT v.*,
			greatest(stamp, max(v.recorded) FILTER (WHERE v.enter) OVER (ORDER BY v.n))
			AS us
				FROM unnest(p_number, p_event_id, p_size, p_occurred, p_recorded,
				p_digest, enter) WITH ORDINALITY
				v(number, event_id, size, occurred, recorded, digest, enter, n)) o
			LEFT JOIN events x ON x.stream = s.stream AND x.number = o.number) c;
	DELETE FROM pending p USING unnest(p_number) o(number) WHERE p.stream = s.stream
		AND p.number = o.number;
	DELETE FROM events x USING unnest(p_number, same) o(number, same)
		WHERE x.stream = s.stream AND x.number = o.number AND NOT o.same;
	INSERT INTO events(stream, number, recorded_us, occurred_us, span, size, event_id,
		event_type, digest)
		SELECT s.stream, o.number, o.us, CASE WHEN o.enter THEN o.occurred END,
			CASE WHEN o.enter THEN 0 ELSE 1 END,
			CASE WHEN o.enter THEN o.size END, CASE WHEN o.enter THEN o.event_id END,
			CASE WHEN o.enter THEN o.type END,
			CASE WHEN o.enter THEN o.digest END
		FROM unnest(p_number, p_event_id, p_event_type, p_size, p_occurred, p_digest, enter,
		same, times)
			o(number, event_id, type, size, occurred, digest, enter, same, us)
		WHERE NOT o.same;

	-- to the end, stamped anew
	SELECT x.number + greatest(x.span, 1) - 1 AS number, x.recorded_us INTO r FROM events x
		WHERE x.stream = s.stream
		ORDER BY x.number DESC LIMIT 1;
	final := greatest(s.last, r.number);
	stamp := greatest(stamp, g.floor_us, now, r.recorded_us);
	FOREACH e IN ARRAY moved LOOP
		final := final + 1;
		UPDATE bodies y SET number = final WHERE y.seq = e.body
			RETURNING length(y.head) + length(y.tail) AS size INTO b;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'the body of event % is lost', e.event_id
				USING ERRCODE = 'data_corrupted';
		END IF;
		INSERT INTO events(stream, number, recorded_us, occurred_us, body, size, event_id,
			event_type, digest)
			VALUES (s.stream, final, stamp, e.occurred_us, e.body,
			b.size + 1 + length(final::text)
				+ CASE WHEN e.occurred_us IS NOT NULL THEN 0
					WHEN stamp % 1000000 = 0 THEN 22 ELSE 29 END,
				e.event_id, e.event_type, e.digest);
		INSERT INTO pending(stream, number, recorded_us, lease_until, expected)
			VALUES (s.stream, final, stamp, 0, false);
		o_moved := o_moved + 1;
	END LOOP;

	-- below the highest number every number has a row; what was a void stays one, for readers
	-- may have passed it
	INSERT INTO events(stream, number, span, recorded_us)
		SELECT s.stream, h.next, h.number - h.next, stamp
		FROM (SELECT x.number, coalesce(lag(x.number + greatest(x.span,
		1)) OVER (ORDER BY x.number), p_after + 1) AS next
			FROM events x WHERE x.stream = s.stream AND x.number > p_after) h
		WHERE h.number > h.next;
	SELECT coalesce(max(x.number + greatest(x.span, 1)), p_after + 1) INTO next FROM events x
		WHERE x.stream = s.stream AND x.number > p_after;
	IF void_last >= next THEN
		INSERT INTO events(stream, number, span, recorded_us)
			VALUES (s.stream, next, void_last + 1 - next, stamp);
	END IF;
	SELECT greatest(coalesce(sum(x.span), 0) - void_sum, 0) INTO o_voids FROM events x
		WHERE x.stream = s.stream AND x.number > p_after;

	SELECT x.number + greatest(x.span, 1) - 1 AS number, x.recorded_us INTO r FROM events x
		WHERE x.stream = s.stream
		ORDER BY x.number DESC LIMIT 1;
	UPDATE streams x SET mark = g.number, last = coalesce(r.number, 0),
		last_us = coalesce(r.recorded_us, 0)
		WHERE x.stream = s.stream AND (x.mark, x.last, x.last_us) IS DISTINCT
		FROM (g.number, coalesce(r.number, 0), coalesce(r.recorded_us, 0));
END $$;
