noinst_LIBRARIES += %D%/libobject.a
%C%_libobject_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)
%C%_libobject_a_SOURCES = \
	%D%/object.c %D%/object.h \
	%D%/object-dir.c \
	%D%/object-fault.c
