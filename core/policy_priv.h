/* SPDX-License-Identifier: MIT */
/* The policy object, for those of core who ask it. */
#ifndef PEAPOD_POLICY_PRIV_H
#define PEAPOD_POLICY_PRIV_H

#include <stdatomic.h>

#include "peapod/policy.h"

struct pea_policy {
    const pea_policy_ops *ops;
    void *self;
    atomic_uint refs;
};

/* Whether it lets in whoever comes, and asks for no proof. */
static inline bool pea__policy_takes_anybody(const pea_policy *policy)
{
    return policy->ops->anybody != NULL && policy->ops->anybody(policy->self);
}

static inline uint64_t pea__policy_generation(const pea_policy *policy)
{
    return policy->ops->generation != NULL ? policy->ops->generation(policy->self) : 0;
}

/* When it wants to be called again, or -1. */
static inline int64_t pea__policy_tick(const pea_policy *policy, int64_t wall_ms)
{
    return policy->ops->tick != NULL ? policy->ops->tick(policy->self, wall_ms) : -1;
}

#endif
