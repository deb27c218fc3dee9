# SPDX-License-Identifier: MIT
# uthash: headers only, needed to build peapod and never to use it. Makes Uthash::Uthash.
find_path(Uthash_INCLUDE_DIR uthash.h)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Uthash REQUIRED_VARS Uthash_INCLUDE_DIR)
mark_as_advanced(Uthash_INCLUDE_DIR)
if(Uthash_FOUND AND NOT TARGET Uthash::Uthash)
    add_library(Uthash::Uthash INTERFACE IMPORTED)
    set_target_properties(Uthash::Uthash PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${Uthash_INCLUDE_DIR}")
endif()
