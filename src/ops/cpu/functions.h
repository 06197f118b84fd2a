#pragma once

// exp, erf, tanh and sums over lanes. Included after one of the lanes_*.h. Polynomials are minimax fits (Remez) to the
// functions named; the argument reductions are Cody and Waite's.

namespace evalmpi::ops {
namespace {

// The fixed order in which 16 partial sums become one.
inline float sum_lanes(Lanes a) {
  float x[16];
  store(x, a);
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) x[i] += x[i + width];
  return x[0];
}

inline float max_lanes(Lanes a) {
  float x[16];
  store(x, a);
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) x[i] = x[i] > x[i + width] ? x[i] : x[i + width];
  return x[0];
}

template <int n>
EVALMPI_LANES Lanes polynomial(const float (&coefficients)[n], Lanes x) {
  Lanes y = splat(coefficients[n - 1]);
#pragma GCC unroll 16
  for (int i = n - 2; i >= 0; --i) y = fma(y, x, splat(coefficients[i]));
  return y;
}

// (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2, relative error of exp 6e-11 before rounding.
constexpr float kExp[] = {5.000000000e-01f, 1.666666567e-01f, 4.166628048e-02f,
                          8.333504200e-03f, 1.394575229e-03f, 1.978926157e-04f};
// erf(z) / z - 1 in z^2 for |z| <= 1.
constexpr float kErfNear[] = {1.283791661e-01f, -3.761262596e-01f, 1.128358543e-01f, -2.685381100e-02f,
                              5.188327748e-03f, -8.010193706e-04f, 7.853860734e-05f};
// -log(1 - erf(z)) for 1 <= z <= 4; erf(4) rounds to 1.
constexpr float kErfFar[] = {3.415252140e-04f,  1.127089143e+00f, 6.381448507e-01f, 1.031067446e-01f,
                             -2.183805779e-02f, 2.947656671e-03f, -1.863790385e-04f};

// e^x: 0 below the smallest denormal, infinity above the largest float, NaN for NaN.
EVALMPI_LANES Lanes exp(Lanes x) {
  const Lanes magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer kept in the low bits
  x = min(splat(100.0f), max(splat(-110.0f), x));
  const Lanes shifted = fma(x, splat(1.44269504f), magic);
  const Lanes n = shifted - magic;
  const Lanes r = fma(n, splat(2.121944417e-4f), fma(n, splat(-0.693359375f), x));
  const Lanes y = fma(polynomial(kExp, r), r * r, r) + splat(1.0f);
  // 2^n in two factors, so that results beyond the normal range are rounded once.
  const Bits exponent = bits_of(shifted) - bits_of(magic);
  const Bits half = shift_right<1>(exponent);
  const Bits bias = splat_bits(127);
  return y * lanes_of(shift_left<23>(half + bias)) * lanes_of(shift_left<23>(exponent - half + bias));
}

EVALMPI_LANES Lanes absolute(Lanes x) { return lanes_of(bits_of(x) & splat_bits(0x7fffffff)); }

EVALMPI_LANES Lanes erf(Lanes x) {
  const Lanes z = absolute(x), square = x * x;
  const Lanes near = fma(polynomial(kErfNear, square), x, x);
  const Lanes far = splat(1.0f) - exp(splat(0.0f) - polynomial(kErfFar, min(splat(4.0f), z)));
  const Bits sign = bits_of(x) - bits_of(z);  // the sign bit
  return select(z < splat(1.0f), near, lanes_of(bits_of(far) | sign));
}

// By m = e^(2 |x|) - 1 as m / (m + 2); near 0 the series of exp without its 1 keeps the relative error small.
EVALMPI_LANES Lanes tanh(Lanes x) {
  const Lanes z = min(splat(20.0f), absolute(x) + absolute(x));
  const Lanes near = fma(polynomial(kExp, z), z * z, z), far = exp(z) - splat(1.0f);
  const Lanes m = select(z < splat(0.34f), near, far);
  const Bits sign = bits_of(x) - bits_of(absolute(x));
  const Lanes y = lanes_of(bits_of(m / (m + splat(2.0f))) | sign);
  return select(x == x, y, x);
}

}  // namespace
}  // namespace evalmpi::ops
