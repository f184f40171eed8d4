// Small invented machines with round numbers, and the real ones that measurements are judged on.
#pragma once

#include "core/cluster.h"

namespace orrery::cost {

// 100 TFLOP/s, 1 TB/s, 10 SMs; nodes of 4 at 100 GB/s and 1 us, 10 GB/s and 10 us per device between nodes; every share is 1.
inline Cluster round_cluster(std::int64_t devices) {
  Cluster c;
  c.name = "round";
  c.device.name = "round";
  c.device.peak[DType::bf16] = 100_TFLOPS;
  c.device.peak[DType::fp32] = 50_TFLOPS;
  c.device.memory = 16_GiB;
  c.device.memory_bandwidth = 1000_GBps;
  c.device.sms = 10;
  c.device.idle_power = 100_W;
  c.device.tdp = 500_W;
  c.device.launch = 4_us;
  c.device.efficiency["gemm"] = {1.0, "assumed: a round number"};
  c.device.efficiency["memory"] = {1.0, "assumed: a round number"};
  c.devices = devices;
  c.node_size = 4;
  c.levels = {{"link", 4, 100_GBps, 1.0, 1_us, "round"}, {"net", devices, 10_GBps, 1.0, 10_us, "round"}};
  return c;
}

}  // namespace orrery::cost
