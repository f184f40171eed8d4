// Knobs and what they change: the plan is simulated again while they turn.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gui/page.h"
#include "gui/state/latest.h"
#include "gui/view/change.h"
#include "gui/view/knobs.h"

class QGridLayout;
class QLabel;
class QPushButton;
class QVBoxLayout;

namespace orrery::gui {

class KnobWidget;
class ProblemsCard;
class StripChart;
class WaterfallChart;

class WhatIfPage : public Page {
  Q_OBJECT

 public:
  explicit WhatIfPage(ViewState& state, QWidget* parent = nullptr);

  QList<const Chart*> charts() const override;
  std::optional<QString> csv() const override;  // the figures, pinned and now
  QString command() const override;             // with a pin: what changed since
  bool settled() const override;

  KnobWidget* knob(const std::string& path) const;  // null: there is none
  const std::vector<view::Figure>& figures() const { return figures_; }
  QString sentence() const;

 protected:
  void showEvent(QShowEvent* event) override;

 private:
  QWidget* make_results();
  void refresh();
  void find_knobs();
  void show_knobs(const std::vector<view::Knob>& knobs);
  void turn(const view::Knob& knob, int position, quint64 gesture);
  void reset(const view::Knob& knob);
  void reset_all();

  QVBoxLayout* column_ = nullptr;
  std::map<std::string, KnobWidget*> knobs_;
  std::vector<std::string> order_;
  ProblemsCard* problems_ = nullptr;
  QGridLayout* table_ = nullptr;
  std::vector<std::array<QLabel*, 4>> cells_;
  QLabel* sentence_ = nullptr;
  QPushButton *pin_ = nullptr, *back_ = nullptr;
  WaterfallChart* waterfall_ = nullptr;
  StripChart* strip_ = nullptr;
  std::vector<view::Figure> figures_;
  Latest legal_, indices_;
};

}  // namespace orrery::gui
