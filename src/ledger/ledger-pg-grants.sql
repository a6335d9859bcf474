-- SPDX-License-Identifier: Apache-2.0
-- What the roles of contrib/sql/roles.sql may do with a store's tables, where these roles exist.
DO $$
DECLARE
	here text;
	name text;
BEGIN
	SELECT quote_ident(n.nspname) INTO here FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = 'seeding'::regclass;
	FOR name IN SELECT rolname FROM pg_roles
		WHERE rolname IN ('evfs_appender', 'evfs_reader', 'evfs_publisher') LOOP
		EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', here, name);
		EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %s TO %I', here, name);
		IF name = 'evfs_appender' THEN
			EXECUTE format('GRANT INSERT, UPDATE, DELETE'
				' ON streams, events, bodies, pending, leases TO %I', name);
			EXECUTE format('GRANT UPDATE ON seeding TO %I', name);
			EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %s TO %I', here,
				name);
		ELSIF name = 'evfs_publisher' THEN
			-- the floor under the times of new events; the written identity, which it
			-- may erase
			EXECUTE format('GRANT UPDATE (floor_us, identity) ON seeding TO %I', name);
			EXECUTE format('GRANT INSERT, UPDATE ON leases TO %I', name);
		END IF;
	END LOOP;
END $$;
