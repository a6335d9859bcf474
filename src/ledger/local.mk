noinst_LIBRARIES += %D%/libledger.a
%C%_libledger_a_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS) $(PQ_CFLAGS)
%C%_libledger_a_SOURCES = \
	%D%/ledger.c %D%/ledger.h \
	%D%/ledger-fault.c \
	%D%/ledger-plant.c \
	%D%/ledger-sqlite.c %D%/ledger-sqlite.h \
	%D%/ledger-sqlite-append.c \
	%D%/ledger-sqlite-claim.c \
	%D%/ledger-sqlite-conn.c \
	%D%/ledger-sqlite-file.c \
	%D%/ledger-sqlite-read.c \
	%D%/ledger-sqlite-reseed.c \
	%D%/ledger-sqlite-schema.c \
	%D%/ledger-sqlite-seed.c \
	%D%/ledger-sqlite-version.c \
	%D%/ledger-sqlite-void.c %D%/ledger-sqlite-void.h
