noinst_LIBRARIES += %D%/libstore.a
%C%_libstore_a_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
%C%_libstore_a_SOURCES =
%C%_libstore_a_SOURCES += \
	%D%/store.c %D%/store.h %D%/store-private.h \
	%D%/store-append.c \
	%D%/store-deliver.c \
	%D%/store-group.c \
	%D%/store-seed.c \
	%D%/store-settle.c \
	%D%/store-sweep.c \
	%D%/verify.c %D%/verify.h %D%/verify-private.h \
	%D%/verify-indexed.c
