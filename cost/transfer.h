// A profile of one GPU as one of another of the same architecture, for want of a measurement.
#pragma once

#include "core/cluster.h"
#include "core/profile.h"

namespace orrery::cost {

// How much slower or faster `to` does what memory and what arithmetic bounds: times are multiplied by these.
struct TransferFactors {
  double memory = 1, arithmetic = 1;
  bool operator==(const TransferFactors&) const = default;
};

// memory: the ratio of the bandwidths. arithmetic: at a power limit P, N multiprocessors at clock f draw N·f^a of it, so the rate N·f goes as
// N^(1 - 1/a)·P^(1/a), a = 2.5 (assumed: 2.2 to 3 near the top of the curve of voltage and frequency). Where a device file
// names no rated power, the ratio of the peaks.
TransferFactors transfer_factors(const Device& from, const Device& to);

// Share of a scaled kernel's time that follows memory, the rest follows arithmetic, by its FLOPs per byte x and the ridge R = peak / bandwidth of the
// device that is predicted: 1 - x / 2R up to the ridge, R / 2x beyond (Yu et al., "Habitat", USENIX ATC 2021, section 4.2, and its code,
// analysis/wave_scaling/roofline.py). Without arithmetic 1.
double memory_bound_share(double flops, double bytes, FlopsPerSecond peak, BytesPerSecond bandwidth);

// Each operator's time beyond a kernel's own start is multiplied by memory^share · arithmetic^(1 - share), and never goes below its FLOPs at the new
// device's peak; power above idle goes with the rated power above idle. Collectives are the network's and are left out. Judged on published pairs of
// devices (tests/cost/transfer_test.cpp, docs/models/operators.md); the profile says whose it was and how far that errs.
// Throws Error where the profile is no GPU's, or the two are not of one architecture.
Profile transfer(const Profile& profile, const Device& from, const Device& to);

}  // namespace orrery::cost
