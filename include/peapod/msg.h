/* SPDX-License-Identifier: MIT */
/* A message in shared memory: reference-counted, never changed once made, so that many connections and threads
 * can hold it at once. */
#ifndef PEAPOD_MSG_H
#define PEAPOD_MSG_H

#include "peapod/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pea_msg pea_msg;

/* A message with a copy of `len` bytes (0 is a message too), and one reference. PEA_OK | PEA_E_NOMEM. Any thread. */
PEA_API PEA_MUST_CHECK pea_err pea_msg_new(pea_msg **msg, const void *data, size_t len);

/* One more reference; returns msg. Any thread. */
PEA_API pea_msg *pea_msg_ref(pea_msg *msg);

/* One less; the last one frees. NULL is allowed. Any thread. */
PEA_API void pea_msg_unref(pea_msg *msg);

/* The bytes, good for as long as the caller holds a reference. Any thread. */
PEA_API pea_span pea_msg_span(const pea_msg *msg);

#ifdef __cplusplus
}
#endif
#endif
