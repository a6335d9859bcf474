EXTRA_DIST += .clang-format LICENSE .ci/run %D%/check %D%/packages.sh %D%/quickstart
