# SPDX-License-Identifier: MIT
# How everything here is compiled: warnings, sanitizers, hardening. They are carried by the interface target peapod_flags,
# which is never exported: who uses the library keeps their own flags.
include(CheckCCompilerFlag)
include(CheckCSourceCompiles)
include(CheckPIESupported)
check_pie_supported() # CMAKE_POSITION_INDEPENDENT_CODE then links programs with -pie

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_C_COMPILER_LAUNCHER)
    find_program(PEAPOD_CCACHE ccache)
    mark_as_advanced(PEAPOD_CCACHE)
    if(PEAPOD_CCACHE)
        set(CMAKE_C_COMPILER_LAUNCHER "${PEAPOD_CCACHE}")
    endif()
endif()

add_library(peapod_flags INTERFACE)
target_compile_definitions(peapod_flags INTERFACE _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE)
target_compile_options(peapod_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
    -Wcast-qual -Wundef -Wformat=2 -Wnull-dereference -Wdouble-promotion -Wpointer-arith -Wwrite-strings)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(peapod_flags INTERFACE -Wlogical-op -Wduplicated-cond -Wduplicated-branches)
endif()
if(PEAPOD_WERROR)
    target_compile_options(peapod_flags INTERFACE -Werror)
endif()

if(PEAPOD_SANITIZE)
    target_compile_options(peapod_flags INTERFACE -fsanitize=${PEAPOD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(peapod_flags INTERFACE -fsanitize=${PEAPOD_SANITIZE})
endif()

if(PEAPOD_HARDENED)
    foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection)
        string(MAKE_C_IDENTIFIER "PEAPOD_HAS${flag}" has)
        check_c_compiler_flag("-Werror ${flag}" ${has})
        if(${has})
            target_compile_options(peapod_flags INTERFACE ${flag})
        endif()
    endforeach()

    # A C library that does not know level 3 says so by a warning and falls back to 2.
    set(CMAKE_REQUIRED_FLAGS "-O2 -Werror -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3")
    check_c_source_compiles("#include <string.h>\nint main(int c, char **v) { char b[4]; memset(b, c, sizeof b); return b[0] + !v; }"
        PEAPOD_HAS_FORTIFY_3)
    unset(CMAKE_REQUIRED_FLAGS)
    target_compile_options(peapod_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$<IF:$<BOOL:${PEAPOD_HAS_FORTIFY_3}>,3,2>)
    target_link_options(peapod_flags INTERFACE LINKER:-z,relro LINKER:-z,now)
endif()
