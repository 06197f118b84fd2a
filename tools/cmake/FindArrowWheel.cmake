# Arrow and Parquet C++ from the pyarrow wheel that tools/setup unpacked. Defines evalmpi_arrow.
# The wheel ships versioned file names only (libarrow.so.2600), so they are globbed.
find_path(ArrowWheel_INCLUDE_DIR arrow/api.h PATHS "${EVALMPI_DEPS_DIR}/python/pyarrow/include" NO_DEFAULT_PATH)
get_filename_component(_arrow_dir "${ArrowWheel_INCLUDE_DIR}" DIRECTORY)
file(GLOB ArrowWheel_arrow_LIBRARY "${_arrow_dir}/libarrow.so.*")
file(GLOB ArrowWheel_parquet_LIBRARY "${_arrow_dir}/libparquet.so.*")
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(ArrowWheel
  REQUIRED_VARS ArrowWheel_arrow_LIBRARY ArrowWheel_parquet_LIBRARY ArrowWheel_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run tools/setup, which unpacks it into .deps/python")
mark_as_advanced(ArrowWheel_INCLUDE_DIR)
if(ArrowWheel_FOUND AND NOT TARGET evalmpi_arrow)
  add_library(evalmpi_arrow INTERFACE)
  target_include_directories(evalmpi_arrow SYSTEM INTERFACE "${ArrowWheel_INCLUDE_DIR}")
  target_link_libraries(evalmpi_arrow INTERFACE "${ArrowWheel_arrow_LIBRARY}" "${ArrowWheel_parquet_LIBRARY}")
endif()
