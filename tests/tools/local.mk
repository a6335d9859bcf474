TESTS += %D%/test-evfsctl %D%/test-evfsctl-publisher %D%/test-evfsctl-s3 %D%/test-quickstart
EXTRA_DIST += %D%/test-evfsctl %D%/test-evfsctl-publisher %D%/test-evfsctl-s3 %D%/test-quickstart
