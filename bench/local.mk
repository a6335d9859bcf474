# Benches measure and are no part of `make check`; `make bench` runs them.
noinst_PROGRAMS += %D%/load
%C%_load_SOURCES = %D%/load.c
EXTRA_DIST += %D%/run
.PHONY: bench
bench: all
	$(srcdir)/bench/run --build $(abs_builddir)
