# SPDX-License-Identifier: MIT
# The floors become one library, static and shared. Both are linked from the same objects.
set(_floors $<TARGET_OBJECTS:peapod_core> $<TARGET_OBJECTS:peapod_secure> $<TARGET_OBJECTS:peapod_handshake>
    $<TARGET_OBJECTS:peapod_mesh>)
set(_needs Libev::Libev Sodium::Sodium Threads::Threads)
if(PEAPOD_LIBB2)
    list(APPEND _needs Libb2::Libb2)
endif()
if(PEAPOD_TLS)
    list(APPEND _needs MbedTLS::mbedtls)
endif()
if(PEAPOD_WITH_LIBCRYPTO)
    list(APPEND _needs OpenSSL::Crypto)
endif()

add_library(peapod_static STATIC ${_floors})
set(PEAPOD_LIBRARIES peapod_static)
if(BUILD_SHARED_LIBS)
    add_library(peapod_shared SHARED ${_floors})
    list(APPEND PEAPOD_LIBRARIES peapod_shared)
    # While 0.x every minor version may change the ABI.
    set_target_properties(peapod_shared PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MINOR} EXPORT_NAME peapod)
    if(NOT PEAPOD_SANITIZE)
        target_link_options(peapod_shared PRIVATE LINKER:--no-undefined)
    endif()
endif()

foreach(_library ${PEAPOD_LIBRARIES})
    set_target_properties(${_library} PROPERTIES OUTPUT_NAME peapod)
    target_include_directories(${_library} INTERFACE
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_link_libraries(${_library} PRIVATE ${_needs} $<BUILD_INTERFACE:peapod_flags>)
endforeach()

add_library(peapod::peapod_static ALIAS peapod_static)
if(BUILD_SHARED_LIBS)
    add_library(peapod::peapod ALIAS peapod_shared)
else()
    add_library(peapod::peapod ALIAS peapod_static)
endif()
