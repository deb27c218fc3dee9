/* SPDX-License-Identifier: MIT */
/* A policy as a reference-counted object. Whom to let in is its ops' business: see policy.h. */
#include "policy_priv.h"

#include "buf_priv.h"

pea_err pea_policy_new(pea_policy **policy, const pea_policy_ops *ops, void *self)
{
    if (policy == NULL || ops == NULL || ops->version != PEA_POLICY_VERSION || ops->name == NULL || ops->check == NULL)
        return PEA_E_INVALID;
    pea_policy *p = pea__alloc(sizeof *p);
    if (p == NULL)
        return PEA_E_NOMEM;
    p->ops = ops;
    p->self = self;
    atomic_init(&p->refs, 1);
    *policy = p;
    return PEA_OK;
}

pea_policy *pea_policy_ref(pea_policy *policy)
{
    atomic_fetch_add_explicit(&policy->refs, 1, memory_order_relaxed);
    return policy;
}

void pea_policy_unref(pea_policy *policy)
{
    if (policy == NULL || atomic_fetch_sub_explicit(&policy->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (policy->ops->destroy != NULL)
        policy->ops->destroy(policy->self);
    pea__free(policy);
}
