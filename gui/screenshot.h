// Pictures of the window without a screen, for documents and tests.
#pragma once

#include <QImage>
#include <QSize>
#include <functional>

namespace orrery::gui {

class MainWindow;
class ViewState;

// Runs the event loop until `done` or `seconds` have passed; false in the latter case.
bool wait_until(const std::function<bool()>& done, double seconds);

// The window as it looks once the answer and the page in front are whole. Throws Error when they are not within `seconds`.
QImage screenshot(MainWindow& window, ViewState& state, QSize size, double seconds = 120);

}  // namespace orrery::gui
