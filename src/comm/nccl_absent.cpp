// A build without CUDA.
#include "nccl_library.h"

namespace evalmpi::comm {

std::shared_ptr<NcclLibrary> nccl_library() { return nullptr; }

}  // namespace evalmpi::comm
