// Energy: power over the step, of all devices or of one, and what the energy is spent on.
#pragma once

#include <memory>
#include <optional>

#include "app/power.h"
#include "app/simulate.h"
#include "gui/page.h"
#include "gui/state/latest.h"

class QComboBox;
class QLabel;

namespace orrery::gui {

class EnergyChart;
class PowerChart;
struct Answer;

class EnergyPage : public Page {
  Q_OBJECT

 public:
  explicit EnergyPage(ViewState& state, QWidget* parent = nullptr);

  QList<const Chart*> charts() const override;
  // Energy by class of work.
  std::optional<QString> csv() const override;
  QString command() const override;
  bool settled() const override { return !work_.busy(); }

 protected:
  void showEvent(QShowEvent* event) override;

 private:
  struct Figures {
    std::shared_ptr<const Timeline> timeline;
    std::shared_ptr<const app::Explored> explored;  // null: the timeline is a trace, which says what running takes above idle power
    app::PowerStory story;
    std::optional<std::uint32_t> rank;  // whose device `curve` is of; otherwise of all
    app::PowerCurve curve;
  };
  void refresh();
  void show_cards();
  QString basis() const;
  void show_figures();

  Latest work_;
  std::shared_ptr<const Figures> figures_;
  std::shared_ptr<const Timeline> asked_;
  std::optional<std::uint32_t> asked_rank_;

  PowerChart* power_;
  EnergyChart* bars_;
  QComboBox* whose_;
  QLabel *per_step_, *per_token_, *mean_, *peak_, *basis_;
};

}  // namespace orrery::gui
