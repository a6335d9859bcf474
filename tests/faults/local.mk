check_PROGRAMS += %D%/proxy
%C%_proxy_SOURCES = %D%/proxy.c %D%/proxy-conn.c %D%/proxy-conn.h
TESTS += %D%/test-proxy
EXTRA_DIST += %D%/test-proxy %D%/proxy.py %D%/servers.py

# the S3 backend against a scripted server
if HAVE_CHECK
check_PROGRAMS += %D%/test-s3-faults
TESTS += %D%/test-s3-faults
%C%_test_s3_faults_SOURCES = %D%/test-s3-faults.c
%C%_test_s3_faults_CPPFLAGS = $(AM_CPPFLAGS) -DSOURCE_DEFAULT='"$(abs_top_srcdir)"'
%C%_test_s3_faults_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_s3_faults_LDADD = src/object/libobject.a src/event/libevent.a src/base/libbase.a $(OBJECT_LIBS) $(CHECK_LIBS)
endif
# and with a mount above it
TESTS += %D%/test-s3-mount
EXTRA_DIST += %D%/s3_script.py %D%/test-s3-mount
