/* SPDX-License-Identifier: MIT */
/* The library's version, out of the one place that says it. */
#include "peapod/version.h"

#define TEXT(x) #x
#define DOTTED(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

const char *pea_version_string(void)
{
    return DOTTED(PEA_VERSION_MAJOR, PEA_VERSION_MINOR, PEA_VERSION_PATCH);
}
