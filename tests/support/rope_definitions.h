// Rotary angles written after the models' own publications, in their order of steps, apart from core/rope.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

namespace orrery::reference {

// Radians per position of each pair: Su et al. 2021, eq. 15.
inline std::vector<double> plain_angles(double theta, std::int64_t rotated) {
  std::vector<double> f;
  for (std::int64_t k = 0; k < rotated; k += 2) f.push_back(1 / std::pow(theta, static_cast<double>(k) / static_cast<double>(rotated)));
  return f;
}

// Chen et al. 2023, eq. 4: position m is taken for m / factor.
inline std::vector<double> linear_angles(double theta, std::int64_t rotated, double factor) {
  std::vector<double> f = plain_angles(theta, rotated);
  for (double& x : f) x /= factor;
  return f;
}

// Llama 3.1's published code (llama-models, models/llama3: apply_scaling), which thinks in wavelengths.
inline std::vector<double> llama3_angles(double theta, std::int64_t rotated, double factor, double low_freq_factor, double high_freq_factor,
                                         double old_context) {
  const double low_wavelength = old_context / low_freq_factor, high_wavelength = old_context / high_freq_factor;
  std::vector<double> f = plain_angles(theta, rotated);
  for (double& x : f) {
    const double wavelength = 2 * std::numbers::pi / x;
    if (wavelength < high_wavelength) continue;
    if (wavelength > low_wavelength) {
      x /= factor;
    } else {
      const double smooth = (old_context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
      x = (1 - smooth) * x / factor + smooth * x;
    }
  }
  return f;
}

// GPT-OSS's published code (gpt-oss, torch/model.py: _compute_concentration_and_inv_freq) and, with `truncated`, DeepSeek-V3's (inference/model.py:
// precompute_freqs_cis): a blend of periods, by pair.
inline std::vector<double> yarn_angles(double theta, std::int64_t rotated, double factor, double beta_slow, double beta_fast, double old_context,
                                       bool truncated) {
  const double half = static_cast<double>(rotated) / 2;
  double low = half * std::log(old_context / (beta_fast * 2 * std::numbers::pi)) / std::log(theta);
  double high = half * std::log(old_context / (beta_slow * 2 * std::numbers::pi)) / std::log(theta);
  if (truncated) {
    low = std::max(std::floor(low), 0.0);
    high = std::min(std::ceil(high), static_cast<double>(rotated) - 1);
  }
  std::vector<double> f = plain_angles(theta, rotated);
  for (std::size_t i = 0; i < f.size(); ++i) {
    const double interpolation = f[i] / factor, extrapolation = f[i], ramp = (static_cast<double>(i) - low) / (high - low);
    const double mask = 1 - std::min(std::max(ramp, 0.0), 1.0);
    f[i] = interpolation * (1 - mask) + extrapolation * mask;
  }
  return f;
}

}  // namespace orrery::reference
