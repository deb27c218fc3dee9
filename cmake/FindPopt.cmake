# SPDX-License-Identifier: MIT
# popt: the options of the tool, and of nothing else. Makes Popt::Popt.
find_path(Popt_INCLUDE_DIR popt.h)
find_library(Popt_LIBRARY popt)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Popt REQUIRED_VARS Popt_LIBRARY Popt_INCLUDE_DIR)
mark_as_advanced(Popt_INCLUDE_DIR Popt_LIBRARY)
if(Popt_FOUND AND NOT TARGET Popt::Popt)
    add_library(Popt::Popt UNKNOWN IMPORTED)
    set_target_properties(Popt::Popt PROPERTIES IMPORTED_LOCATION "${Popt_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${Popt_INCLUDE_DIR}")
endif()
