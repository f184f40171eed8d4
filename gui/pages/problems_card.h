// Why the plan cannot be simulated, with ways out: the same above the fields and beside the sliders.
#pragma once

#include <QFrame>
#include <utility>
#include <vector>

#include "app/mend.h"
#include "gui/state/asker.h"
#include "gui/state/latest.h"

class QVBoxLayout;

namespace orrery::gui {

class ViewState;

// One reason, and what takes it away.
struct Problem {
  std::string field, text, hint;
  std::vector<app::Mend> mends;
};

class ProblemsCard : public QFrame {
  Q_OBJECT

 public:
  explicit ProblemsCard(ViewState& state, QWidget* parent = nullptr);

  const std::vector<Problem>& problems() const { return problems_; }
  // Mends are looked for on another thread.
  bool settled() const { return !mends_.busy(); }

 Q_SIGNALS:
  void problems_changed();
  void field_wanted(const QString& path);

 private:
  void refresh();
  void show_problems(std::vector<Problem> problems);

  ViewState& state_;
  std::vector<Problem> problems_;
  Latest mends_;
  QVBoxLayout* column_;
};

// Applies PATH=VALUE settings as one edit.
void apply_mend(ViewState& state, const QStringList& settings);

}  // namespace orrery::gui
