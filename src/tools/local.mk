noinst_LIBRARIES += %D%/libtools.a
%C%_libtools_a_SOURCES =
