#include "gui/charts/schedule_chart.h"

#include <fmt/format.h>

#include <QPainter>
#include <algorithm>
#include <array>

#include "core/quantity_text.h"

namespace orrery::gui {
namespace {

using program::PassKind;

constexpr double kEdge = 10;

view::Hue hue_of(PassKind kind) {
  switch (kind) {
    case PassKind::forward:
      return view::Hue::attention;
    case PassKind::backward:
      return view::Hue::tp;
    case PassKind::input_grad:
      return view::Hue::pp;
    default:
      return view::Hue::ep;
  }
}

QString words(const std::string& text) { return QString::fromStdString(text); }

}  // namespace

ScheduleChart::ScheduleChart(QWidget* parent) : Chart(QStringLiteral("schedule"), parent) {
  setMinimumHeight(120);
  setToolTip(tr("The order of pipeline passes, with equal stages: one row for each rank of the pipeline, time to the right"));
}

void ScheduleChart::show_picture(view::SchedulePicture picture) {
  picture_ = std::move(picture);
  setAccessibleDescription(words(fmt::format("{}, {} ranks, {} micro-batches, {} of the time idle", picture_.name, picture_.ranks, picture_.of,
                                             format_percent(picture_.bubble))));
  update();
}

void ScheduleChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  if (!picture_.fault.empty()) return paint_empty(painter, size, theme, tr("No picture of '%1'").arg(words(picture_.name)), words(picture_.fault));
  if (picture_.cells.empty()) return paint_empty(painter, size, theme, tr("No schedule yet"));
  painter.fillRect(QRectF({}, size), theme.ground);
  const QFont plain = painter.font();
  QFont small = plain;
  small.setPointSizeF(plain.pointSizeF() > 0 ? plain.pointSizeF() * 0.85 : 8);
  const QFontMetricsF metrics(plain), tiny(small);
  QFont strong = plain;
  strong.setWeight(QFont::DemiBold);
  painter.setFont(strong);
  painter.setPen(theme.ink);
  const double head = metrics.height() + 6, foot = tiny.height() + 8;
  painter.drawText(QRectF(kEdge, 6, size.width() - 2 * kEdge, metrics.height()), int{Qt::AlignLeft} | int{Qt::AlignVCenter}, words(picture_.name));
  painter.setFont(small);
  painter.setPen(theme.dim);
  const QString note = picture_.microbatches == picture_.of
                           ? tr("%1 micro-batches, %2 idle").arg(picture_.of).arg(words(format_percent(picture_.bubble)))
                           : tr("first %1 of %2 micro-batches").arg(picture_.microbatches).arg(picture_.of);
  painter.drawText(QRectF(kEdge, 6, size.width() - 2 * kEdge, metrics.height()), int{Qt::AlignRight} | int{Qt::AlignVCenter}, note);

  const QRectF area(kEdge, 6 + head, size.width() - 2 * kEdge, std::max(8.0, size.height() - head - foot - 10));
  const double row = std::min(30.0, area.height() / static_cast<double>(picture_.ranks)), gap = row > 6 ? 1.5 : row > 3 ? 0.5 : 0;
  const double scale = area.width() / static_cast<double>(std::max<std::int64_t>(1, picture_.makespan));
  for (std::int64_t r = 0; r < picture_.ranks; ++r)
    painter.fillRect(QRectF(area.left(), area.top() + row * static_cast<double>(r), area.width(), row - gap), theme.grid);
  std::array<bool, 16> seen{};
  for (const view::ScheduleCell& cell : picture_.cells) {
    const double x = area.left() + scale * static_cast<double>(cell.from), width = scale * static_cast<double>(cell.to - cell.from);
    double y = area.top() + row * cell.rank, height = row - gap;
    if (cell.half >= 0) height /= 2, y += cell.half * height;
    QColor fill = theme.hue(hue_of(cell.kind));
    if (picture_.chunks > 1) {  // later chunks are nearer to the ground
      const double share = 0.55 * cell.chunk / static_cast<double>(picture_.chunks - 1);
      const QColor& ground = theme.ground;
      fill = QColor(static_cast<int>(fill.red() + share * (ground.red() - fill.red())),
                    static_cast<int>(fill.green() + share * (ground.green() - fill.green())),
                    static_cast<int>(fill.blue() + share * (ground.blue() - fill.blue())));
    }
    painter.fillRect(QRectF(x, y, std::max(0.5, width - (width > 3 ? 1 : 0)), height), fill);
    seen[static_cast<std::size_t>(cell.kind) % seen.size()] = true;
    if (height >= tiny.height() - 2) {
      const QString number = QString::number(cell.microbatch);
      if (tiny.horizontalAdvance(number) + 2 < width) {
        painter.setPen(theme.ink_on(fill));
        painter.drawText(QRectF(x, y, width, height), Qt::AlignCenter, number);
      }
    }
  }
  constexpr std::array<std::pair<PassKind, const char*>, 4> kKinds{{{PassKind::forward, "forward"},
                                                                    {PassKind::backward, "backward"},
                                                                    {PassKind::input_grad, "input gradient"},
                                                                    {PassKind::weight_grad, "weight gradient"}}};
  double x = area.left();
  const double y = area.top() + row * static_cast<double>(picture_.ranks) + 6;
  for (const auto& [kind, name] : kKinds) {
    if (!seen[static_cast<std::size_t>(kind) % seen.size()]) continue;
    painter.fillRect(QRectF(x, y + (tiny.height() - 9) / 2, 9, 9), theme.hue(hue_of(kind)));
    painter.setPen(theme.dim);
    painter.drawText(QPointF(x + 13, y + tiny.ascent()), tr(name));
    x += 13 + tiny.horizontalAdvance(tr(name)) + 14;
  }
  painter.setFont(plain);
}

}  // namespace orrery::gui
