mount_tests = %D%/test-view %D%/test-append %D%/test-refusals %D%/test-restore %D%/test-captured \
	%D%/test-start %D%/test-damage %D%/test-adopt %D%/test-backup
TESTS += $(mount_tests)
EXTRA_DIST += $(mount_tests) %D%/mount.sh %D%/s3.sh
