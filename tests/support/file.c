/* SPDX-License-Identifier: MIT */
#include "file.h"

#include <stdio.h>
#include <stdlib.h>

char *file_read(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    if (file == NULL)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0) {
        long size = ftell(file);
        rewind(file);
        text = size >= 0 ? malloc((size_t)size + 1) : NULL;
        if (text != NULL)
            text[fread(text, 1, (size_t)size, file)] = '\0';
    }
    (void)fclose(file);
    return text;
}
