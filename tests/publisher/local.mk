publisher_tests = %D%/test-publisher %D%/test-holes
TESTS += $(publisher_tests)
EXTRA_DIST += $(publisher_tests) %D%/delivered.py
TESTS += %D%/test-kill-cycles
EXTRA_DIST += %D%/test-kill-cycles %D%/run %D%/broker.py %D%/delivery.py %D%/process.py %D%/publication.py
TESTS += %D%/test-publisher-metrics
EXTRA_DIST += %D%/test-publisher-metrics
if HAVE_CHECK
check_PROGRAMS += %D%/test-publisher-faults
TESTS += %D%/test-publisher-faults
%C%_test_publisher_faults_SOURCES = %D%/test-publisher-faults.c
%C%_test_publisher_faults_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_publisher_faults_LDADD = src/publisher/libpublisher.a src/setup/libsetup.a src/store/libstore.a src/sink/libsink.a \
	src/ledger/libledger.a src/object/libobject.a src/event/libevent.a src/monitor/libmonitor.a src/base/libbase.a \
	$(CHECK_LIBS) $(KAFKA_LIBS) $(MICROHTTPD_LIBS) $(LEDGER_LIBS) $(OBJECT_LIBS)
endif
