include tests/unit/local.mk
include tests/contract/local.mk
