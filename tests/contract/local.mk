if HAVE_CHECK
check_PROGRAMS += %D%/test-object
TESTS += %D%/test-object
%C%_test_object_SOURCES = %D%/test-object.c
%C%_test_object_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_object_LDADD = src/object/libobject.a src/event/libevent.a src/base/libbase.a $(OBJECT_LIBS) $(CHECK_LIBS)
endif

if HAVE_CHECK
check_PROGRAMS += %D%/test-ledger
TESTS += %D%/test-ledger
%C%_test_ledger_SOURCES = %D%/test-ledger.c
%C%_test_ledger_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_ledger_LDADD = src/ledger/libledger.a src/event/libevent.a src/base/libbase.a \
	$(LEDGER_LIBS) $(OBJECT_LIBS) $(CHECK_LIBS)
endif
