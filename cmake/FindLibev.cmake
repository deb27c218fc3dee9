# SPDX-License-Identifier: MIT
# libev has neither a pkg-config file nor a CMake package. Makes Libev::Libev.
find_path(Libev_INCLUDE_DIR ev.h PATH_SUFFIXES libev)
find_library(Libev_LIBRARY ev)
if(Libev_INCLUDE_DIR)
    file(STRINGS "${Libev_INCLUDE_DIR}/ev.h" _libev_lines REGEX "#define EV_VERSION_(MAJOR|MINOR)")
    string(REGEX REPLACE ".*EV_VERSION_MAJOR +([0-9]+).*EV_VERSION_MINOR +([0-9]+).*" "\\1.\\2" Libev_VERSION "${_libev_lines}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libev REQUIRED_VARS Libev_LIBRARY Libev_INCLUDE_DIR VERSION_VAR Libev_VERSION)
mark_as_advanced(Libev_INCLUDE_DIR Libev_LIBRARY)
if(Libev_FOUND AND NOT TARGET Libev::Libev)
    add_library(Libev::Libev UNKNOWN IMPORTED)
    set_target_properties(Libev::Libev PROPERTIES IMPORTED_LOCATION "${Libev_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${Libev_INCLUDE_DIR}" INTERFACE_LINK_LIBRARIES m)
endif()
