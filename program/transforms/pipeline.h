// Pipeline parallelism: passes that receive, sends at the end of a pass, passes that free what was sent, and the order of all passes of a rank.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "program/layers/layers.h"
#include "program/schedules/replay.h"
#include "program/schedules/schedule.h"

namespace orrery::program {

// Who runs the stages before and after a chunk's.
Neighbour neighbour_before(const Schedule& schedule, std::int64_t rank, std::uint16_t chunk);
Neighbour neighbour_after(const Schedule& schedule, std::int64_t rank, std::uint16_t chunk);

// The passes of one chunk that move data, as indices into Role::passes; kNone: it has no such pass.
struct Transfers {
  std::uint16_t receive_forward = kNone, receive_backward = kNone, release_forward = kNone, release_backward = kNone;
};
Transfers transfer_passes(const Context& c);

// Within a pass: what was received arrives on another stream, and is put together where it came from another segment; what leaves is sent last.
void expect_activations(const Context& c);
void expect_gradient(const Context& c);
void send_activations(const Context& c);
void send_gradient(const Context& c);

// PassInstance::microbatch of a pass: the number of its micro-batch among those of all directions, or of its split among theirs.
std::uint16_t microbatch_of(const Schedule& schedule, const Pass& pass);

// A rank's passes in their order, each with the receives before it and the releases around it. `templates`: by item of the rank's order, the pass
// that runs it. A receive is issued before the last pass that starts by the time its message is due, in the schedule's own time (`times`: a replay),
// and in the order of the sender; at least one pass ahead of its use. The end of a send is waited for before the next but one pass that sends the
// same way. `validation`: passes of the warm-up (post-validation), which end what all ranks would run again; see warm_up. Without `overlap` a rank
// waits for each send at once, and (where every rank holds one stage and no backward is split) receives only what its next pass needs. Whatever waits
// then waits for something earlier in the schedule's time, so that no order that can run at all deadlocks.
std::vector<PassInstance> pipeline_body(const Schedule& schedule, const Replay& times, std::int64_t rank, const std::vector<Context>& chunks,
                                        const std::vector<Transfers>& transfers, const std::vector<std::uint16_t>& templates, bool overlap,
                                        const std::vector<PassInstance>& validation = {});

// Of a plain pipeline, the forward passes that a rank begins a step with before it validates the update before: as many as the norm of all needs to
// come back to it if no rank waits for another (Qi et al., 4: two for each rank behind it), but none after its first backward pass. All that ranks
// have sent by then has been received, so that all can begin the step anew.
std::int64_t warm_up(const Schedule& schedule, std::int64_t rank);

}  // namespace orrery::program
