// What one rank's memory holds over the step, category upon category, under its capacity.
#pragma once

#include <memory>

#include "app/memory_story.h"
#include "gui/charts/time_chart.h"
#include "gui/view/step_curve.h"

namespace orrery::gui {

class MemoryChart : public TimeChart {
  Q_OBJECT

 public:
  explicit MemoryChart(QWidget* parent = nullptr);

  // `measured`: the same rank's live bytes in a run, or an empty curve. A null story empties the chart, which then says `why`.
  void show(std::shared_ptr<const app::MemoryStory> story, view::StepCurve measured, const QString& why = {});
  // Of a trace alone: how much is live, and nothing of what it is or what fits.
  void show_alone(view::StepCurve live);
  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;

 protected:
  QRectF plot_in(QSizeF size, const QFontMetricsF& font) const override;

 private:
  void paint_categories(QPainter& painter, const QRectF& plot, const view::TimeAxis& x, const view::LinearAxis& y, const Theme& theme) const;
  QList<LegendEntry> legend(const Theme& theme) const;

  std::shared_ptr<const app::MemoryStory> story_;
  view::StepCurve live_, measured_;
  std::size_t peak_ = 0;  // of live_
  QString why_;
};

}  // namespace orrery::gui
