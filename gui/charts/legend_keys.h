// The timeline's legend under keys: Tab comes to it, arrows go along, Space shows a colour alone, Shift+Space one more.
#pragma once

#include <QWidget>

namespace orrery::gui {

class TimelineChart;

// Lies over the line that the chart paints, and paints only where one is; the mouse goes through it.
class LegendKeys : public QWidget {
  Q_OBJECT

 public:
  explicit LegendKeys(TimelineChart& chart);

  std::size_t current() const { return current_; }  // place in the chart's legend()
  void settle();                                    // the legend has become another

 Q_SIGNALS:
  void told(const QString& what);  // of the colour that one comes to; empty: one leaves

 protected:
  void keyPressEvent(QKeyEvent* event) override;
  void focusInEvent(QFocusEvent* event) override;
  void focusOutEvent(QFocusEvent* event) override;
  void paintEvent(QPaintEvent* event) override;

 private:
  void go_to(std::size_t place);

  TimelineChart& chart_;
  std::size_t current_ = 0;
};

}  // namespace orrery::gui
