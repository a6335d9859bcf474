TESTS += %D%/test-services
EXTRA_DIST += %D%/README %D%/services.sh %D%/kafka.sh %D%/up %D%/down %D%/one %D%/stop %D%/test-services
check_PROGRAMS += %D%/kafka-topic
%C%_kafka_topic_SOURCES = %D%/kafka-topic.c
%C%_kafka_topic_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
%C%_kafka_topic_LDADD = $(KAFKA_LIBS)
