/* SPDX-License-Identifier: MIT */
/* All of peapod. */
#ifndef PEAPOD_PEAPOD_H
#define PEAPOD_PEAPOD_H

#include "peapod/addr.h"
#include "peapod/address_book.h"
#include "peapod/buf.h"
#include "peapod/cert.h"
#include "peapod/chain.h"
#include "peapod/codec.h"
#include "peapod/conn.h"
#include "peapod/err.h"
#include "peapod/handover.h"
#include "peapod/identity.h"
#include "peapod/log.h"
#include "peapod/msg.h"
#include "peapod/node.h"
#include "peapod/noise.h"
#include "peapod/peer.h"
#include "peapod/pipe.h"
#include "peapod/policy.h"
#include "peapod/runtime.h"
#include "peapod/stage.h"
#include "peapod/stats.h"
#include "peapod/sync.h"
#include "peapod/tls.h"
#include "peapod/topology.h"
#include "peapod/transform.h"
#include "peapod/trust.h"
#include "peapod/version.h"

#endif
