# SPDX-License-Identifier: MIT
# libb2: BLAKE2s. Makes Libb2::Libb2.
find_path(Libb2_INCLUDE_DIR blake2.h)
find_library(Libb2_LIBRARY b2)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libb2 REQUIRED_VARS Libb2_LIBRARY Libb2_INCLUDE_DIR)
mark_as_advanced(Libb2_INCLUDE_DIR Libb2_LIBRARY)
if(Libb2_FOUND AND NOT TARGET Libb2::Libb2)
    add_library(Libb2::Libb2 UNKNOWN IMPORTED)
    set_target_properties(Libb2::Libb2 PROPERTIES IMPORTED_LOCATION "${Libb2_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${Libb2_INCLUDE_DIR}")
endif()
