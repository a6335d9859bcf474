EXTRA_DIST += .clang-format HACKING.md LICENSE doc/design.md doc/performance.md .ci/run %D%/check %D%/packages.sh %D%/quickstart
