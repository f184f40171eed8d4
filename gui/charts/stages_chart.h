// One small curve of live bytes for each recorded rank, under the same capacity; choosing one says so.
#pragma once

#include <vector>

#include "core/units.h"
#include "gui/charts/chart.h"
#include "gui/view/step_curve.h"

namespace orrery::gui {

class StagesChart : public Chart {
  Q_OBJECT

 public:
  struct Row {
    std::uint32_t rank = 0;
    QString label;  // "stage 3"
    QString note;   // "stands for 128 ranks"
    view::StepCurve live;
    std::int64_t peak = 0;
    bool operator==(const Row& o) const { return rank == o.rank && label == o.label && peak == o.peak; }
  };
  explicit StagesChart(QWidget* parent = nullptr);

  void show(std::vector<Row> rows, Bytes capacity, Picoseconds end);
  void choose(std::uint32_t rank);
  void set_cursor(std::optional<Picoseconds> time);
  const std::vector<Row>& rows() const { return rows_; }
  QRectF row_rect(std::size_t row) const;  // on screen
  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;
  QSize sizeHint() const override;

 Q_SIGNALS:
  void chosen(std::uint32_t rank);

 protected:
  void mousePressEvent(QMouseEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  bool event(QEvent* event) override;

 private:
  double row_height() const;  // on screen
  double row_height(double height, const QFontMetricsF& font) const;

  std::vector<Row> rows_;
  Bytes capacity_;
  Picoseconds end_;
  std::uint32_t chosen_ = 0;
  std::optional<Picoseconds> cursor_;
};

}  // namespace orrery::gui
