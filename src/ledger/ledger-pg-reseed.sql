-- SPDX-License-Identifier: Apache-2.0
-- One stream made equal to what the object store holds of it (design.md 5 "Re-seed"; model/native.py reseed).

-- The whole store was listed: what the ledger does not know is new, if nothing waits any more. 3: another seeding came (o_number);
-- 4: a stream still waits (o_type, o_id).
CREATE OR REPLACE FUNCTION complete(p_prefix text, p_middle text, p_seen pg_lsn, p_seeding bigint, OUT code integer, OUT at pg_lsn,
	OUT o_number bigint, OUT o_type text, OUT o_id text) LANGUAGE plpgsql AS $$
BEGIN
	LOCK TABLE pending IN EXCLUSIVE MODE;
	code := 0;
	at := pg_current_wal_flush_lsn();
	SELECT e.number INTO o_number FROM seeding e, store o
		WHERE e.identity = identity(p_prefix, p_middle, o.xmin) AND pg_current_wal_insert_lsn() >= p_seen;
	IF NOT FOUND THEN
		code := fence(p_seen);
	ELSIF o_number <> p_seeding THEN
		code := 3;
	ELSE
		SELECT s.type, s.id INTO o_type, o_id FROM streams s WHERE s.mark < p_seeding ORDER BY s.stream LIMIT 1;
		IF FOUND THEN
			code := 4;
		ELSE
			UPDATE seeding SET complete = true WHERE NOT complete;
		END IF;
	END IF;
END $$;
