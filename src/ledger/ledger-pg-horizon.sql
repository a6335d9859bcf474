-- SPDX-License-Identifier: Apache-2.0
-- A publisher's look at the end of the time line (struct ledger_horizon; design.md 8;
-- model/horizon.py): look, look_writers, look_pending and the read of events, in this order and
-- each a transaction of its own, so that each sees what was committed before it. They are sent in
-- one round trip; what one found reaches the next by settings of the session: evfs.floor (empty:
-- no more is to be done), evfs.seeding, evfs.busy, evfs.horizon (empty: nothing is to be told).

-- Take or renew the lease (p_lease null: none is needed; p_lease_us 0: give it back), then raise
-- the floor: appends that read it from now on are stamped at it or later. code: as fence says.
CREATE OR REPLACE FUNCTION look(p_prefix text, p_middle text, p_seen pg_lsn, p_lease text,
	p_token text, p_lease_us bigint,
	OUT code integer, OUT at pg_lsn, OUT leased boolean, OUT holder text, OUT o_uuid text,
	OUT o_identity text, OUT o_written text, OUT o_seeding bigint, OUT o_now bigint,
	OUT o_floor bigint, OUT o_complete boolean) LANGUAGE plpgsql AS $$
DECLARE
	renewed boolean := p_lease IS NULL; raised boolean := false;
	latest bigint; target bigint;
BEGIN
	PERFORM set_config('evfs.floor', '', false);
	leased := p_lease IS NULL;
	holder := '';
	o_now := now_us();
	SELECT 0, o.uuid::text, identity(p_prefix, p_middle, o.xmin), g.identity, g.number,
			g.floor_us, g.complete
		INTO code, o_uuid, o_identity, o_written, o_seeding, o_floor, o_complete
		FROM store o, seeding g;
	IF NOT FOUND OR o_written <> o_identity OR pg_current_wal_insert_lsn() < p_seen THEN
		code := fence(p_seen);
		at := log_end();
		RETURN;
	END IF;

	IF p_lease_us = 0 THEN
		UPDATE leases x SET token = '', until_us = 0
			WHERE x.name = p_lease AND x.token = p_token;
	ELSIF p_lease IS NOT NULL THEN
		renewed := EXISTS (SELECT FROM leases x WHERE x.name = p_lease
			AND x.token = p_token);
		-- where the clock stepped back since, it is the other's for as long again
		UPDATE leases x SET taken_us = o_now, until_us = o_now + x.until_us - x.taken_us
			WHERE x.name = p_lease AND x.token <> p_token
			AND x.taken_us > o_now AND x.until_us > o_now;
		-- who stands by writes nothing
		IF renewed OR NOT EXISTS (SELECT FROM leases x WHERE x.name = p_lease
			AND x.until_us > o_now) THEN
			INSERT INTO leases AS x (name, token, taken_us, until_us)
				VALUES (p_lease, p_token, o_now, o_now + p_lease_us)
				ON CONFLICT (name) DO UPDATE SET token = excluded.token,
				taken_us = excluded.taken_us, until_us = excluded.until_us
				WHERE x.token = p_token OR x.until_us <= o_now;
			leased := FOUND;
		END IF;
	END IF;
	holder := coalesce((SELECT x.token FROM leases x WHERE x.name = p_lease
		AND x.until_us > o_now), '');

	-- Only where there is something to tell, or it is a minute old. A clock that fell behind what
	-- it said before is carried on from there, a millisecond at a time; but what was stamped by
	-- one that is far ahead waits for its time, or all that follows would be stamped there.
	IF leased THEN
		SELECT max(e.recorded_us) INTO latest FROM events e WHERE e.event_id IS NOT NULL
			AND e.recorded_us < greatest(o_now, o_floor) + 60000000;
		IF latest / 1000 = o_now / 1000 THEN	-- it is told when its millisecond is over
			PERFORM pg_sleep(0.001);
			o_now := greatest(o_now, now_us());
		END IF;
		target := greatest(o_now, o_floor, CASE WHEN latest / 1000 > o_now / 1000
			THEN (latest / 1000 + 1) * 1000 END);
		raised := (latest >= o_floor - o_floor % 1000 OR o_now - o_floor >= 60000000)
			AND target > o_floor;
		IF raised THEN
			UPDATE seeding SET floor_us = target WHERE floor_us < target;
			o_floor := target;
		END IF;
	END IF;
	IF leased AND o_complete THEN
		PERFORM set_config('evfs.floor', o_floor::text, false),
			set_config('evfs.seeding', o_seeding::text, false);
	END IF;
	-- What is told was below a floor that stays: a clock that stepped back must not find an
	-- older one after a crash. A lease that is renewed may be: it is to be renewed again.
	IF raised OR NOT renewed THEN
		at := log_end();
	ELSE
		PERFORM set_config('synchronous_commit', 'off', true);
		at := pg_current_wal_flush_lsn();
	END IF;
END $$;

-- Who appends now and may have read an older floor: they hold a ROW EXCLUSIVE lock on pending, of
-- whatever role they are. They are waited for as long as p_wait_ms; those left are told, and
-- p_before asks for them again. A transaction that is prepared has another name from then on (by
-- PostgreSQL 14.0) or after a restart, so all that are prepared are waited for.
CREATE OR REPLACE FUNCTION look_writers(p_before text[], p_wait_ms integer) RETURNS text[]
	LANGUAGE plpgsql AS $$
DECLARE
	until timestamptz := clock_timestamp() + p_wait_ms * interval '1 millisecond';
	here oid := (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
	rest text[] := p_before;
BEGIN
	IF coalesce(current_setting('evfs.floor', true), '') = '' THEN
		RETURN NULL;
	END IF;
	LOOP
		SELECT array_agg(k.virtualtransaction) INTO rest FROM pg_locks k
			WHERE k.locktype = 'relation' AND k.database = here
			AND k.relation = 'pending'::regclass AND k.mode = 'RowExclusiveLock'
			AND k.granted AND k.pid IS DISTINCT FROM pg_backend_pid()
			AND (rest IS NULL OR k.pid IS NULL OR k.virtualtransaction = ANY (rest));
		EXIT WHEN rest IS NULL OR clock_timestamp() >= until;
		PERFORM pg_sleep(0.001);
	END LOOP;
	PERFORM set_config('evfs.busy', CASE WHEN rest IS NULL THEN '' ELSE 'yes' END, false);
	RETURN rest;
END $$;

-- The first row: how far it may be read (null: not at all). Then the streams that wait alone: the
-- p_max of those with a row that is unsettled for over a minute that have waited longest.
CREATE OR REPLACE FUNCTION look_pending(p_max bigint, OUT horizon bigint, OUT unsettled bigint,
	OUT stream bigint, OUT type text, OUT id text, OUT number bigint, OUT recorded_us bigint)
	RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	late bigint[]; oldest bigint; before bigint := now_us() - 60000000;
BEGIN
	PERFORM set_config('evfs.horizon', '', false);
	IF coalesce(current_setting('evfs.busy', true), '') = '' THEN
		horizon := nullif(current_setting('evfs.floor', true), '')::bigint;
	END IF;
	IF horizon IS NULL THEN
		RETURN NEXT;
		RETURN;
	END IF;
	SELECT array_agg(l.stream) INTO late
		FROM (SELECT p.stream FROM pending p WHERE p.recorded_us < before
		GROUP BY p.stream ORDER BY min(p.recorded_us), p.stream LIMIT p_max) l;
	SELECT p.recorded_us INTO oldest FROM pending p
		WHERE p.stream NOT IN (SELECT unnest(late)) ORDER BY p.recorded_us LIMIT 1;
	SELECT count(*) INTO unsettled FROM (SELECT FROM pending p LIMIT 10000) p;
	horizon := least(horizon, oldest);
	horizon := horizon - horizon % 1000;
	PERFORM set_config('evfs.horizon', horizon::text, false);
	RETURN NEXT;
	IF late IS NOT NULL THEN
		RETURN QUERY SELECT NULL::bigint, NULL::bigint, s.stream, s.type, s.id,
				min(p.number), min(p.recorded_us)
			FROM pending p JOIN streams s ON s.stream = p.stream
			WHERE p.stream = ANY (late)
			GROUP BY s.stream, s.type, s.id ORDER BY min(p.recorded_us), s.stream;
	END IF;
END $$;
