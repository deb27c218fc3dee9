/* SPDX-License-Identifier: MIT */
/* Which peapod this is. */
#ifndef PEAPOD_VERSION_H
#define PEAPOD_VERSION_H

#include "peapod/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of these headers. */
#define PEA_VERSION_MAJOR 0
#define PEA_VERSION_MINOR 1
#define PEA_VERSION_PATCH 0

/* The version of the library that is linked, "0.1.0". Any thread. */
PEA_API const char *pea_version_string(void);

#ifdef __cplusplus
}
#endif
#endif
