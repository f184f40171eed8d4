// What the timeline's colours stand for, in one line above it.
#pragma once

#include <QRectF>
#include <QString>
#include <cstdint>
#include <utility>
#include <vector>

#include "gui/theme.h"
#include "gui/view/mix.h"

class QFont;
class QPainter;

namespace orrery::gui {

QString slot_text(std::size_t slot);

// Which colours occur, and what else needs telling.
struct LegendLine {
  std::vector<std::size_t> slots;  // view::kWaitingSlot among them
  bool critical = false;           // the critical path is marked
  bool differences = false;        // and their scale is needed

  // Where the slots stand in the line, left to right; they share what room the rest leaves.
  std::vector<std::pair<std::size_t, QRectF>> items(QRectF line, const QFont& font) const;
  // `highlight`: bits of slots; 0: all.
  void paint(QPainter& painter, QRectF line, std::uint32_t highlight, const Theme& theme) const;
};

}  // namespace orrery::gui
