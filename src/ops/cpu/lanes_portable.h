#pragma once

// Sixteen float lanes in an array, for processors without a table of their own. Slow where the processor has
// no fused multiply-add, since the C library then emulates it; the bits are the same.

#include <cstdint>

#include "cpu/kernels.h"

namespace evalmpi::ops {
namespace {

#define EVALMPI_LANES inline

constexpr char kVariant[] = "portable";
constexpr int kTileRows = 4;
constexpr int kTileVectors = 4;

struct Lanes {
  float v[16];
};
struct Bits {
  int32_t v[16];
};
struct Mask {
  bool v[16];
};

template <class Out, class F>
EVALMPI_LANES Out per_lane(F f) {
  Out out;
  for (int i = 0; i < 16; ++i) out.v[i] = f(i);
  return out;
}

EVALMPI_LANES Mask first_lanes(int64_t n) {
  return per_lane<Mask>([=](int i) { return i < n; });
}
EVALMPI_LANES Lanes splat(float x) {
  return per_lane<Lanes>([=](int) { return x; });
}
EVALMPI_LANES Lanes load(const float* p) {
  return per_lane<Lanes>([=](int i) { return p[i]; });
}
EVALMPI_LANES Lanes load_first(const float* p, int64_t n) {
  return per_lane<Lanes>([=](int i) { return i < n ? p[i] : 0.0f; });
}
EVALMPI_LANES void store(float* p, Lanes a) { __builtin_memcpy(p, a.v, sizeof a.v); }
EVALMPI_LANES void store_first(float* p, Lanes a, int64_t n) {
  for (int i = 0; i < 16 && i < n; ++i) p[i] = a.v[i];
}

EVALMPI_LANES float float_of(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}
EVALMPI_LANES float widen(BFloat16 x) { return float_of(uint32_t{x.bits} << 16); }
EVALMPI_LANES float widen(Float16 x) {
  const uint32_t sign = uint32_t{x.bits & 0x8000u} << 16, exponent = (x.bits >> 10) & 0x1fu, digits = x.bits & 0x3ffu;
  if (exponent == 0x1f) return float_of(sign | 0x7f800000u | digits << 13 | (digits != 0 ? 0x400000u : 0u));
  if (exponent != 0) return float_of(sign | (exponent + 112) << 23 | digits << 13);
  const float tiny = static_cast<float>(digits) * 0x1p-24f;
  return sign != 0 ? -tiny : tiny;
}
EVALMPI_LANES Lanes load(const BFloat16* p) {
  return per_lane<Lanes>([=](int i) { return widen(p[i]); });
}
EVALMPI_LANES Lanes load(const Float16* p) {
  return per_lane<Lanes>([=](int i) { return widen(p[i]); });
}

EVALMPI_LANES Lanes operator+(const Lanes& a, const Lanes& b) {
  return per_lane<Lanes>([&](int i) { return a.v[i] + b.v[i]; });
}
EVALMPI_LANES Lanes operator-(const Lanes& a, const Lanes& b) {
  return per_lane<Lanes>([&](int i) { return a.v[i] - b.v[i]; });
}
EVALMPI_LANES Lanes operator*(const Lanes& a, const Lanes& b) {
  return per_lane<Lanes>([&](int i) { return a.v[i] * b.v[i]; });
}
EVALMPI_LANES Lanes operator/(const Lanes& a, const Lanes& b) {
  return per_lane<Lanes>([&](int i) { return a.v[i] / b.v[i]; });
}
EVALMPI_LANES Lanes fma(const Lanes& a, const Lanes& b, const Lanes& c) {
  return per_lane<Lanes>([&](int i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
}
EVALMPI_LANES Lanes max(const Lanes& a, const Lanes& b) {
  return per_lane<Lanes>([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
EVALMPI_LANES Lanes min(const Lanes& a, const Lanes& b) {
  return per_lane<Lanes>([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}

EVALMPI_LANES Mask operator<(const Lanes& a, const Lanes& b) {
  return per_lane<Mask>([&](int i) { return a.v[i] < b.v[i]; });
}
EVALMPI_LANES Mask operator==(const Lanes& a, const Lanes& b) {
  return per_lane<Mask>([&](int i) { return a.v[i] == b.v[i]; });
}
EVALMPI_LANES Mask but_not(const Mask& a, const Mask& b) {
  return per_lane<Mask>([&](int i) { return a.v[i] && !b.v[i]; });
}
EVALMPI_LANES Lanes select(const Mask& m, const Lanes& yes, const Lanes& no) {
  return per_lane<Lanes>([&](int i) { return m.v[i] ? yes.v[i] : no.v[i]; });
}
EVALMPI_LANES uint32_t bitmask(const Mask& m) {
  uint32_t bits = 0;
  for (int i = 0; i < 16; ++i) bits |= uint32_t{m.v[i]} << i;
  return bits;
}

EVALMPI_LANES Bits splat_bits(int32_t x) {
  return per_lane<Bits>([=](int) { return x; });
}
EVALMPI_LANES Bits bits_of(const Lanes& a) {
  Bits out;
  __builtin_memcpy(out.v, a.v, sizeof a.v);
  return out;
}
EVALMPI_LANES Lanes lanes_of(const Bits& a) {
  Lanes out;
  __builtin_memcpy(out.v, a.v, sizeof a.v);
  return out;
}
// Integers wrap, as the vector instructions do.
EVALMPI_LANES Bits operator+(const Bits& a, const Bits& b) {
  return per_lane<Bits>([&](int i) { return static_cast<int32_t>(uint32_t(a.v[i]) + uint32_t(b.v[i])); });
}
EVALMPI_LANES Bits operator-(const Bits& a, const Bits& b) {
  return per_lane<Bits>([&](int i) { return static_cast<int32_t>(uint32_t(a.v[i]) - uint32_t(b.v[i])); });
}
EVALMPI_LANES Bits operator&(const Bits& a, const Bits& b) {
  return per_lane<Bits>([&](int i) { return a.v[i] & b.v[i]; });
}
EVALMPI_LANES Bits operator|(const Bits& a, const Bits& b) {
  return per_lane<Bits>([&](int i) { return a.v[i] | b.v[i]; });
}
template <int n>
EVALMPI_LANES Bits shift_left(const Bits& a) {
  return per_lane<Bits>([&](int i) { return static_cast<int32_t>(uint32_t(a.v[i]) << n); });
}
template <int n>
EVALMPI_LANES Bits shift_right(const Bits& a) {
  return per_lane<Bits>([&](int i) { return a.v[i] >> n; });
}

}  // namespace
}  // namespace evalmpi::ops
