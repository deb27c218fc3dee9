/* SPDX-License-Identifier: MIT */
/* A main() for fuzz targets in ordinary builds: each file of a corpus is given to the target once. It finds nothing
 * new; it keeps what was once found from coming back, under every compiler and sanitizer. */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX ((size_t)16 << 20) /* more than any corpus should hold */

/* Exactly the file's bytes on the heap, so that a sanitizer sees a read beyond them. NULL: said why. */
static uint8_t *slurp(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return NULL;
    }
    uint8_t *data = NULL;
    long end = -1;
    if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) >= 0 && (size_t)end <= INPUT_MAX &&
        fseek(file, 0, SEEK_SET) == 0 && (data = malloc((size_t)end + (end == 0))) != NULL &&
        fread(data, 1, (size_t)end, file) != (size_t)end) {
        free(data);
        data = NULL;
    }
    if (data == NULL)
        fprintf(stderr, "%s: cannot be read, or is larger than %zu bytes\n", path, INPUT_MAX);
    fclose(file);
    *size = (size_t)end;
    return data;
}

static bool replay(const char *path)
{
    size_t size = 0;
    uint8_t *data = slurp(path, &size);
    if (data == NULL)
        return false;
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    return true;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
        return 2;
    }
    DIR *folder = opendir(argv[1]);
    if (folder == NULL) {
        fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    unsigned passed = 0, failed = 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        char path[4096];
        int n = snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        if (n > 0 && (size_t)n < sizeof path && replay(path))
            passed++;
        else
            failed++;
    }
    closedir(folder);
    printf("%u inputs replayed, %u could not be\n", passed, failed);
    return passed == 0 || failed > 0 ? 1 : 0; /* an empty corpus tests nothing */
}
