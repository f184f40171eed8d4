// The schedules themselves, one pure function each. They may assume what make_schedule has checked of their input, and refuse the rest.
// p ranks, r a rank, m micro-batches, v chunks per rank; F, I and W a forward and the two halves of a backward, B a whole one.
#pragma once

#include "program/schedules/schedule.h"

namespace orrery::program {

// All F, then all B, both in the order of micro-batches. GPipe (Huang et al. 2019); torchgpipe.
Schedule gpipe(const ScheduleInput& input);

// Rank r runs w = min(p − 1 − r, m) F, then m − w pairs of F and B, then w B. PipeDream-Flush (Narayanan et al. 2021, section 2.2.1), DAPPLE;
// Megatron-LM, PyTorch's Schedule1F1B, DeepSpeed.
Schedule one_forward_one_backward(const ScheduleInput& input);

// Micro-batches in groups of G, each group through chunks 0 … v − 1 before the next; the k-th B follows that table with the chunks reversed; rank r
// warms up with 2(p − 1 − r) + (v − 1)G. Megatron-LM (Narayanan et al. 2021, section 2.2.2), with G = microbatch_group_size_per_vp_stage; with
// `input.rounds` PyTorch's ScheduleInterleaved1F1B.
Schedule interleaved(const ScheduleInput& input);

// Every chunk runs all its F in turn, then, last chunk first, all its B, last micro-batch first. Lamy-Poirier 2023; PyTorch's ScheduleLoopedBFS.
Schedule looped_bfs(const ScheduleInput& input);

// MaxText's circular pipeline: a scan of v·m + p − 1 ticks, whose gradient is the same scan backwards; so the passes of looped_bfs, with m ≥ p.
Schedule circular(const ScheduleInput& input);

// 1F1B over q causal sequence splits of each micro-batch: F from the first split on, B from the last. Seq1F1B (Sun et al. 2024).
Schedule seq1f1b(const ScheduleInput& input);

// 1F1B with B split in two: on rank r the W follow r (ZB-H1) or 2r (ZB-H2) micro-batches after their I; ZB-H2 warms up with 2(p − r) − 1 F. Qi et al.
// 2023; PyTorch's ScheduleInterleavedZeroBubble with one stage per rank. ZB-H2 is rebuilt from the published figure.
Schedule zb_h1(const ScheduleInput& input);
Schedule zb_h2(const ScheduleInput& input);

// List scheduling by given costs under a limit of live activations: forwards while memory lasts, weight gradients where a rank would wait. Qi et al.
// 2023, section 3.1. Of eight variants of its rules and of those of the fixed schedules that keep the limit, the one with the least idle time in a
// rank's span, then in the makespan. Without costs F = I = W = 1; without a limit 2p.
Schedule zb_auto(const ScheduleInput& input);

// Two stages per rank in a vee, an activation memory of 1F1B and no bubble in the ranks' spans where F = I = W. Qi et al. 2024; PyTorch's
// ScheduleZBVZeroBubble.
Schedule zbv(const ScheduleInput& input);

// A vee whose rank holds at most M activations of half-stages: a repeating block of F, I and W, found by search, with its ends filled as far as
// memory allows. V-Half: M = p, half of 1F1B's memory (or `input.memory_limit`); V-Min: the least M that any block has, near 2p/3. Qi et al. 2024,
// "Pipeline Parallelism with Controllable Memory".
Schedule v_half(const ScheduleInput& input);
Schedule v_min(const ScheduleInput& input);

// Micro-batches from both ends at once, and overlapped pairs of F and B of opposite directions. Even p and m, m ≥ 2p. DeepSeek-AI 2024; DualPipe.
Schedule dualpipe(const ScheduleInput& input);

// DualPipe folded in half: p ranks, 2p stages in a vee. m ≥ 2p. DualPipe's dualpipev.py; PyTorch's ScheduleDualPipeV.
Schedule dualpipev(const ScheduleInput& input);

// No flush: stage s of n_s replicas admits w = ⌊(p − 1 − Σ_{j<s} n_j) / n_s⌋ F per replica, then alternates F and B for ever; w + 1 weight versions,
// an update after every B. Narayanan et al. 2019; its runtime.py.
Schedule pipedream(const ScheduleInput& input);

// No flush, m ≥ p micro-batches per update, at most two weight versions: gradients of version t − 1 update version t. Narayanan et al. 2021, "Memory-
// Efficient Pipeline-Parallel DNN Training".
Schedule pipedream_2bw(const ScheduleInput& input);

}  // namespace orrery::program
