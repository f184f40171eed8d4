#include "gui/models/refused_tree.h"

namespace orrery::gui {
namespace {

QString title_of(const std::string& constraint) {
  if (constraint == "memory") return RefusedTree::tr("does not fit in memory");
  if (constraint == "bound") return RefusedTree::tr("cannot be among the fastest (by a bound)");
  return RefusedTree::tr("refused: %1").arg(QString::fromStdString(constraint));
}

}  // namespace

RefusedTree::RefusedTree(QObject* parent) : QAbstractItemModel(parent) {}

void RefusedTree::show_report(std::shared_ptr<const app::PlanReport> report) {
  beginResetModel();
  report_ = std::move(report);
  groups_ = report_ ? planner::refusal_groups(report_->outcome) : std::vector<planner::RefusalGroup>{};
  endResetModel();
}

// An index's id: 0 for a group, otherwise 1 + its group.
QModelIndex RefusedTree::index(int row, int column, const QModelIndex& parent) const {
  if (!hasIndex(row, column, parent)) return {};
  return createIndex(row, column, parent.isValid() ? static_cast<quintptr>(parent.row()) + 1 : quintptr{0});
}

QModelIndex RefusedTree::parent(const QModelIndex& child) const {
  if (!child.isValid() || child.internalId() == 0) return {};
  return createIndex(static_cast<int>(child.internalId()) - 1, 0, quintptr{0});
}

int RefusedTree::rowCount(const QModelIndex& parent) const {
  if (!parent.isValid()) return static_cast<int>(groups_.size());
  if (parent.internalId() != 0 || parent.column() != 0) return 0;
  return static_cast<int>(groups_[static_cast<std::size_t>(parent.row())].plans.size());
}

int RefusedTree::columnCount(const QModelIndex& parent) const {
  return parent.isValid() && (parent.internalId() != 0 || parent.column() != 0) ? 0 : int{columns};
}

QVariant RefusedTree::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || !report_) return {};
  if (role == Qt::TextAlignmentRole) return int{index.column() == plans ? Qt::AlignRight : Qt::AlignLeft} | int{Qt::AlignVCenter};
  if (role != Qt::DisplayRole && role != Qt::ToolTipRole) return {};
  if (index.internalId() == 0) {
    const planner::RefusalGroup& group = groups_[static_cast<std::size_t>(index.row())];
    const planner::Rejected& nearest = *group.plans.front();
    if (index.column() == what) return title_of(group.constraint);
    if (index.column() == plans) return role == Qt::ToolTipRole ? QVariant() : QVariant(static_cast<qlonglong>(group.plans.size()));
    return (nearest.excess > 0 ? tr("nearest: %1") : tr("e.g. %1")).arg(QString::fromStdString(nearest.reason));
  }
  const planner::Rejected& plan = *groups_[static_cast<std::size_t>(index.internalId()) - 1].plans[static_cast<std::size_t>(index.row())];
  if (index.column() == what) return QString::fromStdString(planner::label(report_->inputs.cluster, plan.plan));
  if (index.column() == why) return QString::fromStdString(plan.reason);
  return {};
}

QVariant RefusedTree::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || section < 0 || section >= columns) return QAbstractItemModel::headerData(section, orientation, role);
  if (role == Qt::TextAlignmentRole) return int{section == plans ? Qt::AlignRight : Qt::AlignLeft} | int{Qt::AlignVCenter};
  if (role != Qt::DisplayRole) return {};
  return section == what ? tr("not chosen") : section == plans ? tr("plans") : tr("why, and by how much");
}

}  // namespace orrery::gui
