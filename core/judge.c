/* SPDX-License-Identifier: MIT */
/* Policies that change while connections live: one watch and one timer for each policy that nodes of a runtime use,
 * however many nodes that are. When it changed, each of their connections is judged again, on the loop's thread; until
 * that has happened no message passes that was not judged by itself (conn.c). What the judgement is, pipe_verdict.c
 * says. */
#include "err_priv.h"
#include "policy_priv.h"
#include "runtime_priv.h"

#define SOONEST_MS 1
#define LATEST_MS 60000 /* the wall clock may have been set meanwhile */

struct pea__judge {
    pea_policy *policy; /* the key; a reference */
    pea_runtime *runtime;
    uint32_t nodes; /* that use it */
    ev_timer timer;
    atomic_bool changed; /* and nobody has been judged by that change yet */
    UT_hash_handle hh;
};

/* On any thread, before whatever changed the rules returns. */
static void on_changed(void *arg)
{
    pea__judge *j = arg;
    pea_runtime *r = j->runtime;
    if (pea__forked(r))
        return;
    atomic_store(&j->changed, true);
    for (uint32_t i = 0; i <= r->n_threads; i++) {
        pea__worker *w = i == 0 ? &r->worker : &r->threads[i - 1];
        atomic_store(&w->judge_due, true);
        ev_async_send(w->loop, &w->mail);
    }
}

/* ---- Time ---- */

static void timer_stop(pea__judge *j)
{
    struct ev_loop *loop = j->runtime->worker.loop;
    if (!ev_is_active(&j->timer))
        return;
    ev_ref(loop);
    ev_timer_stop(loop, &j->timer);
}

/* Lets the policy see the time, and comes again when it wants that. It keeps no loop alive. */
static void tick(pea__judge *j)
{
    const pea_policy_ops *ops = j->policy->ops;
    struct ev_loop *loop = j->runtime->worker.loop;
    if (ops->tick == NULL)
        return;
    int64_t now = pea__wall_ms(), at = ops->tick(j->policy->self, now);
    timer_stop(j);
    if (at < 0)
        return;
    int64_t in = at > now ? at - now : 0;
    in = in < SOONEST_MS ? SOONEST_MS : in > LATEST_MS ? LATEST_MS : in;
    ev_now_update(loop);
    ev_timer_set(&j->timer, (double)in / 1e3, (double)in / 1e3);
    ev_timer_start(loop, &j->timer);
    ev_unref(loop);
    pea__worker_touch(&j->runtime->worker);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    pea__judge *j = timer->data;
    pea__worker *w = &j->runtime->worker;
    (void)loop;
    (void)events;
    if (!pea__worker_enter(w))
        return;
    tick(j);
    pea__judge_run(w);
    pea__worker_leave(w);
}

/* ---- Judging ---- */

static void judge_one(pea_conn *conn, void *arg)
{
    (void)arg;
    pea__conn_judge(conn);
}

/* Whose policy has not changed is not asked: its generation says so. Nobody leaves the tables meanwhile: connections
 * end in the round. */
void pea__judge_run(pea__worker *w)
{
    pea_runtime *r = w->runtime;
    if (!atomic_exchange(&w->judge_due, false))
        return;
    for (pea__judge *j = w == &r->worker ? r->judges : NULL; j != NULL; j = j->hh.next)
        if (atomic_exchange(&j->changed, false))
            tick(j); /* the next rule may expire earlier now */
    pea__registry_each_here(w, judge_one, NULL);
}

/* ---- Life ---- */

static void judge_free(pea__judge *j)
{
    timer_stop(j);
    if (j->policy->ops->watch != NULL)
        (void)j->policy->ops->watch(j->policy->self, NULL, j);
    if (j->hh.tbl != NULL)
        HASH_DELETE(hh, j->runtime->judges, j);
    pea_policy_unref(j->policy);
    pea__free(j);
}

static pea_err judge_new(pea__judge **judge, pea_runtime *runtime, pea_policy *policy, pea_error *why)
{
    pea__judge *j = pea__alloc(sizeof *j);
    *judge = NULL;
    if (j == NULL)
        return pea__error(why, PEA_E_NOMEM, NULL);
    j->runtime = runtime;
    j->policy = pea_policy_ref(policy);
    atomic_init(&j->changed, false);
    ev_init(&j->timer, on_timer);
    j->timer.data = j;
    HASH_ADD(hh, runtime->judges, policy, sizeof j->policy, j);
    pea_err err = j->hh.tbl != NULL ? PEA_OK : PEA_E_NOMEM;
    if (err == PEA_OK && policy->ops->watch != NULL)
        err = policy->ops->watch(policy->self, on_changed, j);
    if (err != PEA_OK) {
        judge_free(j);
        return pea__error(why, err, "the policy cannot be watched");
    }
    *judge = j;
    return PEA_OK;
}

pea_err pea__judge_join(pea_node *node, pea_error *why)
{
    pea_runtime *runtime = node->runtime;
    pea_policy *policy = node->policy;
    pea__judge *j;
    if (policy == NULL || (policy->ops->watch == NULL && policy->ops->tick == NULL))
        return PEA_OK;
    HASH_FIND(hh, runtime->judges, &policy, sizeof policy, j);
    bool fresh = j == NULL;
    pea_err err = fresh ? judge_new(&j, runtime, policy, why) : PEA_OK;
    if (j == NULL)
        return err;
    node->judge = j;
    j->nodes++;
    if (fresh)
        tick(j);
    return PEA_OK;
}

void pea__judge_leave(pea_node *node)
{
    pea__judge *j = node->judge;
    if (j == NULL)
        return;
    node->judge = NULL;
    if (--j->nodes == 0)
        judge_free(j);
}
