#include "gui/charts/legend_line.h"

#include <QCoreApplication>
#include <QFontMetricsF>
#include <QLinearGradient>
#include <QPainter>
#include <string_view>

#include "gui/charts/lane_picture.h"
#include "gui/view/name_line.h"

namespace orrery::gui {
namespace {

constexpr double kMark = 16;   // a colour's box and the blank behind it
constexpr double kScale = 60;  // of the differences

QString critical_text() { return QCoreApplication::translate("LegendLine", "critical path"); }
QString less_text() { return QCoreApplication::translate("LegendLine", "half as long"); }
QString more_text() { return QCoreApplication::translate("LegendLine", "twice"); }

}  // namespace

QString slot_text(std::size_t slot) {
  const std::string_view name = view::slot_name(slot);
  return QString::fromUtf8(name.data(), static_cast<qsizetype>(name.size()));
}

std::vector<std::pair<std::size_t, QRectF>> LegendLine::items(QRectF line, const QFont& font) const {
  const QFontMetricsF metrics(font);
  std::vector<double> widths;
  for (const std::size_t slot : slots) widths.push_back(metrics.horizontalAdvance(slot_text(slot)));
  double room = line.width();
  if (critical) room -= 33 + metrics.horizontalAdvance(critical_text());
  if (differences) room -= kScale + 12 + metrics.horizontalAdvance(less_text()) + metrics.horizontalAdvance(more_text());
  const std::vector<view::NamePlace> places = view::line_up(widths, kMark, room);
  std::vector<std::pair<std::size_t, QRectF>> found;
  for (std::size_t i = 0; i < slots.size(); ++i)
    found.emplace_back(slots[i], QRectF(line.left() + places[i].x, line.top(), places[i].width, line.height()));
  return found;
}

void LegendLine::paint(QPainter& p, QRectF line, std::uint32_t highlight, const Theme& theme) const {
  const LaneColours colours(theme, highlight, false);
  const LaneColours plain(theme, 0, false);
  const QFontMetricsF metrics(p.font());
  const auto word = [&](double x, const QString& text) {
    p.drawText(QRectF(x, line.top(), metrics.horizontalAdvance(text) + 8, line.height()), int{Qt::AlignLeft} | int{Qt::AlignVCenter}, text);
  };
  double x = line.left();
  for (const auto& [slot, rect] : items(line, p.font())) {
    const bool on = highlight == 0 || (highlight >> slot & 1U) != 0;
    const QRectF box(rect.left(), rect.center().y() - 5, 11, 10);
    if (slot == view::kWaitingSlot) {
      p.fillRect(box, QColor(plain.gap[static_cast<std::size_t>(WaitCause::pp)]));
      const QColor stripes(plain.gap_line[static_cast<std::size_t>(WaitCause::pp)]);
      p.fillRect(box, QBrush(stripes, Qt::BDiagPattern));
      p.setPen(stripes);
      p.setBrush(Qt::NoBrush);
      p.drawRect(box.adjusted(0.5, 0.5, -0.5, -0.5));
    } else {
      p.fillRect(box, QColor(colours.fill[slot]));
      if (slot == view::kRecomputeSlot) p.fillRect(box, QBrush(QColor(theme.ground), Qt::BDiagPattern));
    }
    p.setPen(on ? theme.ink : theme.faint);
    p.drawText(rect.adjusted(kMark, 0, 0, 0), Qt::AlignVCenter, metrics.elidedText(slot_text(slot), Qt::ElideRight, rect.width() - kMark - 4));
    x = rect.right();
  }
  if (critical) {
    p.fillRect(QRectF(x, line.center().y() - 2, 14, 3), theme.critical);
    p.setPen(theme.ink);
    word(x + 19, critical_text());
    x += 19 + metrics.horizontalAdvance(critical_text()) + 14;
  }
  if (!differences) return;
  p.setPen(theme.dim);
  word(x, less_text());
  x += metrics.horizontalAdvance(less_text()) + 6;
  QLinearGradient gradient(x, 0, x + kScale, 0);
  gradient.setColorAt(0, QColor(plain.shorter));
  gradient.setColorAt(0.5, QColor(plain.even));
  gradient.setColorAt(1, QColor(plain.longer));
  p.fillRect(QRectF(x, line.center().y() - 5, kScale, 10), gradient);
  word(x + kScale + 6, more_text());
}

}  // namespace orrery::gui
