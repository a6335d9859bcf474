noinst_LIBRARIES += %D%/libledger.a
%C%_libledger_a_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
%C%_libledger_a_SOURCES = \
	%D%/ledger.c %D%/ledger.h \
	%D%/ledger-sqlite.c \
	%D%/ledger-sqlite-version.c \
	%D%/ledger-fault.c
