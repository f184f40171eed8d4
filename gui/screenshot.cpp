#include "gui/screenshot.h"

#include <QCoreApplication>
#include <QElapsedTimer>
#include <QEventLoop>
#include <QTimer>

#include "core/error.h"
#include "gui/main_window.h"
#include "gui/page.h"
#include "gui/state/view_state.h"

namespace orrery::gui {

bool wait_until(const std::function<bool()>& done, double seconds) {
  QElapsedTimer since;
  since.start();
  while (!done()) {
    if (static_cast<double>(since.elapsed()) > 1e3 * seconds) return false;
    QCoreApplication::processEvents(QEventLoop::WaitForMoreEvents | QEventLoop::AllEvents, 20);
  }
  return true;
}

QImage screenshot(MainWindow& window, ViewState& state, QSize size, double seconds) {
  window.resize(size);
  window.show();
  const auto whole = [&] {
    const auto& answer = state.answer();
    return !state.busy_with_files() && (state.trace() || (answer && !state.waiting() && answer->complete)) && window.page()->settled();
  };
  if (!wait_until(whole, seconds)) throw Error("--screenshot", "the page was not complete in time");
  QCoreApplication::processEvents();
  return window.grab().toImage();
}

}  // namespace orrery::gui
