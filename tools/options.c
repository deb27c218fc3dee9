/* SPDX-License-Identifier: MIT */
/* Options by popt, the same way for every command: --help with examples, what is given twice, how many arguments. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool_priv.h"

enum { HELP = 2 }; /* a `val` beside TOOL_MANY */

static poptContext context; /* arguments are popt's memory: it lives as long as they are used */

const char *tool_text(tool_texts texts)
{
    return texts != NULL ? texts[0] : NULL;
}

static bool is_table(const struct poptOption *option)
{
    return (option->argInfo & POPT_ARG_MASK) == POPT_ARG_INCLUDE_TABLE;
}

static bool ends(const struct poptOption *option)
{
    return option->longName == NULL && option->shortName == '\0' && option->arg == NULL;
}

/* The name of one that was given more than once, and must not be; NULL: none was. */
static const char *find_twice(const struct poptOption *options)
{
    const char *name = NULL;
    for (const struct poptOption *o = options; name == NULL && !ends(o); o++) {
        if (is_table(o)) {
            name = find_twice(o->arg);
        } else if ((o->argInfo & POPT_ARG_MASK) == POPT_ARG_ARGV && o->val != TOOL_MANY) {
            tool_texts texts = *(tool_texts *)o->arg;
            name = texts != NULL && texts[0] != NULL && texts[1] != NULL ? o->longName : NULL;
        }
    }
    return name;
}

static void free_texts(const struct poptOption *options)
{
    for (const struct poptOption *o = options; !ends(o); o++) {
        if (is_table(o)) {
            free_texts(o->arg);
        } else if ((o->argInfo & POPT_ARG_MASK) == POPT_ARG_ARGV) {
            char ***texts = (char ***)o->arg;
            for (char **text = *texts; text != NULL && *text != NULL; text++)
                free(*text);
            free(*texts);
            *texts = NULL;
        }
    }
}

void tool_options_done(const struct poptOption *options)
{
    context = poptFreeContext(context);
    free_texts(options);
}

static void help(const tool_usage *usage)
{
    poptPrintHelp(context, stdout, 0);
    if (usage->examples != NULL)
        printf("\nExamples:\n%s", usage->examples);
}

static int count(const char *const *args)
{
    int n = 0;
    while (args != NULL && args[n] != NULL)
        n++;
    return n;
}

/* TOOL_OK | TOOL_USAGE, and it is said */
static int check(const tool_usage *usage, const char *const *args)
{
    const char *twice = find_twice(usage->options);
    int n = count(args);
    if (twice != NULL)
        return tool_fail(TOOL_USAGE, "--%s is given twice: say it once", twice);
    if (n < usage->least)
        return tool_fail(TOOL_USAGE, "%s is missing: wanted is %s; --help has examples",
                         usage->least - n > 1 ? "more than one argument" : "an argument", usage->arguments);
    if (usage->most >= 0 && n > usage->most)
        return tool_fail(TOOL_USAGE, "'%s' is one argument too many: wanted is %s", args[usage->most],
                         usage->most > 0 ? usage->arguments : "none");
    return TOOL_OK;
}

bool tool_options(const tool_usage *usage, int argc, char **argv, const char *const **args, int *status)
{
    static const char *const none[] = {NULL};
    static int helps;
    const struct poptOption of_all[] = {
        {"help", 'h', POPT_ARG_NONE, &helps, HELP, "show this, and end", NULL},
        POPT_TABLEEND,
    };
    const struct poptOption all[] = {
        {NULL, '\0', POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)of_all, 0, NULL, NULL},
        {NULL, '\0', POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)usage->options, 0, NULL, NULL},
        POPT_TABLEEND,
    };
    char arguments[128];
    int got;
    context = poptGetContext(NULL, argc, (const char **)(uintptr_t)argv, all, 0);
    if (context == NULL) {
        *status = tool_fail(TOOL_FAILED, "memory is exhausted");
        return false;
    }
    (void)snprintf(arguments, sizeof arguments, "[OPTION...] %s", usage->arguments);
    poptSetOtherOptionHelp(context, arguments);
    while ((got = poptGetNextOpt(context)) > 0 && got != HELP) {
    }
    if (got == HELP) {
        help(usage);
        *status = TOOL_OK;
    } else if (got < -1) {
        *status =
            tool_fail(TOOL_USAGE, "%s: %s; --help shows the options", poptBadOption(context, POPT_BADOPTION_NOALIAS),
                      got == POPT_ERROR_BADNUMBER ? "a number is wanted" : poptStrerror(got));
    } else {
        const char **rest = poptGetArgs(context);
        *args = rest != NULL ? (const char *const *)rest : none;
        *status = check(usage, *args);
        if (*status == TOOL_OK)
            return true;
    }
    tool_options_done(usage->options);
    return false;
}
