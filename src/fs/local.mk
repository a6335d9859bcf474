noinst_LIBRARIES += %D%/libfs.a
%C%_libfs_a_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS)
%C%_libfs_a_SOURCES =
