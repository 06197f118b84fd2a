# libtorch from the torch wheel that tools/setup unpacked (or any installed torch: -DLibtorch_ROOT=.../torch).
# Defines evalmpi_torch: headers as system headers, libtorch_cpu and libc10. The wheel's own TorchConfig
# is not used because it demands a CUDA toolkit even for a program that only needs the CPU library.
find_path(Libtorch_INCLUDE_DIR ATen/core/Tensor.h
  PATHS "${EVALMPI_DEPS_DIR}/python/torch/include" NO_DEFAULT_PATH PATH_SUFFIXES include)
find_path(Libtorch_INCLUDE_DIR ATen/core/Tensor.h PATH_SUFFIXES include)
get_filename_component(_torch_dir "${Libtorch_INCLUDE_DIR}" DIRECTORY)
foreach(lib torch_cpu c10 torch)
  find_library(Libtorch_${lib}_LIBRARY ${lib} PATHS "${_torch_dir}/lib" NO_DEFAULT_PATH)
endforeach()
# What libtorch_cpu.so itself needs at run time.
find_path(Libtorch_CUDART_DIR NAMES libcudart.so.13 libcudart.so.12
  PATHS "${_torch_dir}/../nvidia/cu13/lib" "${_torch_dir}/../nvidia/cuda_runtime/lib" NO_DEFAULT_PATH)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libtorch
  REQUIRED_VARS Libtorch_torch_cpu_LIBRARY Libtorch_c10_LIBRARY Libtorch_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run tools/setup, which unpacks it into .deps/python")
mark_as_advanced(Libtorch_INCLUDE_DIR Libtorch_torch_cpu_LIBRARY Libtorch_c10_LIBRARY Libtorch_torch_LIBRARY Libtorch_CUDART_DIR)
if(Libtorch_FOUND AND NOT TARGET evalmpi_torch)
  add_library(evalmpi_torch INTERFACE)
  # The wheel ships headers of another fmt than the library that evalmpi links; ours must be found first.
  find_path(Libtorch_FMT_INCLUDE_DIR fmt/format.h)
  mark_as_advanced(Libtorch_FMT_INCLUDE_DIR)
  file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/before_libtorch")
  file(CREATE_LINK "${Libtorch_FMT_INCLUDE_DIR}/fmt" "${CMAKE_BINARY_DIR}/before_libtorch/fmt" SYMBOLIC)
  target_include_directories(evalmpi_torch SYSTEM INTERFACE
    "${CMAKE_BINARY_DIR}/before_libtorch"
    "${Libtorch_INCLUDE_DIR}" "${Libtorch_INCLUDE_DIR}/torch/csrc/api/include")
  target_link_libraries(evalmpi_torch INTERFACE "${Libtorch_torch_cpu_LIBRARY}" "${Libtorch_c10_LIBRARY}")
  if(Libtorch_CUDART_DIR)
    target_link_options(evalmpi_torch INTERFACE
      "-Wl,-rpath,${Libtorch_CUDART_DIR}" "-Wl,-rpath-link,${Libtorch_CUDART_DIR}")
  endif()
endif()
