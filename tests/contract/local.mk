if HAVE_CHECK
check_PROGRAMS += %D%/test-object
TESTS += %D%/test-object
%C%_test_object_SOURCES = %D%/test-object.c %D%/object-backend.c %D%/object-backend.h \
	%D%/object-cases.c %D%/object-list-cases.c %D%/object-dir-cases.c %D%/object-s3-cases.c
%C%_test_object_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_object_LDADD = src/object/libobject.a src/event/libevent.a src/base/libbase.a $(OBJECT_LIBS) $(CHECK_LIBS)
endif

if HAVE_CHECK
check_PROGRAMS += %D%/test-ledger %D%/test-ledger-pg
TESTS += %D%/test-ledger %D%/test-ledger-pg
ledger_cases = %D%/test-ledger.c %D%/test-ledger-reseed.c %D%/test-ledger-horizon.c %D%/test-ledger-order.c \
	%D%/ledger-harness.c %D%/ledger-harness.h
ledger_test_libs = src/ledger/libledger.a src/event/libevent.a src/base/libbase.a $(LEDGER_LIBS) $(OBJECT_LIBS) $(CHECK_LIBS)
%C%_test_ledger_SOURCES = $(ledger_cases)
%C%_test_ledger_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_ledger_LDADD = $(ledger_test_libs)
# the same over PostgreSQL
%C%_test_ledger_pg_SOURCES = $(ledger_cases) %D%/ledger-pg-server.c %D%/ledger-pg-server.h
%C%_test_ledger_pg_CPPFLAGS = $(AM_CPPFLAGS) -DTEST_PG
%C%_test_ledger_pg_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(PQ_CFLAGS)
%C%_test_ledger_pg_LDADD = $(ledger_test_libs)
endif

if HAVE_CHECK
check_PROGRAMS += %D%/test-sink %D%/test-sink-kafka
TESTS += %D%/test-sink %D%/test-sink-kafka
sink_cases = %D%/test-sink.c %D%/sink-harness.c %D%/sink-harness.h
sink_test_libs = src/sink/libsink.a src/base/libbase.a $(KAFKA_LIBS) $(LEDGER_LIBS) $(OBJECT_LIBS) $(CHECK_LIBS)
%C%_test_sink_SOURCES = $(sink_cases) %D%/sink-ndjson-cases.c %D%/sink-mock-cases.c
%C%_test_sink_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(KAFKA_CFLAGS)
%C%_test_sink_LDADD = $(sink_test_libs)
# the same over a real broker
%C%_test_sink_kafka_SOURCES = $(sink_cases) %D%/sink-kafka-cases.c
%C%_test_sink_kafka_CPPFLAGS = $(AM_CPPFLAGS) -DTEST_KAFKA
%C%_test_sink_kafka_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(KAFKA_CFLAGS)
%C%_test_sink_kafka_LDADD = $(sink_test_libs)
endif
