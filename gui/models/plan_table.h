// The plans that a search simulated, one a row.
#pragma once

#include <QAbstractTableModel>
#include <memory>

#include "app/plan.h"

namespace orrery::gui {

class PlanTable : public QAbstractTableModel {
  Q_OBJECT

 public:
  enum Column { rank, step, slower, memory, energy, price, tp, cp, pp, vp, dp, ep, micro, schedule, recompute, zero, bubble, tokens, columns };
  static constexpr int kSortRole = Qt::UserRole;  // a number, or a text

  explicit PlanTable(QObject* parent = nullptr);

  void show_report(std::shared_ptr<const app::PlanReport> report);
  const std::shared_ptr<const app::PlanReport>& report() const { return report_; }
  const planner::Candidate& candidate(int row) const { return report_->outcome.ranked[static_cast<std::size_t>(row)]; }
  // Whether the column says something that differs, or is wanted always.
  bool worth_showing(int column) const;

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  QVariant value(const planner::Candidate& candidate, int row, int column) const;  // to sort by
  QString text(const planner::Candidate& candidate, int row, int column) const;

  std::shared_ptr<const app::PlanReport> report_;
};

}  // namespace orrery::gui
