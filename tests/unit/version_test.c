/* SPDX-License-Identifier: MIT */
/* The version is one: what the build says, what the headers say and what the library says. */
#include "support/check.h"

#include <stdio.h>

#include "peapod/version.h"

static void one_version(void **state)
{
    (void)state;
    char headers[32];
    snprintf(headers, sizeof headers, "%d.%d.%d", PEA_VERSION_MAJOR, PEA_VERSION_MINOR, PEA_VERSION_PATCH);
    assert_string_equal(headers, PEA_TEST_VERSION);
    assert_string_equal(pea_version_string(), PEA_TEST_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_version)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
