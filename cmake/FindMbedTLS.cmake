# SPDX-License-Identifier: MIT
# mbedTLS 2.28 and 3.6 by their libraries and headers: only newer ones bring a CMake package, and only some systems ship it.
# Makes MbedTLS::mbedcrypto, MbedTLS::mbedx509 and MbedTLS::mbedtls, the names of mbedTLS's own package.
find_path(MbedTLS_INCLUDE_DIR mbedtls/ssl.h)
foreach(_part tls x509 crypto)
    find_library(MbedTLS_${_part}_LIBRARY mbed${_part})
endforeach()
# 3.x keeps the numbers in build_info.h, 2.x in version.h.
foreach(_header build_info.h version.h)
    if(NOT MbedTLS_VERSION AND MbedTLS_INCLUDE_DIR AND EXISTS "${MbedTLS_INCLUDE_DIR}/mbedtls/${_header}")
        file(STRINGS "${MbedTLS_INCLUDE_DIR}/mbedtls/${_header}" _line REGEX "#define MBEDTLS_VERSION_STRING +\"")
        string(REGEX REPLACE ".*\"([0-9.]+)\".*" "\\1" MbedTLS_VERSION "${_line}")
    endif()
endforeach()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MbedTLS VERSION_VAR MbedTLS_VERSION
    REQUIRED_VARS MbedTLS_tls_LIBRARY MbedTLS_x509_LIBRARY MbedTLS_crypto_LIBRARY MbedTLS_INCLUDE_DIR)
mark_as_advanced(MbedTLS_INCLUDE_DIR MbedTLS_tls_LIBRARY MbedTLS_x509_LIBRARY MbedTLS_crypto_LIBRARY)
if(MbedTLS_FOUND)
    foreach(_part crypto x509 tls)
        if(NOT TARGET MbedTLS::mbed${_part})
            add_library(MbedTLS::mbed${_part} UNKNOWN IMPORTED)
            set_target_properties(MbedTLS::mbed${_part} PROPERTIES IMPORTED_LOCATION "${MbedTLS_${_part}_LIBRARY}"
                INTERFACE_INCLUDE_DIRECTORIES "${MbedTLS_INCLUDE_DIR}")
        endif()
    endforeach()
    set_property(TARGET MbedTLS::mbedx509 PROPERTY INTERFACE_LINK_LIBRARIES MbedTLS::mbedcrypto)
    set_property(TARGET MbedTLS::mbedtls PROPERTY INTERFACE_LINK_LIBRARIES MbedTLS::mbedx509)
endif()
