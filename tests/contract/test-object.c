/* SPDX-License-Identifier: Apache-2.0 */
/* test-object.c - what every object store keeps to (object.h), row by row over the backends. */
#include "config.h"
#include "object-backend.h"

int main(void)
{
	int n = object_backend_count();
	Suite *suite = suite_create("object");
	TCase *contract = tcase_create("contract"), *dirs = tcase_create("dirs"),
	      *dir = tcase_create("dir"), *fault = tcase_create("fault"), *s3 = tcase_create("s3");
	TCase *cases[] = { contract, dirs, dir, fault, s3 };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		tcase_add_checked_fixture(cases[i], object_backend_setup, object_backend_teardown);
		tcase_set_timeout(cases[i], 120);
		suite_add_tcase(suite, cases[i]);
	}
	object_cases_add(contract, n);
	object_list_cases_add(contract, n);
	object_dir_cases_add(dir, dirs, fault);
	object_s3_cases_add(s3, n);

	SRunner *sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
