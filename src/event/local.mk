noinst_LIBRARIES += %D%/libevent.a
%C%_libevent_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)
%C%_libevent_a_SOURCES = \
	%D%/draft.c %D%/draft.h \
	%D%/event.c %D%/event.h \
	%D%/key.c %D%/key.h \
	%D%/name.c %D%/name.h \
	%D%/time.c %D%/time.h
