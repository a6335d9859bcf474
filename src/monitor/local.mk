noinst_LIBRARIES += %D%/libmonitor.a
%C%_libmonitor_a_CFLAGS = $(AM_CFLAGS) $(MICROHTTPD_CFLAGS)
%C%_libmonitor_a_SOURCES = \
	%D%/metric.c %D%/metric-private.h \
	%D%/metrics.c %D%/metrics.h \
	%D%/monitor.c %D%/monitor.h \
	%D%/monitor-listen.c %D%/monitor-listen.h
