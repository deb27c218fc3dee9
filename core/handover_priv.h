/* SPDX-License-Identifier: MIT */
/* What predecessor and successor of a hand-over say to each other, over a Unix stream socket:
 *   predecessor  one message: PEA__HANDOVER_MAGIC, the number of sockets, a byte for each (PEA__OWNS_FILE or 0); with
 *                it the sockets, in the same order (SCM_RIGHTS)
 *   successor    PEA__HANDOVER_TAKEN, once it listens on those that it wants; or it goes
 *   predecessor  PEA__HANDOVER_GONE, once it listens on them no more and the offer's file is gone */
#ifndef PEAPOD_HANDOVER_PRIV_H
#define PEAPOD_HANDOVER_PRIV_H

#include <sys/socket.h>

#include "runtime_priv.h"

#define PEA__HANDOVER_MAGIC "peapod handover 1\n"
#define PEA__HANDOVER_MAGIC_BYTES 18u
#define PEA__HANDOVER_MAX 250u  /* sockets: Linux passes 253 at once */
#define PEA__HANDOVER_TALK_S 3. /* that a successor has to take: the next one waits for 5 by default */
#define PEA__OWNS_FILE 1u /* who has taken this Unix socket removes its file: in the end, or at once if unwanted */
#define PEA__HANDOVER_TAKEN 'T'
#define PEA__HANDOVER_GONE 'G'

/* The message, and room for the descriptors that go with it. */
typedef struct pea__handover_msg {
    uint8_t bytes[PEA__HANDOVER_MAGIC_BYTES + 1 + PEA__HANDOVER_MAX];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(PEA__HANDOVER_MAX * sizeof(int))];
} pea__handover_msg;

/* The address, if it can be one and its folder is our own and closed to others. PEA_OK | PEA_E_FORMAT | PEA_E_SYS |
 * PEA_E_PERMISSION */
PEA_MUST_CHECK pea_err pea__handover_addr(const char *path, pea_addr *addr, pea_error *why);

/* Whether who is at the other end of this Unix socket is the same user as we are. PEA_OK | PEA_E_SYS |
 * PEA_E_PERMISSION */
PEA_MUST_CHECK pea_err pea__handover_same_user(int fd, pea_error *why);

/* A socket that listens at this address; a file that somebody left there who is gone is replaced. Waits for at most a
 * second for who else does so in the same folder. PEA_OK | PEA_E_EXISTS (somebody listens there) | PEA_E_SYS */
PEA_MUST_CHECK pea_err pea__handover_open_door(const pea_addr *addr, int *fd, pea_error *why);

#endif
