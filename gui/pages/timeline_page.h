// Timeline: what every rank and stream does when, why it waits, and how a run differed from its prediction.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "gui/page.h"
#include "gui/state/latest.h"
#include "gui/view/span_index.h"

class QLabel;
class QLineEdit;
class QMenu;
class QTextBrowser;
class QToolButton;
class QUrl;

namespace orrery::gui {

class Job;
class TimelineChart;
struct SpanAt;

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
  const std::shared_ptr<const std::vector<view::SpanId>>& matches() const { return matches_; }

 protected:
  void keyPressEvent(QKeyEvent* event) override;
  void showEvent(QShowEvent* event) override;
  void changeEvent(QEvent* event) override;
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  struct Indexed;

  void refresh();  // builds the indices of what the state shows, at once or on another thread
  void take(const std::shared_ptr<const Indexed>& indexed);
  void search();
  void mark_matches();
  void go_to_match(bool forward);
  void show_details();
  void show_matches();
  void fill_streams();
  void follow_link(const QUrl& url);
  void select_from_chart();
  void select_from_state();
  void range_from_state();
  QString story(const SpanAt& span);  // also sets the chart's arrows
  QString overview() const;           // of what is measured, or of the step
  QString html(const QString& body) const;

  TimelineChart* chart_;
  QTextBrowser* details_;
  QLineEdit* search_;
  QLabel *found_, *status_, *over_;
  QToolButton *previous_, *next_, *critical_, *uncover_;
  QMenu* streams_;
  Job* job_;
  Latest finding_;
  std::shared_ptr<const Timeline> wanted_, wanted_over_, shown_, shown_over_;
  QString told_;  // in the details
  std::shared_ptr<const std::vector<view::SpanId>> matches_;
};

}  // namespace orrery::gui
