/* SPDX-License-Identifier: MIT */
/* An allocator that fails when a test wants it to, and that counts what is out. It serves the library alone: what the
 * harness needs comes from malloc. */
#ifndef PEAPOD_TEST_FAULTS_H
#define PEAPOD_TEST_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

/* Becomes the library's allocator: the first thing in main(). Stops the program if it is too late. */
void faults_install(void);

/* Allocation number `nth` from now (0: the next) fails, once. */
void faults_arm(size_t nth);

/* Every allocation fails from now on. */
void faults_arm_all(void);

/* No more failures. Whether there was one since faults_arm(). */
bool faults_disarm(void);

size_t faults_blocks(void);      /* allocations that are out */
size_t faults_bytes(void);       /* their bytes */
size_t faults_allocations(void); /* made so far, also those that failed */

#endif
