// Where a step's energy goes: a bar for each kind of work, and for idling.
#pragma once

#include <vector>

#include "core/units.h"
#include "gui/charts/chart.h"

namespace orrery::gui {

class EnergyChart : public Chart {
  Q_OBJECT

 public:
  struct Bar {
    QString name;
    QString about;
    Joules energy;
    view::Hue hue = view::Hue::none;
  };
  explicit EnergyChart(QWidget* parent = nullptr);

  void show(std::vector<Bar> bars, const QString& why = {});
  const std::vector<Bar>& bars() const { return bars_; }
  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;
  QSize sizeHint() const override;

 protected:
  bool event(QEvent* event) override;

 private:
  std::vector<Bar> bars_;
  Joules total_;
  QString why_;
};

}  // namespace orrery::gui
