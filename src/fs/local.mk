noinst_LIBRARIES += %D%/libfs.a
%C%_libfs_a_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS) $(CRYPTO_CFLAGS)
%C%_libfs_a_SOURCES = \
	%D%/fs.c %D%/fs.h %D%/fs-state.h \
	%D%/fs-ahead.c %D%/fs-ahead.h \
	%D%/fs-by-date.c %D%/fs-by-date.h \
	%D%/fs-change.c %D%/fs-change.h \
	%D%/fs-control.c %D%/fs-control.h \
	%D%/fs-dir.c %D%/fs-dir.h \
	%D%/fs-errors.c %D%/fs-errors.h \
	%D%/fs-file.c %D%/fs-file.h \
	%D%/fs-gather.c %D%/fs-gather.h \
	%D%/fs-kept.c %D%/fs-kept.h \
	%D%/fs-lookup.c %D%/fs-lookup.h \
	%D%/fs-metrics.c %D%/fs-metrics.h \
	%D%/fs-monitor.c %D%/fs-monitor.h \
	%D%/fs-mount.c %D%/fs-mount.h \
	%D%/fs-node.c %D%/fs-node.h \
	%D%/fs-open.c %D%/fs-open.h \
	%D%/fs-place.c %D%/fs-place.h \
	%D%/fs-refuse.c %D%/fs-refuse.h \
	%D%/fs-stream.c %D%/fs-stream.h \
	%D%/fs-write.c %D%/fs-write.h \
	%D%/fs-xattr.c %D%/fs-xattr.h \
	%D%/fs-young.c %D%/fs-young.h

bin_PROGRAMS += evfs
evfs_SOURCES = %D%/main.c
evfs_LDADD = %D%/libfs.a src/setup/libsetup.a src/store/libstore.a src/ledger/libledger.a src/object/libobject.a \
	src/event/libevent.a src/monitor/libmonitor.a src/base/libbase.a $(FUSE_LIBS) $(MICROHTTPD_LIBS) $(LEDGER_LIBS) $(OBJECT_LIBS)

# mount(8) looks for it: an fstab line is "STORE MOUNTPOINT evfs nofail 0 0".
install-exec-hook:
	$(MKDIR_P) '$(DESTDIR)$(sbindir)'
	rm -f '$(DESTDIR)$(sbindir)/mount.evfs'
	$(LN_S) '$(bindir)/evfs' '$(DESTDIR)$(sbindir)/mount.evfs'
uninstall-hook:
	rm -f '$(DESTDIR)$(sbindir)/mount.evfs'
