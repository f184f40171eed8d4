// Curves over the steps of a run, with lines for what they are held against.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "gui/charts/chart.h"
#include "planner/pareto.h"

namespace orrery::gui {

class CurveChart : public Chart {
  Q_OBJECT

 public:
  struct Level {
    double value = 0;
    QString name;
  };

  // `y`: what the vertical axis shows; `label`: a value of it in words; `empty`: what an empty chart says, and how to fill it.
  CurveChart(const QString& name, const QString& y, std::function<std::string(double)> label, QString empty, QString how, QWidget* parent = nullptr);

  // Steps count from 1 for people. `whole`: how many there will be, so that the curve grows into its place; where they are very many, into twice as
  // many as there are.
  void clear(std::int64_t whole);
  void add(planner::Point point);
  void set_levels(std::vector<Level> levels);
  void start_at_zero() { from_zero_ = true; }  // the vertical axis
  // What is said of a point under the mouse, where that is more than its label.
  void set_story(std::function<std::string(double)> story) { story_ = std::move(story); }
  const std::vector<planner::Point>& points() const { return points_; }
  double last_step() const;  // at the right end

  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;

 protected:
  void mouseMoveEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;

 private:
  QString y_;
  std::function<std::string(double)> label_, story_;
  QString empty_, how_;
  std::int64_t whole_ = 0;
  bool from_zero_ = false;
  std::vector<planner::Point> points_;
  std::vector<Level> levels_;
  double hovered_ = -1;  // pixel, or less than 0
};

}  // namespace orrery::gui
