// A timeline drawn small: the compute stream of each recorded rank, to see its shape at a glance.
#pragma once

#include <memory>

#include "gui/charts/chart.h"
#include "gui/view/span_index.h"

namespace orrery::gui {

class StripChart : public Chart {
  Q_OBJECT

 public:
  explicit StripChart(QWidget* parent = nullptr);
  // Null: there is none yet. Its time axis goes up to `until` where that is longer, so that two strips can be compared.
  void show_index(std::shared_ptr<const view::SpanIndex> index, Picoseconds until = {});
  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;

 Q_SIGNALS:
  void clicked();

 protected:
  void mouseReleaseEvent(QMouseEvent* event) override;

 private:
  std::shared_ptr<const view::SpanIndex> index_;
  Picoseconds until_;
};

}  // namespace orrery::gui
