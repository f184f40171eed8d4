// Power over the step, with what is drawn at rest and what devices are rated at.
#pragma once

#include <memory>

#include "app/power.h"
#include "gui/charts/time_chart.h"
#include "gui/view/step_curve.h"

namespace orrery::gui {

class PowerChart : public TimeChart {
  Q_OBJECT

 public:
  explicit PowerChart(QWidget* parent = nullptr);

  // Of so many devices; `idle` and `rated` of all of them together, rated 0: unknown. An empty curve empties the chart, which then says `why`.
  void show(const app::PowerCurve& curve, Watts idle, Watts rated, const QString& why = {});
  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;

 protected:
  QRectF plot_in(QSizeF size, const QFontMetricsF& font) const override;

 private:
  view::StepCurve curve_;
  Watts idle_, rated_, mean_, peak_;
  QString why_;
};

}  // namespace orrery::gui
