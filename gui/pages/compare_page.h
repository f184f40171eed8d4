// Two steps side by side: where the time goes in each, what differs most, and what memory they need.
#pragma once

#include <optional>
#include <vector>

#include "app/compare.h"
#include "gui/page.h"
#include "gui/state/job.h"

class QComboBox;
class QLabel;
class QPushButton;
class QTableView;

namespace orrery::gui {

class BridgeChart;
class DifferenceTable;
class MemoryPairsChart;
class WaterfallChart;

class ComparePage : public Page {
  Q_OBJECT

 public:
  explicit ComparePage(ViewState& state, QWidget* parent = nullptr);
  ~ComparePage() override;

  QList<const Chart*> charts() const override;
  std::optional<QString> csv() const override;
  QString command() const override;
  QString without_command() const override;
  QString caption() const override;
  bool stale() const override;
  bool settled() const override;

  // Takes a plan, a trace, or the JSON of a simulation or a run for side B (or A).
  void open(const QString& file, bool for_a);
  const std::optional<app::CompareReport>& report() const { return report_; }

 protected:
  void showEvent(QShowEvent* event) override;

 private:
  // Something that a step can be taken from.
  struct Source {
    QString key, title;
    app::Summary summary;
    double capacity = 0;                  // bytes of a device, where known
    std::optional<app::Operand> operand;  // that a command names it by
  };
  void gather();  // the sources that there are now
  void compare();
  void choose(const QString& a, const QString& b);
  void show_rows();
  const Source* chosen(const QComboBox* box) const;

  QComboBox *a_, *b_, *rows_;
  QLabel *headline_, *note_;
  QWidget* lower_;
  QPushButton *open_a_, *open_b_, *swap_;
  WaterfallChart* waterfall_;
  BridgeChart* bridge_;
  MemoryPairsChart* memory_;
  DifferenceTable* table_;
  QTableView* view_;
  std::vector<Source> sources_, files_;
  std::optional<app::CompareReport> report_;
  Job loading_;
  bool stale_ = false;  // the answer changed while the page was not seen
};

}  // namespace orrery::gui
