#include "evalmpi/base/bytes.h"

#include <gtest/gtest.h>

namespace evalmpi {
namespace {

std::string message() {
  const std::vector<int32_t> values = {1, -2, 3};
  return ByteWriter().put(uint8_t{7}).put_text("text").put_array(values).put(Hash128{1, 2}).put(2.5).take();
}

TEST(Bytes, are_read_as_they_were_written) {
  const std::string bytes = message();
  ByteReader in(bytes, "message");
  EXPECT_EQ(in.get<uint8_t>(), 7);
  EXPECT_EQ(in.get_text(), "text");
  EXPECT_EQ(in.get_array<int32_t>(), (std::vector<int32_t>{1, -2, 3}));
  EXPECT_EQ(in.get_hash(), (Hash128{1, 2}));
  EXPECT_EQ(in.get<double>(), 2.5);
  EXPECT_TRUE(in.at_end());
  in.finish();
}

TEST(Bytes, a_cut_off_message_is_an_error_at_every_length) {
  const std::string bytes = message();
  for (size_t length = 0; length < bytes.size(); ++length) {
    ByteReader in(std::string_view(bytes).substr(0, length), "message");
    EXPECT_THROW((in.get<uint8_t>(), in.get_text(), in.get_array<int32_t>(), in.get_hash(), in.get<double>()), Error);
  }
}

TEST(Bytes, a_claimed_length_allocates_nothing) {
  const std::string bytes = ByteWriter().put(uint32_t{0xffffffff}).take();
  EXPECT_THROW(ByteReader(bytes, "message").get_array<double>(), Error);
  EXPECT_THROW(ByteReader(bytes, "message").get_text(), Error);
}

}  // namespace
}  // namespace evalmpi
