// The cluster's nodes, devices and links; links coloured by their load.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "app/network_load.h"
#include "gui/charts/chart.h"
#include "gui/view/topology.h"

namespace orrery::gui {

class TopologyChart : public Chart {
  Q_OBJECT

 public:
  struct Link {
    std::size_t level = 0;
    std::int64_t device = 0;
    bool operator==(const Link&) const = default;
  };
  explicit TopologyChart(QWidget* parent = nullptr);

  struct Node {
    view::NodeKind kind;
    QString label;  // "pp1"
    QString more;   // "node 8", where there is room
  };
  // `load`: of a step or of a moment; null empties the chart, which then says `why`.
  void show(std::vector<Node> nodes, std::shared_ptr<const app::NetworkLoad> load, const QString& why = {});
  void choose(std::optional<Link> link);
  std::optional<Link> chosen_link() const { return chosen_; }
  view::TopologyLayout layout_now() const;  // as on screen; nothing is offset
  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;

 Q_SIGNALS:
  void chosen(std::size_t level, std::int64_t device);

 protected:
  void mousePressEvent(QMouseEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  bool event(QEvent* event) override;

 private:
  view::TopologyLayout layout_in(QSizeF size, const QFontMetricsF& font) const;
  double legend_height(const QFontMetricsF& font) const;
  void paint_legend_below(QPainter& painter, QSizeF size, const Theme& theme) const;

  std::vector<Node> nodes_;
  std::shared_ptr<const app::NetworkLoad> load_;
  std::optional<Link> chosen_;
  QString why_;
};

// "nvlink of device 3: 12.4 % of 450 GB/s each way" and lines by axis.
QString describe_link(const app::NetworkLoad& load, std::size_t level, std::int64_t device);
// Bytes in a step, or a rate at a moment.
QString amount_text(const app::NetworkLoad& load, double amount);
// "dp 83 %, pp 17 %": of the busier direction.
QString axes_text(const app::ByAxis& sent, const app::ByAxis& received);

}  // namespace orrery::gui
