#include <gtest/gtest.h>

#include "evalmpi/device/cpu.h"

namespace {
int calls = 0;
}

// As an allocator that is preloaded in the C library's place has it.
extern "C" int mallopt(int, int) noexcept {
  ++calls;
  return 0;
}

namespace evalmpi::device {
namespace {

TEST(KeepFreedMemory, asks_and_takes_no_for_an_answer) {
  keep_freed_memory();
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace evalmpi::device
