#include "gui/charts/memory_chart.h"

#include <QPainter>
#include <algorithm>
#include <cmath>

#include "core/quantity_text.h"
#include "gui/view/memory_colours.h"

namespace orrery::gui {
namespace {

QString bytes(double b) { return QString::fromStdString(format_bytes(Bytes{static_cast<std::int64_t>(b)})); }

}  // namespace

MemoryChart::MemoryChart(QWidget* parent) : TimeChart("memory", parent) {
  setAccessibleDescription(tr("Live bytes over the step by category, with the device's capacity"));
}

void MemoryChart::show(std::shared_ptr<const app::MemoryStory> story, view::StepCurve measured, const QString& why) {
  story_ = std::move(story);
  measured_ = std::move(measured);
  why_ = why;
  live_ = {};
  if (story_) {
    live_.times.reserve(story_->samples.size());
    live_.values.reserve(story_->samples.size());
    for (const app::MemoryStory::Sample& s : story_->samples) {
      live_.times.push_back(s.time);
      live_.values.push_back(static_cast<double>(s.total()));
    }
    peak_ = story_->peak;
  }
  update();
}

void MemoryChart::show_alone(view::StepCurve live) {
  story_.reset();
  measured_ = {};
  why_.clear();
  live_ = std::move(live);
  peak_ = static_cast<std::size_t>(std::max_element(live_.values.begin(), live_.values.end()) - live_.values.begin());
  update();
}

QList<LegendEntry> MemoryChart::legend(const Theme& theme) const {
  QList<LegendEntry> out;
  if (!story_) {
    const std::size_t at = cursor() ? live_.at(*cursor()) : peak_;
    return {{theme.b, tr("live %1").arg(bytes(at < live_.size() ? live_.values[at] : 0))}};
  }
  const std::size_t sample = cursor() ? story_->at(*cursor()) : story_->peak;
  for (std::size_t c = 0; c < app::kMemoryCategories; ++c) {
    const auto category = static_cast<app::MemoryCategory>(c);
    const auto any = [&](const app::MemoryStory::Name& n) { return n.category == category; };
    if (std::none_of(story_->names.begin(), story_->names.end(), any)) continue;
    out.push_back({to_qt(view::colour(category, theme.dark)),
                   QString::fromUtf8(app::name(category).data(), static_cast<qsizetype>(app::name(category).size())) + " " +
                       bytes(static_cast<double>(story_->samples[sample].bytes[c]))});
  }
  if (measured_.size() > 0) out.push_back({theme.ink, tr("measured"), true});
  return out;
}

QRectF MemoryChart::plot_in(QSizeF size, const QFontMetricsF& font) const {
  QRectF plot = TimeChart::plot_in(size, font);
  if (live_.size() > 0) plot.setTop(plot.top() + paint_legend(nullptr, {}, plot.width(), font, legend(Theme::light()), Theme::light()) + 8);
  return plot;
}

// In each pixel what it held when it held most; neighbours that show the same sample are one rectangle.
void MemoryChart::paint_categories(QPainter& painter, const QRectF& plot, const view::TimeAxis& x, const view::LinearAxis& y,
                                   const Theme& theme) const {
  const auto pixels = static_cast<std::size_t>(std::max(1.0, std::floor(plot.width())));
  const std::vector<view::Extent> columns = view::extents(live_, x.range(), pixels);
  for (std::size_t p = 0; p < pixels;) {
    std::size_t q = p + 1;
    while (q < pixels && columns[q].highest == columns[p].highest && columns[q].empty == columns[p].empty) ++q;
    double below = 0;
    const auto put = [&](double amount, const QColor& colour) {
      if (amount <= 0) return;
      const double from = plot.top() + y.pixel(below + amount), to = plot.top() + y.pixel(below);
      painter.fillRect(QRectF(plot.left() + static_cast<double>(p), from, static_cast<double>(q - p), to - from), colour);
      below += amount;
    };
    if (!columns[p].empty && !story_) put(live_.values[columns[p].highest], theme.b);
    if (!columns[p].empty && story_)
      for (std::size_t c = 0; c < app::kMemoryCategories; ++c)
        put(static_cast<double>(story_->samples[columns[p].highest].bytes[c]), to_qt(view::colour(static_cast<app::MemoryCategory>(c), theme.dark)));
    p = q;
  }
}

void MemoryChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  if (live_.size() == 0) {
    paint_empty(painter, size, theme, tr("No memory curve"), why_);
    return;
  }
  painter.fillRect(QRectF({}, size), theme.ground);
  const QRectF plot = plot_in(size, QFontMetricsF(painter.font()));
  const QList<LegendEntry> entries = legend(theme);
  const view::TimeAxis x = axis_in(plot);
  const double capacity = story_ ? static_cast<double>(story_->capacity.v) : 0, peak = live_.values[peak_];
  double top = std::max({peak, capacity, 1.0});
  for (const double v : measured_.values) top = std::max(top, v);
  const view::LinearAxis y(0, top * 1.06, plot.height(), 0);
  paint_legend(&painter, {plot.left(), 8}, plot.width(), QFontMetricsF(painter.font()), entries, theme);
  paint_axes(painter, plot, theme, y, true, [](double b) { return format_bytes(Bytes{static_cast<std::int64_t>(b)}); });

  painter.save();
  painter.setClipRect(plot);
  paint_categories(painter, plot, x, y, theme);
  if (measured_.size() > 0) {
    const auto pixels = static_cast<std::size_t>(std::max(1.0, std::floor(plot.width())));
    painter.setPen(QPen(theme.ink, 1.5));
    const std::vector<view::Extent> run = view::extents(measured_, x.range(), pixels);
    QPolygonF line;
    for (std::size_t p = 0; p < pixels; ++p)
      if (!run[p].empty) line << QPointF(plot.left() + static_cast<double>(p) + 0.5, plot.top() + y.pixel(run[p].high));
    painter.drawPolyline(line);
  }
  painter.restore();

  if (capacity > 0) {
    const double at = std::round(plot.top() + y.pixel(capacity)) + 0.5;
    const bool over = peak > capacity;
    painter.setPen(QPen(over ? theme.bad : theme.dim, 1.5, Qt::DashLine));
    painter.drawLine(QPointF(plot.left(), at), QPointF(plot.right(), at));
    paint_note(painter, plot, {plot.right(), at}, Qt::AlignRight | Qt::AlignBottom,
               over ? tr("capacity %1, %2 too much").arg(bytes(capacity), bytes(peak - capacity)) : tr("capacity %1").arg(bytes(capacity)),
               over ? theme.bad : theme.dim, theme);
  }
  const Picoseconds when = live_.times[peak_];
  if (when >= x.range().begin && when <= x.range().end) {
    const QPointF at(plot.left() + x.pixel(when), plot.top() + y.pixel(peak));
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(QPen(theme.ground, 1.5));
    painter.setBrush(theme.critical);
    painter.drawEllipse(at, 4.5, 4.5);
    painter.setBrush(Qt::NoBrush);
    painter.setRenderHint(QPainter::Antialiasing, false);
    paint_note(painter, plot, at, Qt::AlignLeft | Qt::AlignTop, tr("peak %1").arg(bytes(peak)), theme.critical, theme);
  }
  paint_cursor(painter, plot, theme);
}

}  // namespace orrery::gui
