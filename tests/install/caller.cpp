// SPDX-License-Identifier: MIT
// A C++ caller: every options struct begins with its INIT macro, and fields are set by name afterwards. Compiled by scripts/lint with every
// warning, linked and run by the stranger's project.
#include <cstdio>

#include <peapod/peapod.h>

int main()
{
    pea_node_opts node = PEA_NODE_INIT;
    node.name = "caller";
    node.max_pending = 16;
    pea_pipe_opts pipe = PEA_PIPE_INIT;
    pipe.side = PEA_RESPONDER;
    pea_chain_opts chain = PEA_CHAIN_INIT;
    chain.mode = PEA_NATIVE;
    pea_runtime_opts runtime = PEA_RUNTIME_INIT;
    pea_noise_opts noise = PEA_NOISE_INIT;
    pea_listen_opts listen = PEA_LISTEN_INIT;
    pea_dial_opts dial = PEA_DIAL_INIT;
    pea_length_opts length = PEA_LENGTH_INIT;
    bool sizes = node.size == sizeof node && pipe.size == sizeof pipe && chain.size == sizeof chain && runtime.size == sizeof runtime &&
                 noise.size == sizeof noise && listen.size == sizeof listen && dial.size == sizeof dial && length.size == sizeof length;
    std::printf("%s\n", pea_version_string());
    return sizes ? 0 : 1;
}
