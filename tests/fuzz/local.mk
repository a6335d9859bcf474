# one target a parser of bytes from elsewhere
fuzz_targets = %D%/fuzz-event %D%/fuzz-key %D%/fuzz-s3-list %D%/fuzz-s3-error %D%/fuzz-config-file
check_PROGRAMS += $(fuzz_targets)
TESTS += %D%/test-fuzz
fuzz_seeds = %D%/seeds/event/document.json %D%/seeds/event/nulls.json %D%/seeds/event/whole.json %D%/seeds/key/escaped \
	%D%/seeds/key/plain %D%/seeds/s3-list/empty.xml %D%/seeds/s3-list/page.xml %D%/seeds/s3-error/slow.xml \
	%D%/seeds/config-file/some.conf
EXTRA_DIST += %D%/test-fuzz %D%/run $(fuzz_seeds)
fuzz_cppflags = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/fuzz
fuzz_ldadd = src/object/libobject.a src/event/libevent.a src/base/libbase.a $(OBJECT_LIBS)
%C%_fuzz_event_SOURCES = %D%/fuzz-event.c %D%/driver.c %D%/fuzz.h
%C%_fuzz_event_CPPFLAGS = $(fuzz_cppflags)
%C%_fuzz_event_LDADD = $(fuzz_ldadd)
%C%_fuzz_key_SOURCES = %D%/fuzz-key.c %D%/driver.c %D%/fuzz.h
%C%_fuzz_key_CPPFLAGS = $(fuzz_cppflags)
%C%_fuzz_key_LDADD = $(fuzz_ldadd)
%C%_fuzz_s3_list_SOURCES = %D%/fuzz-s3-list.c %D%/driver.c %D%/fuzz.h
%C%_fuzz_s3_list_CPPFLAGS = $(fuzz_cppflags)
%C%_fuzz_s3_list_LDADD = $(fuzz_ldadd)
%C%_fuzz_s3_error_SOURCES = %D%/fuzz-s3-error.c %D%/driver.c %D%/fuzz.h
%C%_fuzz_s3_error_CPPFLAGS = $(fuzz_cppflags)
%C%_fuzz_s3_error_LDADD = $(fuzz_ldadd)
%C%_fuzz_config_file_SOURCES = %D%/fuzz-config-file.c %D%/driver.c %D%/fuzz.h
%C%_fuzz_config_file_CPPFLAGS = $(fuzz_cppflags)
%C%_fuzz_config_file_LDADD = src/setup/libsetup.a src/base/libbase.a $(CRYPTO_LIBS)
