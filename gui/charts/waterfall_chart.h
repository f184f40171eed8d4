// Where two steps' time goes: part by part beside one another, or as a bridge from one step to the other.
#pragma once

#include <optional>

#include "app/compare.h"
#include "gui/charts/chart.h"

namespace orrery::gui {

// The two waterfalls, a pair of bars for each part.
class WaterfallChart : public Chart {
  Q_OBJECT

 public:
  // `empty`, `how`: what it says without a report.
  WaterfallChart(QString empty, QString how, QWidget* parent = nullptr);
  void show_report(std::optional<app::CompareReport> report);
  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;

 protected:
  bool event(QEvent* event) override;

 private:
  QString empty_, how_;
  std::optional<app::CompareReport> report_;
};

// From A's step to B's, largest difference first.
class BridgeChart : public Chart {
  Q_OBJECT

 public:
  explicit BridgeChart(QWidget* parent = nullptr);
  void show_report(std::optional<app::CompareReport> report);
  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;

 private:
  std::optional<app::CompareReport> report_;
};

// Pairs of bars of bytes: the peak memory of each pipeline stage.
class MemoryPairsChart : public Chart {
  Q_OBJECT

 public:
  explicit MemoryPairsChart(QWidget* parent = nullptr);
  // `capacity`: of a device; 0: unknown.
  void show_report(std::optional<app::CompareReport> report, double capacity);
  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;

 private:
  std::optional<app::CompareReport> report_;
  double capacity_ = 0;
};

}  // namespace orrery::gui
