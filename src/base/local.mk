noinst_LIBRARIES += %D%/libbase.a
%C%_libbase_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)
%C%_libbase_a_SOURCES = \
	%D%/buf.c %D%/buf.h \
	%D%/cleanup.h \
	%D%/clock.c %D%/clock.h \
	%D%/encode.c %D%/encode.h \
	%D%/failpoint.c %D%/failpoint.h \
	%D%/hash.h \
	%D%/json.c %D%/json.h \
	%D%/json-form.c %D%/json-form.h \
	%D%/json-scan.c %D%/json-scan.h \
	%D%/latency.c %D%/latency.h \
	%D%/log.c %D%/log.h \
	%D%/plant.c %D%/plant.h \
	%D%/rc.c %D%/rc.h \
	%D%/thread.c %D%/thread.h
