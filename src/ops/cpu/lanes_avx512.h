#pragma once

// Sixteen float lanes in one 512-bit register.

#include <immintrin.h>

#include <cstdint>

#include "cpu/kernels.h"

namespace evalmpi::ops {
namespace {

#define EVALMPI_LANES [[gnu::always_inline]] inline

constexpr char kVariant[] = "avx512";
constexpr int kTileRows = 14;
constexpr int kTileVectors = 28;  // accumulators that fit in registers

struct Lanes {
  __m512 v;
};
struct Bits {
  __m512i v;
};
struct Mask {
  __mmask16 m;
};

EVALMPI_LANES Mask first_lanes(int64_t n) {
  return {n >= 16 ? __mmask16(0xffff) : n <= 0 ? __mmask16(0) : __mmask16((1u << n) - 1)};
}
EVALMPI_LANES Lanes splat(float x) { return {_mm512_set1_ps(x)}; }
EVALMPI_LANES Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
EVALMPI_LANES Lanes load_first(const float* p, int64_t n) {
  return n >= 16 ? load(p) : Lanes{_mm512_maskz_loadu_ps(first_lanes(n).m, p)};
}
EVALMPI_LANES void store(float* p, Lanes a) { _mm512_storeu_ps(p, a.v); }
EVALMPI_LANES void store_first(float* p, Lanes a, int64_t n) {
  if (n >= 16) return store(p, a);
  _mm512_mask_storeu_ps(p, first_lanes(n).m, a.v);
}

EVALMPI_LANES Lanes load(const BFloat16* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, _mm512_maskz_cvtepu16_epi32(0xffff, half), 16))};
}
EVALMPI_LANES Lanes load(const Float16* p) {
  return {_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}

EVALMPI_LANES Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
EVALMPI_LANES Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
EVALMPI_LANES Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
EVALMPI_LANES Lanes operator/(Lanes a, Lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
EVALMPI_LANES Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// a > b ? a : b, and a < b ? a : b: b where either is NaN.
EVALMPI_LANES Lanes max(Lanes a, Lanes b) { return {_mm512_maskz_max_ps(0xffff, a.v, b.v)}; }
EVALMPI_LANES Lanes min(Lanes a, Lanes b) { return {_mm512_maskz_min_ps(0xffff, a.v, b.v)}; }

EVALMPI_LANES Mask operator<(Lanes a, Lanes b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
EVALMPI_LANES Mask operator==(Lanes a, Lanes b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
EVALMPI_LANES Mask but_not(Mask a, Mask b) { return {__mmask16(a.m & ~b.m)}; }
EVALMPI_LANES Lanes select(Mask m, Lanes yes, Lanes no) { return {_mm512_mask_blend_ps(m.m, no.v, yes.v)}; }
EVALMPI_LANES uint32_t bitmask(Mask m) { return m.m; }

EVALMPI_LANES Bits splat_bits(int32_t x) { return {_mm512_set1_epi32(x)}; }
EVALMPI_LANES Bits bits_of(Lanes a) { return {_mm512_castps_si512(a.v)}; }
EVALMPI_LANES Lanes lanes_of(Bits a) { return {_mm512_castsi512_ps(a.v)}; }
EVALMPI_LANES Bits operator+(Bits a, Bits b) { return {_mm512_add_epi32(a.v, b.v)}; }
EVALMPI_LANES Bits operator-(Bits a, Bits b) { return {_mm512_sub_epi32(a.v, b.v)}; }
EVALMPI_LANES Bits operator&(Bits a, Bits b) { return {_mm512_and_epi32(a.v, b.v)}; }
EVALMPI_LANES Bits operator|(Bits a, Bits b) { return {_mm512_or_epi32(a.v, b.v)}; }
template <int n>
EVALMPI_LANES Bits shift_left(Bits a) {
  return {_mm512_maskz_slli_epi32(0xffff, a.v, n)};
}
template <int n>
EVALMPI_LANES Bits shift_right(Bits a) {  // keeps the sign
  return {_mm512_maskz_srai_epi32(0xffff, a.v, n)};
}

}  // namespace
}  // namespace evalmpi::ops
