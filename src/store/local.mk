noinst_LIBRARIES += %D%/libstore.a
%C%_libstore_a_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
%C%_libstore_a_SOURCES =
%C%_libstore_a_SOURCES += \
	%D%/store.c %D%/store.h %D%/store-private.h \
	%D%/store-append.c \
	%D%/store-deliver.c \
	%D%/store-group.c \
	%D%/store-metrics.c %D%/store-metrics.h \
	%D%/store-queue.c \
	%D%/store-seed.c \
	%D%/store-settle.c \
	%D%/store-sweep.c \
	%D%/verify.c %D%/verify.h %D%/verify-private.h %D%/verify-work.h \
	%D%/verify-batch.c \
	%D%/verify-compare.c \
	%D%/verify-indexed.c \
	%D%/verify-native.c \
	%D%/verify-read.c \
	%D%/verify-state.c
%C%_libstore_a_SOURCES += \
	%D%/catalog.c %D%/catalog.h \
	%D%/catalog-body.c \
	%D%/catalog-dir.c \
	%D%/catalog-event.c \
	%D%/catalog-segment.c \
	%D%/layout.c %D%/layout.h %D%/layout-private.h \
	%D%/layout-indexed.c \
	%D%/layout-native.c \
	%D%/checkpoint.c %D%/checkpoint.h \
	%D%/tail-count.c %D%/tail-count.h \
	%D%/tail-lease.c %D%/tail-lease.h \
	%D%/tail.c %D%/tail.h %D%/tail-private.h \
	%D%/tail-ahead.c \
	%D%/tail-held.c \
	%D%/tail-native.c \
	%D%/tail-page.c \
	%D%/tail-queue.c \
	%D%/tail-walk.c \
	%D%/view.c %D%/view.h %D%/view-private.h \
	%D%/view-ahead.c \
	%D%/view-body.c \
	%D%/view-entry.c \
	%D%/view-find.c \
	%D%/view-fresh.c \
	%D%/view-keep.c \
	%D%/view-ledger.c \
	%D%/view-list.c \
	%D%/view-objects.c \
	%D%/view-refresh.c \
	%D%/view-stream.c
