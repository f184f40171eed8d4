#include "gui/view/examples.h"

#include <gtest/gtest.h>

#include "app/simulate.h"

namespace orrery::view {
namespace {

TEST(Examples, AreLegalAndFit) {
  for (const Example& example : examples()) {
    const app::SimulateReport report = app::simulate(app::load_inputs(example.question));
    EXPECT_TRUE(report.fits) << example.name;
    EXPECT_TRUE(report.steady) << example.name;
  }
}

}  // namespace
}  // namespace orrery::view
