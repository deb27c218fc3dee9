# SPDX-License-Identifier: MIT
# The test of secrets under valgrind: the program, whose calls of libraries go through boundary.c, and the test that
# runs it. Where it cannot be run, the test is skipped and says why.
include(CheckIncludeFile)
check_include_file(valgrind/memcheck.h PEAPOD_HAS_MEMCHECK_H)
find_program(PEAPOD_VALGRIND valgrind)
mark_as_advanced(PEAPOD_VALGRIND)

if(PEAPOD_SANITIZE)
    set(_cannot "built with a sanitizer, which valgrind cannot run")
elseif(NOT PEAPOD_HAS_MEMCHECK_H OR NOT PEAPOD_VALGRIND)
    set(_cannot "valgrind is not installed")
elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug" OR NOT CMAKE_C_COMPILER_ID STREQUAL "GNU")
    set(_cannot "only of a debug build by GCC does every valgrind read the debug information")
endif()

if(_cannot)
    pea_run(secrets secrets "${CMAKE_CURRENT_LIST_DIR}/run" --skip "${_cannot}")
else()
    pea_program(secrets/secrets_test.c secrets/boundary.c)
    foreach(_call
            memchr crypto_scalarmult_base crypto_scalarmult pea__x25519_canonical sodium_is_zero sodium_memcmp randombytes_buf read write
            crypto_aead_chacha20poly1305_ietf_decrypt crypto_aead_aes256gcm_decrypt crypto_aead_aes256gcm_decrypt_afternm
            pea__aead_encrypt pea__encrypt_with_ad pea__decrypt_with_ad pea__mix_key_and_hash pea__guard pea__keyfile_read)
        target_link_options(secrets_test PRIVATE LINKER:--wrap=${_call})
    endforeach()
    if(PEAPOD_TLS)
        target_sources(secrets_test PRIVATE secrets/boundary_tls.c)
        target_compile_definitions(secrets_test PRIVATE PEA_TEST_TLS=1)
        target_link_libraries(secrets_test PRIVATE MbedTLS::mbedtls)
        foreach(_call
                mbedtls_pk_parse_key mbedtls_pk_write_key_der mbedtls_pkcs5_pbkdf2_hmac mbedtls_pkcs5_pbkdf2_hmac_ext
                mbedtls_aes_setkey_dec mbedtls_aes_crypt_cbc)
            target_link_options(secrets_test PRIVATE LINKER:--wrap=${_call})
        endforeach()
    endif()
    pea_run(secrets secrets "${CMAKE_CURRENT_LIST_DIR}/run" $<TARGET_FILE:secrets_test>)
endif()
set_tests_properties(secrets PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
