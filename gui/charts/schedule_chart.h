// The pipeline schedule of a plan, drawn small: a row per rank, a cell per pass.
#pragma once

#include "gui/charts/chart.h"
#include "gui/view/schedule_picture.h"

namespace orrery::gui {

class ScheduleChart : public Chart {
  Q_OBJECT

 public:
  explicit ScheduleChart(QWidget* parent = nullptr);
  void show_picture(view::SchedulePicture picture);
  const view::SchedulePicture& picture() const { return picture_; }

  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;

 private:
  view::SchedulePicture picture_;
};

}  // namespace orrery::gui
