# SPDX-License-Identifier: MIT
# What `cmake --install` lays down: the headers, the libraries, a CMake package with its Find modules, and peapod.pc.
# The static library's targets are a file of their own, since only who links it needs the development files of what is below.
include(CMakePackageConfigHelpers)
set(_package ${CMAKE_INSTALL_LIBDIR}/cmake/peapod)

install(DIRECTORY include/peapod DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(TARGETS peapod_static EXPORT peapodStatic ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT peapodStatic NAMESPACE peapod:: DESTINATION ${_package} FILE peapodStatic.cmake)
if(BUILD_SHARED_LIBS)
    install(TARGETS peapod_shared EXPORT peapodShared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(EXPORT peapodShared NAMESPACE peapod:: DESTINATION ${_package} FILE peapodShared.cmake)
endif()

configure_package_config_file(cmake/peapodConfig.cmake.in peapodConfig.cmake INSTALL_DESTINATION ${_package})
write_basic_package_version_file(peapodConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/peapodConfig.cmake" "${PROJECT_BINARY_DIR}/peapodConfigVersion.cmake"
    cmake/FindLibev.cmake cmake/FindSodium.cmake cmake/FindMbedTLS.cmake cmake/FindLibb2.cmake DESTINATION ${_package})

# peapod.pc finds its prefix from where it lies, so that a staged or moved tree works as it is.
set(_pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH PEAPOD_PC_PREFIX "/p/${_pc_dir}" "/p")
string(REGEX REPLACE "/$" "" PEAPOD_PC_PREFIX "${PEAPOD_PC_PREFIX}")
set(PEAPOD_REQUIRES_PRIVATE "libsodium >= 1.0.18")
if(PEAPOD_LIBB2)
    string(APPEND PEAPOD_REQUIRES_PRIVATE ", libb2")
endif()
if(PEAPOD_WITH_LIBCRYPTO)
    string(APPEND PEAPOD_REQUIRES_PRIVATE ", libcrypto >= 3")
endif()
set(PEAPOD_LIBS_PRIVATE "")
if(PEAPOD_TLS) # mbedTLS 2.28 has no .pc files
    set(PEAPOD_LIBS_PRIVATE "-lmbedtls -lmbedx509 -lmbedcrypto ")
endif()
configure_file(cmake/peapod.pc.in peapod.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/peapod.pc" DESTINATION ${_pc_dir})
