# Everything that is not ours. tools/setup installs it; what is missing is named with that remedy.
set(EVALMPI_DEPS_DIR "${PROJECT_SOURCE_DIR}/.deps" CACHE PATH
    "Where tools/setup unpacked the wheels (libtorch, Arrow, CUDA runtime)")

find_package(Threads REQUIRED)
find_package(MPI REQUIRED COMPONENTS C)
find_package(HDF5 REQUIRED COMPONENTS C)
if(HDF5_IS_PARALLEL)
  message(FATAL_ERROR "evalmpi writes HDF5 from one process and needs the serial library (libhdf5-dev), but CMake found "
                      "the parallel one. Set HDF5_ROOT or HDF5_C_COMPILER_EXECUTABLE=h5cc.")
endif()
find_package(Boost REQUIRED COMPONENTS program_options)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
find_package(Libtorch REQUIRED)
find_package(ArrowWheel REQUIRED)
if(EVALMPI_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()

# C++ bindings of Open MPI are old and noisy; only the C API is used.
add_library(evalmpi_mpi INTERFACE)
target_link_libraries(evalmpi_mpi INTERFACE MPI::MPI_C)
target_compile_definitions(evalmpi_mpi INTERFACE OMPI_SKIP_MPICXX)
if(NOT TARGET yaml-cpp::yaml-cpp)
  add_library(yaml-cpp::yaml-cpp ALIAS yaml-cpp)
endif()
