# Benches measure and are no part of `make check`; `make bench` runs them.
noinst_PROGRAMS += %D%/load %D%/s3-probe
%C%_load_SOURCES = %D%/load.c
%C%_s3_probe_SOURCES = %D%/s3-probe.c
%C%_s3_probe_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS) $(PQ_CFLAGS)
%C%_s3_probe_LDADD = src/object/libobject.a src/event/libevent.a src/base/libbase.a $(OBJECT_LIBS) $(PQ_LIBS)
noinst_PROGRAMS += %D%/ledger-pg
%C%_ledger_pg_SOURCES = %D%/ledger-pg.c
%C%_ledger_pg_CFLAGS = $(AM_CFLAGS) $(PQ_CFLAGS)
%C%_ledger_pg_LDADD = src/ledger/libledger.a src/event/libevent.a src/base/libbase.a $(LEDGER_LIBS) $(OBJECT_LIBS)
noinst_PROGRAMS += %D%/kafka-probe
%C%_kafka_probe_SOURCES = %D%/kafka-probe.c
%C%_kafka_probe_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
%C%_kafka_probe_LDADD = $(KAFKA_LIBS)
noinst_PROGRAMS += %D%/sink-kafka
%C%_sink_kafka_SOURCES = %D%/sink-kafka.c
%C%_sink_kafka_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
%C%_sink_kafka_LDADD = src/sink/libsink.a src/base/libbase.a $(KAFKA_LIBS)
EXTRA_DIST += %D%/run %D%/run-s3 %D%/run-publish %D%/bench.py %D%/mountbench-evfs.py %D%/peers-evfs.sh
.PHONY: bench
bench: all
	$(srcdir)/bench/run --build $(abs_builddir)
