noinst_LIBRARIES += %D%/libtools.a
%C%_libtools_a_SOURCES = \
	%D%/batch.c %D%/batch.h \
	%D%/output.c %D%/output.h \
	%D%/place.c %D%/place.h \
	%D%/verb.c %D%/verb.h \
	%D%/verb-append.c \
	%D%/verb-doctor.c \
	%D%/verb-init.c \
	%D%/verb-ls.c \
	%D%/verb-publisher.c %D%/verb-publisher.h \
	%D%/verb-publisher-replay.c \
	%D%/verb-publisher-rewind.c \
	%D%/verb-read.c \
	%D%/verb-reindex.c \
	%D%/verb-status.c \
	%D%/verb-tail.c \
	%D%/verb-verify.c \
	%D%/walk.c %D%/walk.h

bin_PROGRAMS += evfsctl
evfsctl_SOURCES = %D%/main.c
evfsctl_LDADD = %D%/libtools.a src/publisher/libpublisher.a src/setup/libsetup.a src/store/libstore.a src/sink/libsink.a \
	src/ledger/libledger.a src/object/libobject.a src/event/libevent.a src/monitor/libmonitor.a src/base/libbase.a \
	$(KAFKA_LIBS) $(MICROHTTPD_LIBS) $(LEDGER_LIBS) $(OBJECT_LIBS)
