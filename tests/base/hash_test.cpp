#include "evalmpi/base/hash.h"

#include <gtest/gtest.h>

namespace evalmpi {
namespace {

TEST(Crc32c, has_the_values_of_rfc_3720) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
}

TEST(Crc32c, continues_where_it_stopped) {
  const std::string text = "a text that is longer than one machine word";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(crc32c(text.substr(cut), crc32c(text.substr(0, cut))), crc32c(text));
  }
}

TEST(Sha256, has_the_values_of_fips_180_2) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

// Published vector of XXH3: the 128-bit hash of no bytes with seed 0.
TEST(Hash128, is_xxh3_128) { EXPECT_EQ(hash128("").hex(), "99aa06d3014798d86001c324468d497f"); }

TEST(Hasher, raw_bytes_in_parts_give_the_hash_of_the_whole) {
  const std::string_view text = "one two three";
  Hasher hasher;
  hasher.add_raw(std::as_bytes(std::span(text.data(), 4)));
  hasher.add_raw(std::as_bytes(std::span(text.data() + 4, text.size() - 4)));
  EXPECT_EQ(hasher.finish(), hash128(text));
}

TEST(Hasher, strings_do_not_run_into_each_other) {
  EXPECT_NE(Hasher().add("ab").add("c").finish(), Hasher().add("a").add("bc").finish());
}

}  // namespace
}  // namespace evalmpi
