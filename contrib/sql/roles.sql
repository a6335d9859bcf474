-- SPDX-License-Identifier: Apache-2.0
-- roles.sql - the roles of a ledger in PostgreSQL, each with the least that it needs. Run once per cluster by a role that may create roles
-- (psql -f roles.sql), before 'evfsctl init', which grants them their rights on the tables that it makes. May be run again.
--
--   evfs_owner      makes, upgrades and empties the schema ('evfsctl init', 'reindex'); nothing else needs it
--   evfs_appender   a mount that writes, a sweeper: rows, no tables
--   evfs_reader     a read-only mount, 'evfsctl verify'
--   evfs_publisher  reads, raises the floor under the times of new events, holds the lease of the active publisher
--
-- None can log in. Grant them to those that do:
--   CREATE ROLE mount1 LOGIN PASSWORD '...'; GRANT evfs_appender TO mount1;
--   CREATE ROLE admin1 LOGIN; GRANT evfs_owner TO admin1; ALTER ROLE admin1 SET role = evfs_owner;
-- and let the owner make its schema in the database:
--   GRANT CREATE ON DATABASE events TO evfs_owner;
DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY ARRAY['evfs_owner', 'evfs_appender', 'evfs_reader', 'evfs_publisher'] LOOP
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
			EXECUTE format('CREATE ROLE %I NOLOGIN', name);
		END IF;
	END LOOP;
END $$;
