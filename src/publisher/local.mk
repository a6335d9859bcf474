noinst_LIBRARIES += %D%/libpublisher.a
%C%_libpublisher_a_CFLAGS = $(AM_CFLAGS)
%C%_libpublisher_a_SOURCES = \
	%D%/publisher.c %D%/publisher.h %D%/publisher-private.h \
	%D%/publisher-active.c \
	%D%/publisher-ids.c \
	%D%/publisher-metrics.c %D%/publisher-metrics.h \
	%D%/publisher-recent.c \
	%D%/publisher-reconcile.c \
	%D%/publisher-save.c \
	%D%/publisher-send.c \
	%D%/publisher-window.c \
	%D%/property.c %D%/property.h \
	%D%/route.c %D%/route.h %D%/route-private.h \
	%D%/route-dead.c \
	%D%/target.c %D%/target.h

sbin_PROGRAMS += evfs-publisher
evfs_publisher_SOURCES = %D%/main.c
evfs_publisher_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
evfs_publisher_LDADD = %D%/libpublisher.a src/setup/libsetup.a src/store/libstore.a src/sink/libsink.a src/ledger/libledger.a \
	src/object/libobject.a src/event/libevent.a src/monitor/libmonitor.a src/base/libbase.a \
	$(KAFKA_LIBS) $(MICROHTTPD_LIBS) $(SYSTEMD_LIBS) $(LEDGER_LIBS) $(OBJECT_LIBS)
