EXTRA_DIST += LICENSE .ci/run %D%/check %D%/packages.sh %D%/quickstart
