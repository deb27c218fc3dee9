/* SPDX-License-Identifier: MIT */
/* The file that `peapod mesh` takes its place in a mesh from. */
#ifndef PEAPOD_MESH_FILE_PRIV_H
#define PEAPOD_MESH_FILE_PRIV_H

#include "tool_priv.h"

/* Texts, NULL at the end, as options have them. */
typedef struct tool_list {
    const char **texts;
    size_t n;
} tool_list;

typedef struct tool_mesh_file {
    char *text;       /* all of it, cut into words */
    tool_list listen; /* addresses */
    tool_list key, cert, trust, network_name, network_key, ids;
    bool tls;
    pea_book *book; /* the peers */
} tool_mesh_file;

/* Reads it. Names of files in it are taken from the folder that it lies in.
 * TOOL_OK | another status, and the error is printed; what is there is to be freed in any case. */
int tool_mesh_file_read(tool_mesh_file *file, const char *path);

/* Frees it; all zero is allowed. */
void tool_mesh_file_free(tool_mesh_file *file);

#endif
