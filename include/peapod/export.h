/* SPDX-License-Identifier: MIT */
/* The two attributes that declarations of peapod carry. Everything else is hidden in the library. */
#ifndef PEAPOD_EXPORT_H
#define PEAPOD_EXPORT_H

#if defined(__GNUC__) || defined(__clang__)
#define PEA_API __attribute__((visibility("default")))
#define PEA_MUST_CHECK __attribute__((warn_unused_result))
#else
#define PEA_API
#define PEA_MUST_CHECK
#endif

#endif
