// Timeline: what every rank and stream does when, why it waits, and how a run differed from its prediction.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "gui/page.h"
#include "gui/view/span_index.h"

class QLabel;
class QMenu;
class QToolButton;

namespace orrery::view {
class Differences;
}

namespace orrery::gui {

class Job;
class SearchBar;
class ShownBar;
class SpanDetails;
class TimelineChart;

// Between the state and what it shows (chart, search, details): hands indices to them, and tells the one of what was done to the other.
class TimelinePage : public Page {
  Q_OBJECT

 public:
  explicit TimelinePage(ViewState& state, QWidget* parent = nullptr);
  ~TimelinePage() override;

  QList<const Chart*> charts() const override;
  std::optional<QString> csv() const override;  // seconds by rank, stream and what they went into
  QString command() const override;             // `… --trace trace.json`
  bool settled() const override;

  TimelineChart& chart() const { return *chart_; }
  // The matches of the present search; null: none is on.
  const std::shared_ptr<const std::vector<view::SpanId>>& matches() const;

 protected:
  void keyPressEvent(QKeyEvent* event) override;
  void showEvent(QShowEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  struct Indexed;

  void make_tools();
  void listen_to_state();
  void listen_to_parts();
  void refresh();  // builds the indices of what the state shows, at once or on another thread
  void take(const std::shared_ptr<const Indexed>& indexed);
  void name_timelines(const view::Differences* differences);
  void show_details();
  void fill_streams();
  void go_to(view::SpanId span);
  void select_from_chart();
  void select_from_state();
  void range_from_state();

  TimelineChart* chart_;
  SpanDetails* details_;
  SearchBar* search_;
  ShownBar* what_;
  QLabel* status_;
  QToolButton *critical_, *fit_;
  QMenu* streams_;
  Job* job_;
  std::shared_ptr<const Timeline> wanted_, wanted_over_, shown_, shown_over_;
};

}  // namespace orrery::gui
