/* SPDX-License-Identifier: MIT */
/* What nodes have counted as OpenMetrics text: it passes a strict reader, which does not pass everything, and says what
 * pea_node_stats() says. */
#include "support/exposition.h"
#include "support/faults.h"
#include "support/net.h"

#include <unistd.h>

#include "peapod/stats.h"

static int setup(void **state)
{
    static net n;
    net_setup(&n, PEA_NATIVE);
    *state = &n;
    return 0;
}

static int teardown(void **state)
{
    net_teardown(*state);
    return 0;
}

static void read_all(exposition *e, const pea_buf *text)
{
    if (!exposition_read(e, (const char *)text->data, text->len))
        fail_msg("%s", e->error);
}

static const char spiteful[] = "say \"hello\"\\\nto {ä}, # EOF";

static void two_nodes(void **state)
{
    net *n = *state;
    pea_buf text = {.data = NULL};
    exposition e;
    net_node(&n->a, PEA_NODE(.name = spiteful));
    net_node(&n->b, PEA_NODE(.name = "b"));
    net_listen(&n->b);
    net_meet(n);
    for (int i = 0; i < 3; i++)
        check_ok(pea_conn_send(n->a.conn, "hello", 5));
    net_wait(n, n->b.messages == 3);
    int rude = net_raw_connect(&n->b);
    net_raw_send(rude, "GET / HTTP/1.1\r\n\r\n", 18);
    net_wait(n, n->b.failures == 1);
    const pea_node *nodes[] = {n->b.node, n->a.node};
    check_ok(pea_stats_openmetrics(&text, nodes, 2, NULL));
    read_all(&e, &text);
    pea_stats_node a, b;
    pea_node_stats(n->a.node, &a);
    pea_node_stats(n->b.node, &b);
#define value(name, ...) exposition_value(&e, "peapod_" name, "node", __VA_ARGS__, NULL)
    assert_int_equal(value("messages_total", "b", "direction", "in"), 3);
    assert_int_equal(value("messages_total", spiteful, "direction", "out"), 3);
    assert_int_equal(value("wire_bytes_total", "b", "direction", "in"), b.bytes_in);
    assert_int_equal(value("wire_bytes_total", "b", "direction", "out"), b.bytes_out);
    assert_int_equal(value("wire_bytes_total", spiteful, "direction", "in"), a.bytes_in);
    assert_int_equal(value("connections", "b", "state", "ready"), 1);
    assert_int_equal(value("connections", "b", "state", "pending"), 0);
    assert_int_equal(value("listeners", "b"), 1);
    assert_int_equal(value("listeners", spiteful), 0);
    assert_int_equal(value("begun_total", "b", "by", "accepted"), 2);
    assert_int_equal(value("begun_total", spiteful, "by", "dialled"), 1);
    assert_int_equal(value("connects_total", "b"), 1);
    assert_int_equal(value("failures_total", "b", "origin", "handshake"), 1);
    assert_int_equal(value("failures_total", "b", "origin", "policy"), 0);
    assert_int_equal(value("disconnects_total", "b", "origin", "peer"), 0);
    assert_int_equal(value("timeouts_total", "b", "phase", "handshake"), 0);
    assert_int_equal(value("refusals_total", "b", "reason", "max_pending"), 0);
    assert_int_equal(value("sends_refused_total", "b"), 0);
    assert_int_equal(value("read_pauses_total", "b"), 0);
    assert_int_equal(value("accept_pauses_total", "b"), 0);
    assert_int_equal(value("accept_pauses_total", "c"), UINT64_MAX);
#undef value
    size_t each = 2 + 1 + 2 + 2 + 1 + 1 + 1 + 2 + 1 + 2 * PEA_ORIGINS + 2 + PEA_REFUSALS + 1;
    assert_int_equal(e.n_samples, 2 * each);
    assert_int_equal(e.n_families, 14);
    exposition_free(&e);
    pea_buf_free(&text);
    net_raw_recv(n, rude, &(uint8_t){0}, 1, &(bool){false});
    close(rude);
}

static void no_nodes(void **state)
{
    pea_buf text = {.data = NULL};
    exposition e;
    (void)state;
    check_ok(pea_stats_openmetrics(&text, NULL, 0, NULL));
    read_all(&e, &text);
    assert_int_equal(e.n_samples, 0);
    assert_int_equal(e.n_families, 14);
    pea_buf_free(&text);
}

static void names_that_do_not_go(void **state)
{
    net *n = *state;
    pea_error why;
    pea_buf text = {.data = NULL};
    check_ok(pea_buf_append(&text, "before", 6));
    net_node(&n->a, PEA_NODE(.name = "twin"));
    net_node(&n->b, PEA_NODE(.name = "twin"));
    const pea_node *nodes[] = {n->a.node, n->b.node};
    check_err(pea_stats_openmetrics(&text, nodes, 2, &why), PEA_E_EXISTS);
    assert_string_equal(why.text, "two nodes are named \"twin\"");
    pea_node_free(n->b.node);
    net_node(&n->b, PEA_NODE(.name = "\xC3"));
    nodes[1] = n->b.node;
    check_err(pea_stats_openmetrics(&text, nodes, 2, &why), PEA_E_FORMAT);
    check_bytes(text.data, text.len, "before", 6);
    pea_buf_free(&text);
}

static void without_memory(void **state)
{
    net *n = *state;
    pea_error why;
    exposition e;
    pea_buf text = {.data = NULL};
    check_ok(pea_buf_append(&text, "before", 6));
    net_node(&n->a, PEA_NODE(.name = "a"));
    const pea_node *nodes[] = {n->a.node};
    size_t nth = 0;
    for (pea_err err = PEA_E_NOMEM; err != PEA_OK; nth++) {
        faults_arm(nth);
        err = pea_stats_openmetrics(&text, nodes, 1, &why);
        if (!faults_disarm()) {
            check_ok(err);
        } else {
            check_err(err, PEA_E_NOMEM);
            check_bytes(text.data, text.len, "before", 6);
        }
    }
    assert_true(nth >= 3); /* two that failed at least: the rows, and the text */
    pea_buf_consume(&text, 6);
    read_all(&e, &text);
    exposition_free(&e);
    pea_buf_free(&text);
}

/* The reader itself: what is not OpenMetrics does not pass. */
static void the_reader_is_strict(void **state)
{
    static const char good[] =
        "# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds He said \\\"a\\\".\n"
        "a_seconds_total{x=\"1\",y=\"\\\\\\\"\\n\"} 1\na_seconds_total{x=\"2\",y=\"\"} 2\n"
        "# TYPE b gauge\nb 7\n# EOF\n";
    static const char *const wrong[] = {
        "",
        "# EOF",
        "# EOF\n\n",
        "# EOF\n# EOF\n",
        "\n# EOF\n",
        "# TYPE b gauge\nb 7\n",
        "b 7\n# EOF\n",
        "# TYPE b gauge\nc 7\n# EOF\n",
        "# TYPE b gauge\nb_total 7\n# EOF\n",
        "# TYPE b counter\nb 7\n# EOF\n",
        "# TYPE b_total counter\nb_total 7\n# EOF\n",
        "# TYPE b thing\nb 7\n# EOF\n",
        "# TYPE b gauge\n# TYPE b gauge\nb 7\n# EOF\n",
        "# TYPE b gauge\nb 7\n# HELP b late\n# EOF\n",
        "# TYPE b gauge\nb 7\n# TYPE c gauge\nc 1\n# TYPE b gauge\nb{x=\"\"} 7\n# EOF\n",
        "# TYPE b gauge\n# UNIT b seconds\nb 7\n# EOF\n",
        "# TYPE b gauge\n# HELP b \"bare\"\nb 7\n# EOF\n",
        "# TYPE b gauge\n# HELP b \\t\nb 7\n# EOF\n",
        "# TYPE b gauge\n# NOTE b x\nb 7\n# EOF\n",
        "# TYPE 1b gauge\n1b 7\n# EOF\n",
        "# TYPE b gauge\nb  7\n# EOF\n",
        "# TYPE b gauge\nb 7 \n# EOF\n",
        "# TYPE b gauge\nb -7\n# EOF\n",
        "# TYPE b gauge\nb\n# EOF\n",
        "# TYPE b gauge\nb 7\r\n# EOF\n",
        "# TYPE b gauge\nb 7\nb 8\n# EOF\n",
        "# TYPE b gauge\nb{x=\"1\",y=\"2\"} 7\nb{y=\"2\",x=\"1\"} 8\n# EOF\n",
        "# TYPE b gauge\nb{x=\"1\"} 7\nb{y=\"1\"} 8\n# EOF\n",
        "# TYPE b gauge\nb{x=\"1\",x=\"2\"} 7\n# EOF\n",
        "# TYPE b gauge\nb{x=\"1\"\"} 7\n# EOF\n",
        "# TYPE b gauge\nb{x=\"\\t\"} 7\n# EOF\n",
        "# TYPE b gauge\nb{x=\"1} 7\n# EOF\n",
        "# TYPE b gauge\nb{x=\"1\" 7\n# EOF\n",
        "# TYPE b gauge\nb{x:=\"1\"} 7\n# EOF\n",
        "# TYPE b gauge\nb{x=1} 7\n# EOF\n",
        "# TYPE b gauge\nb{x=\"\xFF\"} 7\n# EOF\n",
        "# TYPE b counter\nb_total 7\n# TYPE b_total gauge\nb_total 7\n# EOF\n",
    };
    exposition e;
    (void)state;
    if (!exposition_read(&e, good, sizeof good - 1))
        fail_msg("%s", e.error);
    assert_int_equal(exposition_value(&e, "a_seconds_total", "y", "\\\"\n", "x", "1", NULL), 1);
    assert_int_equal(exposition_value(&e, "b", NULL), 7);
    assert_int_equal(exposition_value(&e, "b", "x", "1", NULL), UINT64_MAX);
    exposition_free(&e);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (exposition_read(&e, wrong[i], strlen(wrong[i])))
            fail_msg("it passed: %s", wrong[i]);
        exposition_free(&e);
    }
}

#define entry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    faults_install();
    const struct CMUnitTest tests[] = {
        entry(two_nodes),
        cmocka_unit_test(no_nodes),
        entry(names_that_do_not_go),
        entry(without_memory),
        cmocka_unit_test(the_reader_is_strict),
    };
    return cmocka_run_group_tests_name("openmetrics", tests, NULL, NULL);
}
