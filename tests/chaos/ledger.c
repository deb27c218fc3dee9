/* SPDX-License-Identifier: MIT */
#include "chaos.h"

ledger books;

static void same(const char *owed_name, unsigned long owed, const char *done_name, unsigned long done)
{
    if (owed != done)
        chaos_fail("%lu %s, but %lu %s", owed, owed_name, done, done_name);
}

void ledger_check(void)
{
    same("on_connect", books.connects, "on_disconnect", books.disconnects);
    same("dials", books.dials, "ends of dials", books.dial_connects + books.dial_failures);
    same("confirmations of sends owed", books.sends_owed, "fired", books.sends_told);
    same("completions of broadcasts owed", books.broadcasts_owed, "fired", books.broadcasts_told);
    if (books.handed_over > books.taken) /* a node may end before it hears that it was taken from */
        chaos_fail("%lu nodes handed over, to %lu heirs", books.handed_over, books.taken);
    same("completions of shutdowns owed", books.shutdowns_owed, "fired", books.shutdowns_told);
}
