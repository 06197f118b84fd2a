# The build's own vocabulary: compiler settings, and one function for each kind of target.

# Lowest first: a module may include only modules listed before it (DESIGN of the tree, README "Map").
set(EVALMPI_MODULES base device comm store text net data ops model engine task remote job eval tune
    sweep report cli)
# A module appears here once its folder exists.
foreach(module IN LISTS EVALMPI_MODULES)
  if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/src/${module}/CMakeLists.txt")
    list(REMOVE_ITEM EVALMPI_MODULES ${module})
  endif()
endforeach()

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
# The program is called from anywhere: it finds libtorch and Arrow beside the tree by rpath.
set(CMAKE_BUILD_RPATH_USE_ORIGIN OFF)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
  set(CMAKE_C_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()

# -DEVALMPI_SANITIZE=address,undefined: our code with these sanitizers (tools/test --sanitize). A finding ends the program.
set(EVALMPI_SANITIZE "" CACHE STRING "Sanitizers, with commas between them; empty for none")
if(EVALMPI_SANITIZE)
  add_compile_options(
    "$<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${EVALMPI_SANITIZE};-fno-sanitize-recover=all;-fno-omit-frame-pointer;-g1;-O1>")
  add_link_options("-fsanitize=${EVALMPI_SANITIZE}")
endif()

add_library(evalmpi_settings INTERFACE)
target_include_directories(evalmpi_settings INTERFACE "${CMAKE_CURRENT_SOURCE_DIR}/include")
target_compile_options(evalmpi_settings INTERFACE
  "$<$<COMPILE_LANGUAGE:C,CXX>:-Wall;-Wextra;-Wpedantic;-Werror;-Wno-psabi>"
  "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra;-Werror=all-warnings>")

# evalmpi_module(NAME SOURCES file... [DEPS module-or-target...] [PRIVATE_DEPS target...])
#   One static library evalmpi_NAME (alias evalmpi::NAME). DEPS are the arrows of the module's public
#   headers; PRIVATE_DEPS are libraries that only its .cpp files see.
function(evalmpi_module name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(evalmpi_${name} STATIC ${ARG_SOURCES})
  add_library(evalmpi::${name} ALIAS evalmpi_${name})
  target_include_directories(evalmpi_${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  target_link_libraries(evalmpi_${name} PUBLIC ${ARG_DEPS} PRIVATE evalmpi_settings ${ARG_PRIVATE_DEPS})
  target_include_directories(evalmpi_${name} PUBLIC "${PROJECT_SOURCE_DIR}/include")
endfunction()

# evalmpi_test(NAME SOURCES file... DEPS target... [LABELS label...])
#   One GoogleTest program and one CTest entry of the same name.
function(evalmpi_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE evalmpi_settings ${ARG_DEPS} GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE EVALMPI_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests/support")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
endfunction()

# evalmpi_mpi_test(NAME RANKS n... SOURCES file... DEPS target... [LABELS label...] [LOCKS resource...])
#   A GoogleTest program with its own main (it calls MPI_Init); one CTest entry NAME.npK for each K.
#   MPI tests run one at a time: two cores, and Open MPI starts badly on a busy machine.
function(evalmpi_mpi_test name)
  cmake_parse_arguments(ARG "" "" "RANKS;SOURCES;DEPS;LABELS;LOCKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE evalmpi_settings ${ARG_DEPS} GTest::gtest)
  target_compile_definitions(${name} PRIVATE EVALMPI_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests/support")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  foreach(ranks IN LISTS ARG_RANKS)
    add_test(NAME ${name}.np${ranks} COMMAND "${PROJECT_SOURCE_DIR}/tests/support/mpi_run" ${ranks} $<TARGET_FILE:${name}>)
    set_tests_properties(${name}.np${ranks} PROPERTIES TIMEOUT 120 LABELS "mpi;${ARG_LABELS}" RESOURCE_LOCK "mpi;${ARG_LOCKS}")
  endforeach()
endfunction()

# evalmpi_gpu_test(NAME SOURCES file... DEPS target... [TIMEOUT seconds])
#   A GoogleTest program for a machine with an NVIDIA GPU, labelled gpu: tools/test -L gpu runs these, one at a time.
#   Its tests begin with EVALMPI_NEEDS_CUDA() (tests/support/cuda_device.h), which skips them where there is no
#   device. A build without CUDA does not compile it and lists it as skipped.
function(evalmpi_gpu_test name)
  if(EVALMPI_HAS_CUDA)
    evalmpi_test(${name} ${ARGN} LABELS gpu)
    target_link_libraries(${name} PRIVATE evalmpi::device)
    set_tests_properties(${name} PROPERTIES RESOURCE_LOCK gpu)
  else()
    evalmpi_skipped_gpu_test(${name})
  endif()
endfunction()

# evalmpi_gpu_mpi_test(NAME RANKS n... SOURCES file... DEPS target...)
#   The same with the arguments of evalmpi_mpi_test.
function(evalmpi_gpu_mpi_test name)
  if(EVALMPI_HAS_CUDA)
    evalmpi_mpi_test(${name} ${ARGN} LABELS gpu LOCKS gpu)
    target_link_libraries(${name} PRIVATE evalmpi::device)
  else()
    evalmpi_skipped_gpu_test(${name})
  endif()
endfunction()

function(evalmpi_skipped_gpu_test name)
  add_test(NAME ${name} COMMAND "${CMAKE_COMMAND}" -E echo
    "skipped: this build has no CUDA (tools/setup --cuda fetches what it needs beside nvcc)")
  set_tests_properties(${name} PROPERTIES LABELS gpu SKIP_REGULAR_EXPRESSION "^skipped: ")
endfunction()
