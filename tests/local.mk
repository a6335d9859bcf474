include tests/unit/local.mk
include tests/contract/local.mk
include tests/rules/local.mk
include tests/services/local.mk
include tests/tools/local.mk
include tests/mount/local.mk
include tests/crash/local.mk
include tests/occ/local.mk
include tests/fuzz/local.mk
include tests/faults/local.mk
include tests/publisher/local.mk
EXTRA_DIST += tests/lib.sh
# Where the shell tests find programs and sources; see tests/lib.sh.
AM_TESTS_ENVIRONMENT = \
	EVFS_BUILD='$(abs_top_builddir)'; export EVFS_BUILD; \
	EVFS_SOURCE='$(abs_top_srcdir)'; export EVFS_SOURCE;
# A test that hangs fails: no test takes a quarter of an hour.
LOG_COMPILER = timeout
AM_LOG_FLAGS = -k 30 900
