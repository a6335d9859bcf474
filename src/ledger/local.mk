noinst_LIBRARIES += %D%/libledger.a
%C%_libledger_a_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS) $(PQ_CFLAGS)
%C%_libledger_a_SOURCES = \
	%D%/ledger.c %D%/ledger.h \
	%D%/ledger-fault.c \
	%D%/ledger-pg.c %D%/ledger-pg.h \
	%D%/ledger-pg-append.c \
	%D%/ledger-pg-args.c \
	%D%/ledger-pg-check.c \
	%D%/ledger-pg-claim.c \
	%D%/ledger-pg-conn.c \
	%D%/ledger-pg-horizon.c \
	%D%/ledger-pg-query.c \
	%D%/ledger-pg-read.c \
	%D%/ledger-pg-reseed.c \
	%D%/ledger-pg-schema.c \
	%D%/ledger-pg-state.c \
	%D%/ledger-plant.c \
	%D%/ledger-sqlite.c %D%/ledger-sqlite.h \
	%D%/ledger-sqlite-append.c \
	%D%/ledger-sqlite-claim.c \
	%D%/ledger-sqlite-clear.c \
	%D%/ledger-sqlite-conn.c \
	%D%/ledger-sqlite-file.c \
	%D%/ledger-sqlite-horizon.c \
	%D%/ledger-sqlite-read.c \
	%D%/ledger-sqlite-reseed.c \
	%D%/ledger-sqlite-schema.c \
	%D%/ledger-sqlite-seed.c \
	%D%/ledger-sqlite-version.c \
	%D%/ledger-sqlite-void.c %D%/ledger-sqlite-void.h
nodist_%C%_libledger_a_SOURCES = %D%/ledger-pg-sql.c

# The SQL as C strings, ledger_pg_sql_NAME each.
ledger_sql = %D%/ledger-pg-tables.sql %D%/ledger-pg-functions.sql %D%/ledger-pg-reseed.sql %D%/ledger-pg-horizon.sql %D%/ledger-pg-grants.sql
EXTRA_DIST += $(ledger_sql) %D%/sql-to-c.awk
CLEANFILES += %D%/ledger-pg-sql.c
%D%/ledger-pg-sql.c: $(ledger_sql) %D%/sql-to-c.awk
	$(AM_V_GEN)$(MKDIR_P) %D% && (cd $(srcdir) && LC_ALL=C awk -f %D%/sql-to-c.awk $(ledger_sql)) >$@.new && mv $@.new $@
