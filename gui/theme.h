// The colours of everything on screen, light or dark.
#pragma once

#include <QColor>

#include "core/timeline.h"
#include "gui/view/palette.h"

class QPalette;

namespace orrery::gui {

inline QColor to_qt(view::Colour c) { return {c.r, c.g, c.b}; }

struct Theme {
  bool dark = false;
  QColor ground, panel, raised;      // of charts, of what stands around them, of cards and fields on it
  QColor ink, dim, faint;            // text, secondary text, text that is off
  QColor grid, line;                 // within charts, around panels
  QColor accent, on_accent;          // selection, the current page, links
  QColor good, warn, bad, critical;  // judgements, as text on `ground` or `panel`; the critical path
  QColor a, b;                       // two things side by side: predicted or pinned, measured or current

  QColor work(WorkClass c) const { return hue(view::hue(c)); }
  QColor hue(view::Hue h) const { return to_qt(view::colour(h, dark)); }
  QColor ink_on(const QColor& fill) const;

  static const Theme& light();
  static const Theme& dark_one();
  QPalette palette() const;
};

enum class ThemeChoice { system, light, dark };

// The theme in use. It follows the system (or ORRERY_THEME=dark|light) until the user chooses one; widgets hear of a change by QEvent::PaletteChange.
const Theme& theme();
void choose_theme(ThemeChoice choice);
ThemeChoice theme_choice();
// What the system has become; heeded while the choice is `system`.
void set_system_dark(bool dark);
// Before the first widget: style, palette, style sheet.
void set_up_look();

}  // namespace orrery::gui
