// Network: the cluster drawn, its links coloured by what the step puts on them (or what flows at the cursor), and the hot ones listed.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "app/network_load.h"
#include "app/simulate.h"
#include "gui/charts/topology_chart.h"
#include "gui/page.h"
#include "gui/state/latest.h"

class QLabel;
class QRadioButton;
class QSlider;
class QTableView;

namespace orrery::gui {

class HotLinksModel;
class LinkUsesModel;

class NetworkPage : public Page {
  Q_OBJECT

 public:
  explicit NetworkPage(ViewState& state, QWidget* parent = nullptr);

  QList<const Chart*> charts() const override;
  // The hot links, of the step or of the cursor's time.
  std::optional<QString> csv() const override;
  QString command() const override;
  QString without_command() const override;
  bool settled() const override { return !work_.busy() && !moment_work_.busy(); }

 protected:
  void showEvent(QShowEvent* event) override;

 private:
  struct Figures {
    std::shared_ptr<const app::Explored> explored;  // what the traffic refers to
    std::shared_ptr<const Timeline> timeline;
    std::shared_ptr<const app::NetworkTraffic> traffic;
    std::shared_ptr<const app::NetworkLoad> step;
    std::vector<app::HotLink> hot;
    std::vector<TopologyChart::Node> nodes;
  };
  struct Moment {
    std::shared_ptr<const app::NetworkLoad> load;
    std::vector<app::HotLink> hot;
    Picoseconds time;
  };
  void refresh();
  void refresh_moment();
  void show_figures();
  void show_load();
  void choose(std::size_t level, std::int64_t device);

  Latest work_, moment_work_;
  std::shared_ptr<const Figures> figures_;
  std::shared_ptr<const Moment> moment_;
  std::shared_ptr<const Timeline> asked_;
  std::optional<TopologyChart::Link> chosen_;
  bool selecting_ = false;

  TopologyChart* chart_;
  QRadioButton *over_step_, *at_cursor_;
  QSlider* slider_;
  QLabel *time_, *hot_title_, *uses_title_, *note_;
  QTableView *hot_table_, *uses_table_;
  HotLinksModel* hot_;
  LinkUsesModel* uses_;
};

}  // namespace orrery::gui
