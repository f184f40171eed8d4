#include "gui/models/difference_table.h"

#include <fmt/format.h>

#include <QColor>
#include <QStringList>
#include <cmath>

#include "core/quantity_text.h"
#include "gui/theme.h"

namespace orrery::gui {

DifferenceTable::DifferenceTable(QObject* parent) : QAbstractTableModel(parent) {}

void DifferenceTable::show_rows(std::vector<app::Row> rows, bool bytes) {
  beginResetModel();
  rows_ = std::move(rows);
  bytes_ = bytes;
  endResetModel();
}

int DifferenceTable::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(rows_.size()); }
int DifferenceTable::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : int{columns}; }

QVariant DifferenceTable::data(const QModelIndex& index, int role) const {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid | CheckIndexOption::ParentIsInvalid)) return {};
  const app::Row& row = rows_[static_cast<std::size_t>(index.row())];
  const double d = row.difference();
  const auto text = [&](double v) { return bytes_ ? format_bytes(Bytes{std::llround(v)}) : format_seconds(Seconds{v}); };
  if (role == Qt::TextAlignmentRole) return int{index.column() == name ? Qt::AlignLeft : Qt::AlignRight} | int{Qt::AlignVCenter};
  if (role == Qt::ForegroundRole && (index.column() == difference || index.column() == relative))
    return d > 0 ? theme().bad : d < 0 ? theme().good : theme().dim;
  if (role != Qt::DisplayRole && role != kSortRole) return {};
  const bool sort = role == kSortRole;
  switch (index.column()) {
    case name:
      return QString::fromStdString(row.name);
    case a:
      return sort ? QVariant(row.a) : QVariant(QString::fromStdString(text(row.a)));
    case b:
      return sort ? QVariant(row.b) : QVariant(QString::fromStdString(text(row.b)));
    case difference:
      if (sort) return std::abs(d);  // the largest first, whichever way it goes
      return d == 0 ? QString() : QString::fromStdString(fmt::format("{}{}", d > 0 ? "+" : "-", text(std::abs(d))));
    case relative:
      if (sort) return row.a > 0 ? d / row.a : d > 0 ? 1e300 : 0;
      return row.a > 0 && d != 0 ? QString::fromStdString(fmt::format("{:+.1f} %", 100 * d / row.a)) : QString();
    default:
      return {};
  }
}

QVariant DifferenceTable::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || section < 0 || section >= columns) return QAbstractTableModel::headerData(section, orientation, role);
  if (role == Qt::TextAlignmentRole) return int{section == name ? Qt::AlignLeft : Qt::AlignRight} | int{Qt::AlignVCenter};
  if (role == Qt::ToolTipRole && section == relative) return tr("Of what A has");
  if (role != Qt::DisplayRole) return {};
  return QStringList{tr("part"), tr("A"), tr("B"), tr("B − A"), tr("change")}[section];
}

}  // namespace orrery::gui
