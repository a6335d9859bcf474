EXTRA_DIST += .clang-format HACKING.md LICENSE doc/design.md doc/performance.md doc/s3.md doc/s3-policy.json doc/s3-policy-init.json .ci/run %D%/check %D%/packages.sh %D%/quickstart %D%/sql/roles.sql
