#include "gui/charts/energy_chart.h"

#include <fmt/format.h>

#include <QHelpEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>

#include "core/quantity_text.h"

namespace orrery::gui {
namespace {

constexpr double kMargin = 12;

// Rows grow with the room that there is.
double least_height(const QFontMetricsF& font) { return font.height() + 3; }
double row_height(double height, std::size_t rows, const QFontMetricsF& font) {
  const double least = least_height(font);
  return std::clamp((height - 2 * kMargin) / static_cast<double>(std::max<std::size_t>(1, rows)), least, least + 9);
}

// All bars in the unit that suits the longest, so that they can be compared.
QString energy_text(Joules e, Joules most) {
  const double hours = most.v / 3600;
  if (hours < 1) return QString::fromStdString(format_energy(e));
  const double unit = hours < 1e3 ? 3.6e3 : hours < 1e6 ? 3.6e6 : 3.6e9;
  return QString::fromStdString(fmt::format("{:.3g} {}", e.v / unit, hours < 1e3 ? "Wh" : hours < 1e6 ? "kWh" : "MWh"));
}

}  // namespace

EnergyChart::EnergyChart(QWidget* parent) : Chart("energy-by-class", parent) {
  setAccessibleDescription(tr("Energy of a step by what it is spent on"));
}

void EnergyChart::show(std::vector<Bar> bars, const QString& why) {
  bars_ = std::move(bars);
  total_ = {};
  for (const Bar& b : bars_) total_ += b.energy;
  why_ = why;
  QString read;
  for (const Bar& b : bars_) read += QStringLiteral("%1 %2. ").arg(b.name, QString::fromStdString(format_energy(b.energy)));
  setAccessibleDescription(tr("Energy of a step by what it is spent on: %1").arg(read));
  setMinimumHeight(sizeHint().height());
  updateGeometry();
  update();
}

QSize EnergyChart::sizeHint() const {
  return {320, static_cast<int>(least_height(QFontMetricsF(font())) * static_cast<double>(std::max<std::size_t>(4, bars_.size())) + 2 * kMargin)};
}

void EnergyChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  if (bars_.empty()) {
    paint_empty(painter, size, theme, tr("No energy"), why_);
    return;
  }
  painter.fillRect(QRectF({}, size), theme.ground);
  const QFontMetricsF font(painter.font());
  double names = 0, values = 0, most = 0;
  std::vector<QString> texts;
  for (const Bar& b : bars_) most = std::max(most, b.energy.v);
  for (const Bar& b : bars_) {
    texts.push_back(energy_text(b.energy, Joules{most}) + QString::fromStdString("  " + format_percent(total_.v > 0 ? b.energy / total_ : 0)));
    names = std::max(names, font.horizontalAdvance(b.name));
    values = std::max(values, font.horizontalAdvance(texts.back()));
  }
  const double left = kMargin + names + 10, room = std::max(10.0, size.width() - left - values - 8 - kMargin);
  const double row = row_height(size.height(), bars_.size(), font);
  for (std::size_t i = 0; i < bars_.size(); ++i) {
    const Bar& b = bars_[i];
    const double top = kMargin + row * static_cast<double>(i);
    painter.setPen(theme.ink);
    painter.drawText(QRectF(kMargin, top, names, row), int{Qt::AlignRight} | int{Qt::AlignVCenter}, b.name);
    const double length = most > 0 ? std::max(1.0, room * b.energy.v / most) : 0;
    painter.fillRect(QRectF(left, top + 3, length, row - 6), b.hue == view::Hue::none ? theme.a : theme.hue(b.hue));
    painter.setPen(theme.dim);
    painter.drawText(QRectF(left + length + 8, top, values + 4, row), int{Qt::AlignLeft} | int{Qt::AlignVCenter}, texts[i]);
  }
}

bool EnergyChart::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip && !bars_.empty()) {
    const auto* help = static_cast<QHelpEvent*>(event);
    const double row = (help->pos().y() - kMargin) / row_height(height(), bars_.size(), QFontMetricsF(font()));
    if (row >= 0 && row < static_cast<double>(bars_.size())) QToolTip::showText(help->globalPos(), bars_[static_cast<std::size_t>(row)].about, this);
    return true;
  }
  return Chart::event(event);
}

}  // namespace orrery::gui
