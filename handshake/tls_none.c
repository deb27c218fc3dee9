/* SPDX-License-Identifier: MIT */
/* The TLS stage of a build without TLS: it is there, and says that it can do nothing. */
#include "err_priv.h"
#include "peapod/chain.h"

pea_err pea_chain_tls(pea_chain *chain, const pea_tls_opts *opts, pea_error *why)
{
    (void)chain, (void)opts;
    return pea__error(why, PEA_E_UNSUPPORTED, "this library was built without TLS");
}

const char *pea_tls_library(void)
{
    return "none";
}
