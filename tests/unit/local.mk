if HAVE_CHECK
check_PROGRAMS += %D%/test-config
TESTS += %D%/test-config
%C%_test_config_SOURCES = %D%/test-config.c
%C%_test_config_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
%C%_test_config_LDADD = src/setup/libsetup.a src/base/libbase.a $(CRYPTO_LIBS) $(CHECK_LIBS)
endif
