// The plans that a search did not choose, by the constraint that killed them.
#pragma once

#include <QAbstractItemModel>
#include <memory>
#include <vector>

#include "app/plan.h"

namespace orrery::gui {

// Two levels: constraints with their counts and the nearest plan, and below each its plans, nearest first.
class RefusedTree : public QAbstractItemModel {
  Q_OBJECT

 public:
  enum Column { what, plans, why, columns };

  explicit RefusedTree(QObject* parent = nullptr);

  void show_report(std::shared_ptr<const app::PlanReport> report);

  QModelIndex index(int row, int column, const QModelIndex& parent = {}) const override;
  QModelIndex parent(const QModelIndex& child) const override;
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  std::shared_ptr<const app::PlanReport> report_;
  std::vector<planner::RefusalGroup> groups_;
};

}  // namespace orrery::gui
