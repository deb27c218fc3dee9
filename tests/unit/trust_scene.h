/* SPDX-License-Identifier: MIT */
/* What the tests of trust share: a folder of their own with files of rules, peers as text, the policy asked as core
 * asks it, and what its log said. */
#ifndef PEAPOD_TEST_TRUST_SCENE_H
#define PEAPOD_TEST_TRUST_SCENE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy_priv.h"
#include "rules_priv.h"
#include "support/check.h"

#define A "spki:sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "spki:sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "spki:sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

extern char folder[64];

/* Group setup and teardown: makes the folder; removes it with all that is in it. */
int open_folder(void **state);
int remove_folder(void **state);

/* The path of a file of the folder; good until the call after next. */
const char *in_folder(const char *name);

/* Writes a file anew, in its place, mode 0644. */
/* Its mode; and a time of change that no state of a file had before, since a system's clock may stand still from one
 * change to the next. */
void set_mode(const char *name, mode_t mode);

void write_bytes(const char *name, const void *text, size_t len);
void write_file(const char *name, const char *text);

/* Puts a file in the place of another at one stroke. */
void rename_over(const char *from, const char *to);

pea_peer peer_of(const char *text);

/* The policy's check(); `why` may be NULL. */
pea_err asked(pea_trust *t, pea_peer *peer, const pea_candidate *c, pea_reason *why);

/* Whether this peer, who came to us from nobody knows where, is let in at the time 1. */
bool admits(pea_trust *t, const char *who);

int64_t tick(pea_trust *t, int64_t now);

/* Two looks that agree, later than all before. */
void look_twice(pea_trust *t);

/* `n` looks more, each as late as the policy wants it. */
void look_on(pea_trust *t, unsigned n);

/* What on_log() heard last, and how often. */
extern char said[1024];
extern unsigned n_said;
void on_log(const pea_log_line *line, void *arg);

/* A trust with these rules in "peers", which was looked at once, whose log is on_log() and which counts what its
 * watchers are told. */
pea_trust *watched(const char *text, unsigned *changes);

#endif
