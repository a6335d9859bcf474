noinst_LIBRARIES += %D%/libobject.a
%C%_libobject_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(CURL_CFLAGS) $(EXPAT_CFLAGS) $(JSON_CFLAGS)
%C%_libobject_a_SOURCES = \
	%D%/object.c %D%/object.h \
	%D%/object-dir.c %D%/object-dir.h \
	%D%/object-dir-list.c \
	%D%/object-dir-put.c \
	%D%/object-dir-temp.c \
	%D%/object-fault.c \
	%D%/pool.c %D%/pool.h \
	%D%/s3-error.c %D%/s3-error.h \
	%D%/s3-list.c %D%/s3-list.h \
	%D%/s3-list-page.c %D%/s3-list-page.h \
	%D%/s3-sign.c %D%/s3-sign.h
