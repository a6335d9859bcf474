noinst_LIBRARIES += %D%/libsetup.a
%C%_libsetup_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)
%C%_libsetup_a_SOURCES = \
	%D%/config.c %D%/config.h \
	%D%/config-file.c %D%/config-file.h \
	%D%/config-store.c %D%/config-store.h \
	%D%/conninfo.c %D%/conninfo.h \
	%D%/option.c %D%/option.h \
	%D%/option-table.c \
	%D%/stack.c %D%/stack.h %D%/stack-private.h \
	%D%/stack-check.c %D%/stack-dir.c %D%/stack-reindex.c \
	%D%/stack-s3.c %D%/stack-s3.h
