if HAVE_CHECK
check_PROGRAMS += %D%/test-config
TESTS += %D%/test-config
%C%_test_config_SOURCES = %D%/test-config.c
%C%_test_config_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_config_LDADD = src/setup/libsetup.a src/base/libbase.a $(CRYPTO_LIBS) $(CHECK_LIBS)
endif

# json, time, name, key, draft, and the recorded vectors of the established system
if HAVE_CHECK
event_units = %D%/test-json %D%/test-time %D%/test-name %D%/test-key %D%/test-draft %D%/test-vectors
check_PROGRAMS += $(event_units)
TESTS += $(event_units)
event_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
event_ldadd = src/event/libevent.a src/base/libbase.a $(CHECK_LIBS) $(CRYPTO_LIBS)
%C%_test_json_SOURCES = %D%/test-json.c
%C%_test_json_CFLAGS = $(event_cflags)
%C%_test_json_LDADD = $(event_ldadd)
%C%_test_time_SOURCES = %D%/test-time.c
%C%_test_time_CFLAGS = $(event_cflags)
%C%_test_time_LDADD = $(event_ldadd)
%C%_test_name_SOURCES = %D%/test-name.c
%C%_test_name_CFLAGS = $(event_cflags)
%C%_test_name_LDADD = $(event_ldadd)
%C%_test_key_SOURCES = %D%/test-key.c
%C%_test_key_CFLAGS = $(event_cflags)
%C%_test_key_LDADD = $(event_ldadd)
%C%_test_draft_SOURCES = %D%/test-draft.c
%C%_test_draft_CFLAGS = $(event_cflags)
%C%_test_draft_LDADD = $(event_ldadd)
%C%_test_vectors_SOURCES = %D%/test-vectors.c %D%/established.c %D%/established.h
%C%_test_vectors_CPPFLAGS = $(AM_CPPFLAGS) -DVECTORS_DEFAULT='"$(abs_top_srcdir)/../shared/vectors"'
%C%_test_vectors_CFLAGS = $(event_cflags)
%C%_test_vectors_LDADD = $(event_ldadd)
endif

# the append protocol over real parts
if HAVE_CHECK
check_PROGRAMS += %D%/test-store
TESTS += %D%/test-store
%C%_test_store_SOURCES = %D%/test-store.c
%C%_test_store_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(SQLITE_CFLAGS)
%C%_test_store_LDADD = src/store/libstore.a src/ledger/libledger.a src/object/libobject.a src/event/libevent.a src/base/libbase.a \
	$(CHECK_LIBS) $(LEDGER_LIBS) $(OBJECT_LIBS)
endif

# layout and view: over a directory store and a SQLite ledger, and the captured bucket
if HAVE_CHECK
view_units = %D%/test-layout %D%/test-view
check_PROGRAMS += $(view_units)
TESTS += $(view_units)
view_ldadd = src/store/libstore.a src/ledger/libledger.a src/object/libobject.a src/event/libevent.a src/base/libbase.a \
	$(LEDGER_LIBS) $(OBJECT_LIBS) $(CHECK_LIBS)
%C%_test_layout_SOURCES = %D%/test-layout.c
%C%_test_layout_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_layout_LDADD = $(view_ldadd)
%C%_test_view_SOURCES = %D%/test-view.c
%C%_test_view_CPPFLAGS = $(AM_CPPFLAGS) -DVECTORS_DEFAULT='"$(abs_top_srcdir)/../shared/vectors"'
%C%_test_view_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_view_LDADD = $(view_ldadd)
endif

if HAVE_CHECK
check_PROGRAMS += %D%/test-ledger-sqlite
TESTS += %D%/test-ledger-sqlite
%C%_test_ledger_sqlite_SOURCES = %D%/test-ledger-sqlite.c
%C%_test_ledger_sqlite_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(SQLITE_CFLAGS)
%C%_test_ledger_sqlite_LDADD = src/ledger/libledger.a src/event/libevent.a src/base/libbase.a \
	$(LEDGER_LIBS) $(OBJECT_LIBS) $(CHECK_LIBS)
endif

# the mount's own state, without a kernel
if HAVE_CHECK
fs_units = %D%/test-fs-gather %D%/test-fs-file
check_PROGRAMS += $(fs_units)
TESTS += $(fs_units)
fs_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) $(FUSE_CFLAGS)
fs_ldadd = src/fs/libfs.a src/event/libevent.a src/base/libbase.a $(CHECK_LIBS) $(CRYPTO_LIBS)
%C%_test_fs_gather_SOURCES = %D%/test-fs-gather.c
%C%_test_fs_gather_CFLAGS = $(fs_cflags)
%C%_test_fs_gather_LDADD = $(fs_ldadd)
%C%_test_fs_file_SOURCES = %D%/test-fs-file.c
%C%_test_fs_file_CFLAGS = $(fs_cflags)
%C%_test_fs_file_LDADD = $(fs_ldadd)
endif

# the parts of S3 that need no server
if HAVE_CHECK
s3_units = %D%/test-s3-sign %D%/test-s3-error %D%/test-s3-list %D%/test-s3-cred
check_PROGRAMS += $(s3_units)
TESTS += $(s3_units)
s3_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS)
s3_ldadd = src/object/libobject.a src/event/libevent.a src/base/libbase.a $(OBJECT_LIBS) $(CHECK_LIBS)
%C%_test_s3_sign_SOURCES = %D%/test-s3-sign.c
%C%_test_s3_sign_CFLAGS = $(s3_cflags)
%C%_test_s3_sign_LDADD = $(s3_ldadd)
%C%_test_s3_error_SOURCES = %D%/test-s3-error.c
%C%_test_s3_error_CFLAGS = $(s3_cflags)
%C%_test_s3_error_LDADD = $(s3_ldadd)
%C%_test_s3_list_SOURCES = %D%/test-s3-list.c
%C%_test_s3_list_CFLAGS = $(s3_cflags)
%C%_test_s3_list_LDADD = $(s3_ldadd)
%C%_test_s3_cred_SOURCES = %D%/test-s3-cred.c
%C%_test_s3_cred_CFLAGS = $(s3_cflags)
%C%_test_s3_cred_LDADD = $(s3_ldadd)
endif

# what verify names, and how it goes on
if HAVE_CHECK
check_PROGRAMS += %D%/test-verify
TESTS += %D%/test-verify
%C%_test_verify_SOURCES = %D%/test-verify.c
%C%_test_verify_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(SQLITE_CFLAGS)
%C%_test_verify_LDADD = src/store/libstore.a src/ledger/libledger.a src/object/libobject.a src/event/libevent.a src/base/libbase.a \
	$(CHECK_LIBS) $(LEDGER_LIBS) $(OBJECT_LIBS)
endif

# what an append costs, over parts that count and dawdle
if HAVE_CHECK
check_PROGRAMS += %D%/test-store-append
TESTS += %D%/test-store-append
%C%_test_store_append_SOURCES = %D%/test-store-append.c
%C%_test_store_append_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_store_append_LDADD = src/store/libstore.a src/ledger/libledger.a src/object/libobject.a src/event/libevent.a \
	src/base/libbase.a $(CHECK_LIBS) $(LEDGER_LIBS) $(OBJECT_LIBS)
endif

# the HTTP engine and the requests on it, against a server of the tests' own
if HAVE_CHECK
check_PROGRAMS += %D%/test-http %D%/test-s3-request
TESTS += %D%/test-http %D%/test-s3-request
http_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS)
http_ldadd = src/object/libobject.a src/event/libevent.a src/base/libbase.a $(OBJECT_LIBS) $(CHECK_LIBS)
%C%_test_http_SOURCES = %D%/test-http.c %D%/http-server.c %D%/http-server.h
%C%_test_http_CFLAGS = $(http_cflags)
%C%_test_http_LDADD = $(http_ldadd)
%C%_test_s3_request_SOURCES = %D%/test-s3-request.c %D%/http-server.c %D%/http-server.h
%C%_test_s3_request_CFLAGS = $(http_cflags)
%C%_test_s3_request_LDADD = $(http_ldadd)
endif

# reading ahead, over objects that take their time
if HAVE_CHECK
check_PROGRAMS += %D%/test-view-ahead
TESTS += %D%/test-view-ahead
%C%_test_view_ahead_SOURCES = %D%/test-view-ahead.c
%C%_test_view_ahead_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(SQLITE_CFLAGS)
%C%_test_view_ahead_LDADD = src/store/libstore.a src/ledger/libledger.a src/object/libobject.a src/event/libevent.a \
	src/base/libbase.a $(LEDGER_LIBS) $(OBJECT_LIBS) $(CHECK_LIBS)
endif

# the ledger in PostgreSQL: other writers, connections that break, identity, roles
if HAVE_CHECK
check_PROGRAMS += %D%/test-ledger-pg
TESTS += %D%/test-ledger-pg
%C%_test_ledger_pg_SOURCES = %D%/test-ledger-pg.c %D%/test-ledger-pg-place.c %D%/ledger-pg-case.c %D%/ledger-pg-case.h \
	%D%/pg-cutter.c %D%/pg-cutter.h \
	tests/contract/ledger-pg-server.c tests/contract/ledger-pg-server.h
%C%_test_ledger_pg_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(PQ_CFLAGS)
%C%_test_ledger_pg_LDADD = src/ledger/libledger.a src/event/libevent.a src/base/libbase.a $(LEDGER_LIBS) $(OBJECT_LIBS) $(CHECK_LIBS)
endif

# what is sent for an event
if HAVE_CHECK
check_PROGRAMS += %D%/test-route
TESTS += %D%/test-route
%C%_test_route_SOURCES = %D%/test-route.c
%C%_test_route_CPPFLAGS = $(AM_CPPFLAGS) -DVECTORS_DEFAULT='"$(abs_top_srcdir)/../shared/vectors"'
%C%_test_route_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_route_LDADD = src/publisher/libpublisher.a src/sink/libsink.a src/event/libevent.a src/base/libbase.a $(CHECK_LIBS) $(CRYPTO_LIBS)
endif

# metrics, and what is told of them over HTTP
if HAVE_CHECK
monitor_units = %D%/test-metrics %D%/test-monitor
check_PROGRAMS += $(monitor_units)
TESTS += $(monitor_units)
%C%_test_metrics_SOURCES = %D%/test-metrics.c
%C%_test_metrics_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_metrics_LDADD = src/monitor/libmonitor.a src/base/libbase.a $(CHECK_LIBS) $(CRYPTO_LIBS)
%C%_test_monitor_SOURCES = %D%/test-monitor.c
%C%_test_monitor_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CURL_CFLAGS)
%C%_test_monitor_LDADD = src/monitor/libmonitor.a src/base/libbase.a $(MICROHTTPD_LIBS) $(CURL_LIBS) $(CHECK_LIBS) $(CRYPTO_LIBS)
endif

# what a publisher reads of a store, and how far it came
if HAVE_CHECK
tail_units = %D%/test-checkpoint %D%/test-tail
check_PROGRAMS += $(tail_units)
TESTS += $(tail_units)
tail_ldadd = src/store/libstore.a src/ledger/libledger.a src/object/libobject.a src/event/libevent.a src/base/libbase.a \
	$(LEDGER_LIBS) $(OBJECT_LIBS) $(CHECK_LIBS)
%C%_test_checkpoint_SOURCES = %D%/test-checkpoint.c
%C%_test_checkpoint_CPPFLAGS = $(AM_CPPFLAGS) -DVECTORS_DEFAULT='"$(abs_top_srcdir)/../shared/vectors"'
%C%_test_checkpoint_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_checkpoint_LDADD = $(tail_ldadd)
%C%_test_tail_SOURCES = %D%/test-tail.c
%C%_test_tail_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_tail_LDADD = $(tail_ldadd)
endif
