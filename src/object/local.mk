noinst_LIBRARIES += %D%/libobject.a
%C%_libobject_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(CURL_CFLAGS) $(EXPAT_CFLAGS)
%C%_libobject_a_SOURCES = \
	%D%/http.c %D%/http.h %D%/http-private.h \
	%D%/http-lane.c \
	%D%/http-poll.c \
	%D%/object.c %D%/object.h \
	%D%/object-dir.c %D%/object-dir.h \
	%D%/object-dir-list.c \
	%D%/object-dir-put.c \
	%D%/object-dir-temp.c \
	%D%/object-fault.c \
	%D%/object-s3.c %D%/object-s3.h %D%/object-s3-private.h \
	%D%/object-s3-get.c \
	%D%/object-s3-list.c \
	%D%/object-s3-put.c \
	%D%/object-s3-replace.c \
	%D%/pool.c %D%/pool.h \
	%D%/s3-request.c %D%/s3-request.h \
	%D%/s3-request-batch.c \
	%D%/s3-site.c %D%/s3-site.h \
	%D%/s3-cred.c %D%/s3-cred.h \
	%D%/s3-cred-fetch.c %D%/s3-cred-private.h \
	%D%/s3-cred-http.c \
	%D%/s3-cred-profile.c \
	%D%/s3-error.c %D%/s3-error.h \
	%D%/s3-key.c \
	%D%/s3-list.c %D%/s3-list.h \
	%D%/s3-list-page.c %D%/s3-list-page.h \
	%D%/s3-sign.c %D%/s3-sign.h
