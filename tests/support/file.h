/* SPDX-License-Identifier: MIT */
#ifndef PEAPOD_TEST_FILE_H
#define PEAPOD_TEST_FILE_H

/* A file's whole text, for the caller to free(); NULL: it cannot be read. */
char *file_read(const char *path);

#endif
