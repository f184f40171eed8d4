// One step of a run, drawn small: what every rank did, under what was predicted for it.
#pragma once

#include <memory>

#include "gui/charts/chart.h"
#include "gui/charts/lane_picture.h"
#include "gui/view/lane_layout.h"

namespace orrery::gui {

class StepChart : public Chart {
  Q_OBJECT

 public:
  struct Step {
    std::shared_ptr<const view::SpanIndex> predicted, measured;  // either may be missing
    std::shared_ptr<const view::Differences> differences;        // of both
    QString name;                                                // "step 12"
  };

  // `empty`, `how`: what it says before the first step.
  StepChart(QString empty, QString how, QWidget* parent = nullptr);

  // The time axis keeps its scale as long as the step fills most of it, so that steps can be compared as they come. With neither: empty.
  void show_step(Step step);
  const Step& step() const { return step_; }
  Picoseconds until() const { return until_; }  // end of the time axis

  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;

 Q_SIGNALS:
  void clicked();

 protected:
  void mouseReleaseEvent(QMouseEvent* event) override;

 private:
  const Timeline& timeline() const;  // the measured one, where there is one
  void lay_out(double room) const;
  void paint_names(QPainter& painter, const QRectF& area, const Theme& theme) const;
  void paint_times(QPainter& painter, const QRectF& area, const view::TimeAxis& axis, const Theme& theme) const;
  void paint_legend(QPainter& painter, const QRectF& area, const Theme& theme) const;

  QString empty_, how_;
  Step step_;
  LaneScene scene_;
  Picoseconds until_;
  mutable std::shared_ptr<const view::LaneLayout> layout_;
  mutable double room_ = -1, shown_ = 0;  // shown_: height of the ranks that there is room for
  mutable std::size_t ranks_shown_ = 0;
  mutable LanePainter painter_;
};

}  // namespace orrery::gui
