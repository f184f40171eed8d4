#include "core/timeline.h"

#include <gtest/gtest.h>

namespace orrery {
namespace {

TEST(WaitCause, OfCommunicationIsItsAxis) {
  EXPECT_EQ(wait_cause(WorkClass::tp_comm), WaitCause::tp);
  EXPECT_EQ(wait_cause(WorkClass::cp_comm), WaitCause::cp);
  EXPECT_EQ(wait_cause(WorkClass::ep_comm), WaitCause::ep);
  EXPECT_EQ(wait_cause(WorkClass::pp_comm), WaitCause::pp);
  EXPECT_EQ(wait_cause(WorkClass::dp_comm), WaitCause::dp);
}

TEST(WaitCause, OfKernelsIsComputeAndOfInstructionsWithoutWorkIsTheHost) {
  for (const WorkClass kernel :
       {WorkClass::gemm, WorkClass::attention, WorkClass::norm, WorkClass::elementwise, WorkClass::embedding, WorkClass::loss, WorkClass::optimizer})
    EXPECT_EQ(wait_cause(kernel), WaitCause::compute) << name(kernel);
  EXPECT_EQ(wait_cause(WorkClass::control), WaitCause::host);
}

// Every class names a cause, and nobody who waits waits for nothing.
TEST(WaitCause, IsNeverNone) {
  for (std::size_t c = 0; c < kWorkClasses; ++c) EXPECT_NE(wait_cause(static_cast<WorkClass>(c)), WaitCause::none);
}

}  // namespace
}  // namespace orrery
