mount_tests = %D%/test-view %D%/test-append %D%/test-refusals %D%/test-restore %D%/test-captured \
	%D%/test-start %D%/test-damage %D%/test-adopt %D%/test-backup
# Over S3 and PostgreSQL, where tests/services/up has them.
s3_mount_tests = %D%/test-s3-start %D%/test-s3-append %D%/test-s3-view %D%/test-s3-refusals %D%/test-s3-restore \
	%D%/test-s3-second-append %D%/test-s3-two-machines
TESTS += $(mount_tests) $(s3_mount_tests)
EXTRA_DIST += $(mount_tests) $(s3_mount_tests) %D%/mount.sh %D%/s3.sh
TESTS += %D%/test-s3-cost
EXTRA_DIST += %D%/test-s3-cost
repair_tests = %D%/test-reindex %D%/test-s3-reindex %D%/test-s3-backup
TESTS += $(repair_tests)
EXTRA_DIST += $(repair_tests)
requests_tests = %D%/test-requests
TESTS += $(requests_tests)
EXTRA_DIST += $(requests_tests)
metrics_tests = %D%/test-metrics %D%/test-s3-metrics
TESTS += $(metrics_tests)
EXTRA_DIST += $(metrics_tests) %D%/exposition.py
