// The list of pages.
#include "gui/page.h"
#include "gui/pages/setup_page.h"
#include "gui/pages/timeline_page.h"

namespace orrery::gui {

QList<Page*> make_pages(ViewState& state, QWidget* parent) {
  return {
      new SetupPage(state, parent),
      new TimelinePage(state, parent),
      new Page(state, "memory", "Memory", parent),
      new Page(state, "network", "Network", parent),
      new Page(state, "energy", "Energy", parent),
      new Page(state, "whatif", "What-if", parent),
      new Page(state, "plans", "Plans", parent),
      new Page(state, "compare", "Compare", parent),
      new Page(state, "sweeps", "Sweeps", parent),
      new Page(state, "run", "Run", parent),
  };
}

}  // namespace orrery::gui
