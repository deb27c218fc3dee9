# SPDX-License-Identifier: MIT
# project(VERSION) above is the version; the macros of include/peapod/version.h must say the same, or nothing is built.
foreach(_part MAJOR MINOR PATCH)
    file(STRINGS "${PROJECT_SOURCE_DIR}/include/peapod/version.h" _line REGEX "^#define PEA_VERSION_${_part} [0-9]+$")
    string(REGEX REPLACE ".* " "" _number "${_line}")
    if(NOT _number STREQUAL PROJECT_VERSION_${_part})
        message(FATAL_ERROR "include/peapod/version.h: PEA_VERSION_${_part} is '${_number}', but project(VERSION) in "
            "CMakeLists.txt says ${PROJECT_VERSION}. Make them agree.")
    endif()
endforeach()
# The header belongs to the question whether this has to be asked again.
set_property(DIRECTORY "${PROJECT_SOURCE_DIR}" APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS include/peapod/version.h)
