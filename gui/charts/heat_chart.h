// A sweep's results as a map of colours with the figures in it.
#pragma once

#include <optional>

#include "gui/charts/chart.h"
#include "gui/view/heat_map.h"

namespace orrery::gui {

class HeatChart : public Chart {
  Q_OBJECT

 public:
  explicit HeatChart(QWidget* parent = nullptr);

  void show_map(std::optional<view::HeatMap> map);
  const std::optional<view::HeatMap>& map() const { return map_; }
  std::optional<std::size_t> current() const { return current_; }  // the cell chosen by mouse or key
  void set_current(std::optional<std::size_t> cell);
  QPointF middle_of(std::size_t cell) const;  // in the widget

  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;

 Q_SIGNALS:
  void current_changed();
  void activated(std::size_t cell);  // a click, Enter

 protected:
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  bool event(QEvent* event) override;

 private:
  view::HeatLayout layout(const QFont& font, QSizeF size) const;
  QString describe(std::size_t cell) const;

  std::optional<view::HeatMap> map_;
  std::optional<std::size_t> current_, hovered_;
};

}  // namespace orrery::gui
