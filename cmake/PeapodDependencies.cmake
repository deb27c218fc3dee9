# SPDX-License-Identifier: MIT
# The libraries under peapod. scripts/install-deps installs what Debian calls them.
find_package(Threads REQUIRED)
find_package(Libev 4.33 REQUIRED)
find_package(Sodium 1.0.18 REQUIRED)
find_package(Uthash REQUIRED)
if(PEAPOD_LIBB2)
    find_package(Libb2 REQUIRED)
endif()

if(PEAPOD_TLS)
    find_package(MbedTLS 2.28 REQUIRED)
    # 3.0 to 3.5 and 4 differ in their API, and nobody tests peapod with them.
    if(MbedTLS_VERSION VERSION_GREATER_EQUAL 2.29 AND NOT MbedTLS_VERSION MATCHES "^3[.]6[.]")
        message(FATAL_ERROR "mbedTLS ${MbedTLS_VERSION} is neither 3.6 nor 2.28. Install one of them, or say -DPEAPOD_TLS=OFF.")
    endif()
endif()

set(PEAPOD_WITH_LIBCRYPTO OFF)
if(PEAPOD_LIBCRYPTO STREQUAL "AUTO")
    find_package(OpenSSL 3 QUIET COMPONENTS Crypto)
    if(OpenSSL_FOUND)
        set(PEAPOD_WITH_LIBCRYPTO ON)
    endif()
elseif(PEAPOD_LIBCRYPTO)
    find_package(OpenSSL 3 REQUIRED COMPONENTS Crypto)
    set(PEAPOD_WITH_LIBCRYPTO ON)
endif()
message(STATUS "peapod ${PROJECT_VERSION}: TLS ${PEAPOD_TLS}, libcrypto ${PEAPOD_WITH_LIBCRYPTO}, libb2 ${PEAPOD_LIBB2}")
