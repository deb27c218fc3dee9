/* SPDX-License-Identifier: MIT */
/* Lines of a word and what belongs to it; "#" begins a comment. The words are those of the options of other
 * commands. */
#include "mesh_file_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES (1u << 20) /* ten thousand peers, and room */
#define WORDS_MAX (2u + PEA_BOOK_ADDRESSES_MAX)

typedef struct place {
    const char *path;
    size_t folder; /* bytes of the path before its last part */
    unsigned line;
} place;

static int wrong(const place *at, const char *text)
{
    return tool_fail(TOOL_USAGE, "%s:%u: %s", at->path, at->line, text);
}

static int no_memory(void)
{
    return tool_fail(TOOL_FAILED, "memory is exhausted");
}

/* Takes the text, NULL being one that there was no memory for. */
static int append(tool_list *list, char *text)
{
    const char **texts = text != NULL ? realloc(list->texts, (list->n + 2) * sizeof *texts) : NULL;
    if (texts == NULL) {
        free(text);
        return no_memory();
    }
    texts[list->n++] = text;
    texts[list->n] = NULL;
    list->texts = texts;
    return TOOL_OK;
}

static char *in_folder(const place *at, const char *name)
{
    size_t folder = name[0] == '/' ? 0 : at->folder, size = folder + strlen(name) + 1;
    char *path = malloc(size);
    if (path != NULL)
        (void)snprintf(path, size, "%.*s%s", (int)folder, at->path, name);
    return path;
}

static int add_peer(tool_mesh_file *file, const place *at, char **words, size_t n)
{
    pea_error why = {.code = PEA_OK};
    pea_peer peer;
    if (n < 3)
        return wrong(at, "wanted is: peer ID ADDR...");
    if (pea_peer_parse(&peer, words[1], &why) != PEA_OK)
        return wrong(at, why.text);
    for (size_t i = 2; i < n; i++) {
        pea_addr addr;
        if (pea_addr_parse(&addr, words[i], &why) != PEA_OK ||
            pea_book_add(file->book, &peer, &addr, NULL, &why) != PEA_OK)
            return wrong(at, why.text[0] != '\0' ? why.text : pea_err_text(why.code));
    }
    return append(&file->ids, strdup(words[1]));
}

static const struct {
    const char *word;
    size_t list; /* offset in tool_mesh_file */
    bool file, many;
} one_word[] = {
    {"listen", offsetof(tool_mesh_file, listen), false, true},
    {"key", offsetof(tool_mesh_file, key), true, false},
    {"cert", offsetof(tool_mesh_file, cert), true, false},
    {"trust", offsetof(tool_mesh_file, trust), true, true},
    {"network-name", offsetof(tool_mesh_file, network_name), false, false},
    {"network-key", offsetof(tool_mesh_file, network_key), true, false},
};

static int take_words(tool_mesh_file *file, const place *at, char **words, size_t n)
{
    if (strcmp(words[0], "peer") == 0)
        return add_peer(file, at, words, n);
    if (strcmp(words[0], "tls") == 0 && n == 1) {
        file->tls = true;
        return TOOL_OK;
    }
    for (size_t i = 0; i < sizeof one_word / sizeof one_word[0]; i++) {
        tool_list *list = (tool_list *)(void *)((char *)file + one_word[i].list);
        if (strcmp(words[0], one_word[i].word) != 0)
            continue;
        if (n != 2)
            return wrong(at, "wanted are two words");
        if (!one_word[i].many && list->n > 0)
            return wrong(at, "this was said before");
        return append(list, one_word[i].file ? in_folder(at, words[1]) : strdup(words[1]));
    }
    return tool_fail(TOOL_USAGE,
                     "%s:%u: '%s' is no word of this file: listen, key, trust, peer, network-name, "
                     "network-key, tls, cert are",
                     at->path, at->line, words[0]);
}

/* `line` is cut into words. */
static int take_line(tool_mesh_file *file, const place *at, char *line)
{
    char *words[WORDS_MAX], *save = NULL;
    size_t n = 0;
    line[strcspn(line, "#\r")] = '\0';
    for (char *word = strtok_r(line, " \t", &save); word != NULL; word = strtok_r(NULL, " \t", &save)) {
        if (n == WORDS_MAX)
            return wrong(at, "there are too many words");
        words[n++] = word;
    }
    return n > 0 ? take_words(file, at, words, n) : TOOL_OK;
}

static int load(tool_mesh_file *file, const char *path)
{
    FILE *from = fopen(path, "re");
    if (from == NULL)
        return tool_fail(TOOL_FAILED, "%s: %s", path, strerror(errno));
    file->text = malloc(FILE_BYTES + 1);
    size_t n = file->text != NULL ? fread(file->text, 1, FILE_BYTES + 1, from) : 0;
    bool failed = ferror(from) != 0;
    (void)fclose(from);
    if (file->text == NULL)
        return no_memory();
    if (failed)
        return tool_fail(TOOL_FAILED, "%s: it could not be read", path);
    if (n > FILE_BYTES || memchr(file->text, '\0', n) != NULL)
        return tool_fail(TOOL_USAGE, "%s: this is no such file: it is too large, or no text", path);
    file->text[n] = '\0';
    return TOOL_OK;
}

int tool_mesh_file_read(tool_mesh_file *file, const char *path)
{
    const char *slash = strrchr(path, '/');
    place at = {.path = path, .folder = slash != NULL ? (size_t)(slash - path) + 1 : 0};
    *file = (tool_mesh_file){.text = NULL};
    int status = load(file, path);
    if (status == TOOL_OK && pea_book_new(&file->book, NULL, NULL) != PEA_OK)
        status = no_memory();
    char *next = file->text;
    while (status == TOOL_OK && next != NULL) {
        char *line = next;
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        at.line++;
        status = take_line(file, &at, line);
    }
    if (status == TOOL_OK && file->key.n == 0)
        status = tool_fail(TOOL_USAGE, "%s: there is no line 'key FILE'", path);
    if (status == TOOL_OK && file->listen.n + file->ids.n == 0)
        status = tool_fail(TOOL_USAGE,
                           "%s: there is nobody to meet: neither a line 'listen ADDR' nor 'peer ID "
                           "ADDR'",
                           path);
    return status;
}

static void free_list(tool_list *list)
{
    union {
        const char *in;
        char *out;
    } unconst;
    for (size_t i = 0; i < list->n; i++) {
        unconst.in = list->texts[i];
        free(unconst.out);
    }
    free(list->texts);
}

void tool_mesh_file_free(tool_mesh_file *file)
{
    tool_list *lists[] = {&file->listen, &file->key,          &file->cert,       &file->trust,
                          &file->ids,    &file->network_name, &file->network_key};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        free_list(lists[i]);
    pea_book_free(file->book);
    free(file->text);
    *file = (tool_mesh_file){.text = NULL};
}
