// Memory: the curve of each stage, what the chosen rank's consists of over the step, and buffer by buffer at its peak or at the cursor.
#pragma once

#include <memory>
#include <vector>

#include "app/memory_story.h"
#include "app/simulate.h"
#include "gui/charts/stages_chart.h"
#include "gui/page.h"
#include "gui/state/latest.h"

class QLabel;
class QPushButton;
class QRadioButton;
class QTableView;

namespace orrery::gui {

struct Answer;
class HoldingsModel;
class MemoryChart;

class MemoryPage : public Page {
  Q_OBJECT

 public:
  explicit MemoryPage(ViewState& state, QWidget* parent = nullptr);

  QList<const Chart*> charts() const override;
  // Buffers at the peak (or at the cursor) of the chosen rank; of a trace alone its curve.
  std::optional<QString> csv() const override;
  QString command() const override;
  bool settled() const override { return !work_.busy(); }

 protected:
  void showEvent(QShowEvent* event) override;

 private:
  struct Figures {
    std::shared_ptr<const Timeline> timeline;
    std::shared_ptr<const app::Explored> explored;  // whose program the timeline is of; null: a trace of another one
    std::vector<StagesChart::Row> rows;
    std::shared_ptr<const app::MemoryStory> story;
    QString why;          // there is no story
    std::size_t row = 0;  // of a trace without its program, the one on show
  };
  void refresh();  // if visible and stale: works the figures out
  void show_figures();
  void show_cursor();
  void show_peak();
  void show_nothing(const QString& why);
  void show_trace_alone();
  Picoseconds peak() const;
  std::size_t sample() const;  // that the table is about

  Latest work_;
  std::shared_ptr<const Figures> figures_;
  std::shared_ptr<const Timeline> asked_;
  std::uint32_t asked_rank_ = 0;
  std::shared_ptr<const Answer> asked_answer_;
  bool rank_chosen_ = false;  // by the user, rather than the fullest
  bool picking_ = false;      // the fullest is being made the state's rank

  StagesChart* stages_;
  MemoryChart* chart_;
  QLabel *title_, *verdict_, *when_;
  QRadioButton *at_peak_, *at_cursor_;
  QPushButton* go_;
  QTableView* table_;
  HoldingsModel* model_;
};

}  // namespace orrery::gui
