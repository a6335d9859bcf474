noinst_LIBRARIES += %D%/libsink.a
%C%_libsink_a_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
%C%_libsink_a_SOURCES = \
	%D%/sink.c %D%/sink.h \
	%D%/sink-fault.c \
	%D%/sink-kafka.c %D%/sink-kafka-private.h \
	%D%/sink-kafka-conf.c \
	%D%/sink-kafka-error.c \
	%D%/sink-kafka-topic.c \
	%D%/sink-ndjson.c
