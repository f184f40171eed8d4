// The list of pages.
#include "gui/page.h"
#include "gui/pages/compare_page.h"
#include "gui/pages/energy_page.h"
#include "gui/pages/memory_page.h"
#include "gui/pages/network_page.h"
#include "gui/pages/plans_page.h"
#include "gui/pages/run_page.h"
#include "gui/pages/setup_page.h"
#include "gui/pages/sweeps_page.h"
#include "gui/pages/timeline_page.h"
#include "gui/pages/whatif_page.h"

namespace orrery::gui {

QList<Page*> make_pages(ViewState& state, QWidget* parent) {
  return {
      new SetupPage(state, parent),  new TimelinePage(state, parent), new MemoryPage(state, parent), new NetworkPage(state, parent),
      new EnergyPage(state, parent), new WhatIfPage(state, parent),   new PlansPage(state, parent),  new ComparePage(state, parent),
      new SweepsPage(state, parent), new RunPage(state, parent),
  };
}

}  // namespace orrery::gui
