// What every test of the window needs: waiting without sleeping, a fresh state, pictures to compare with.
#pragma once

#include <gtest/gtest.h>

#include <QAbstractButton>
#include <QImage>
#include <QWidget>
#include <functional>
#include <string>

#include "gui/state/view_state.h"

namespace orrery::gui::testing {

// Runs the event loop until `done`; false after a minute.
bool wait_for(const std::function<bool()>& done);

// A small model on this machine's CPU: answers in milliseconds.
app::PlanFlags tiny();

// A state whose answer to `question` is there, timeline included.
struct Asked {
  explicit Asked(const app::PlanFlags& question = tiny());
  ViewState state;
};

// The widget of that type in `parent` whose accessible name, object name or (of buttons) text is `name`; fails the test and returns null where there
// is none.
template <class Widget>
Widget* find(QWidget* parent, const QString& name) {
  for (Widget* each : parent->findChildren<Widget*>()) {
    if (each->accessibleName() == name || each->objectName() == name) return each;
    if (const auto* button = qobject_cast<const QAbstractButton*>(each); button != nullptr && button->text() == name) return each;
  }
  ADD_FAILURE() << "there is no widget named " << name.toStdString();
  return nullptr;
}

// Whether `image` is the picture tests/gui/pictures/NAME.png, up to what fonts and their rendering may change: both are reduced to a ninth of their
// width and height, and no channel of any reduced pixel may differ by more than 24, their mean by more than 2. With ORRERY_UPDATE_PICTURES=1 in the
// environment the picture is written. Otherwise the message says where the picture that differs was put.
::testing::AssertionResult looks_like(const QImage& image, const std::string& name);

}  // namespace orrery::gui::testing
