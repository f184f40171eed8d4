// Plans as points in two of time, memory, energy and money; the front of those that no other beats is a line.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "gui/charts/chart.h"
#include "gui/view/scatter.h"

namespace orrery::gui {

class ScatterChart : public Chart {
  Q_OBJECT

 public:
  explicit ScatterChart(QWidget* parent = nullptr);

  // `describe`: what the tool tip says of a point; `priced`: the cluster has a price (an empty chart then says otherwise).
  void show_plans(view::Scatter scatter, std::function<QString(const view::PlanPoint&)> describe, bool priced);
  const view::Scatter& scatter() const { return scatter_; }
  // The simulated plans that are selected, by their index in Outcome::ranked.
  void select(const std::vector<std::size_t>& ranked);

  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;
  // Where a point is painted in the widget.
  QPointF place(const view::PlanPoint& point) const;

 Q_SIGNALS:
  // A simulated plan was clicked or chosen by key; `add`: to what is selected already.
  void picked(std::size_t ranked, bool add);
  void activated(std::size_t ranked);  // double click, Enter

 protected:
  void mousePressEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  bool event(QEvent* event) override;

 private:
  struct Layout;
  Layout layout(const QPainter& painter, QSizeF size) const;
  std::optional<std::size_t> point_at(QPointF position) const;

  view::Scatter scatter_;
  std::function<QString(const view::PlanPoint&)> describe_;
  bool priced_ = false;
  std::vector<std::size_t> selected_;
  std::optional<std::size_t> hovered_;  // index into scatter_.points
};

}  // namespace orrery::gui
