#include "gui/models/holdings_model.h"

#include "core/quantity_text.h"
#include "gui/theme.h"
#include "gui/view/memory_colours.h"

namespace orrery::gui {

HoldingsModel::HoldingsModel(QObject* parent) : QAbstractTableModel(parent) {}

void HoldingsModel::show(std::vector<app::Holding> holdings) {
  if (holdings == holdings_) return;
  const bool as_many = holdings.size() == holdings_.size();
  if (!as_many) beginResetModel();
  holdings_ = std::move(holdings);
  total_ = 0;
  for (const app::Holding& h : holdings_) total_ += h.bytes;
  if (as_many)
    Q_EMIT dataChanged(index(0, 0), index(rowCount() - 1, kColumns - 1));  // the view stays where it is while the cursor moves
  else
    endResetModel();
}

int HoldingsModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(holdings_.size()); }
int HoldingsModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : int{kColumns}; }

QVariant HoldingsModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const app::Holding& h = holdings_[static_cast<std::size_t>(index.row())];
  if (role == Qt::TextAlignmentRole && index.column() >= kBytes) return QVariant(Qt::AlignRight | Qt::AlignVCenter);
  if (role == Qt::DecorationRole && index.column() == kCategory) return to_qt(view::colour(h.category, theme().dark));
  if (role == Qt::ToolTipRole && index.column() == kBytes) return QStringLiteral("%L1 B").arg(h.bytes);
  if (role != Qt::DisplayRole) return {};
  switch (index.column()) {
    case kBuffer:
      return QString::fromStdString(h.name);
    case kCategory:
      return QString::fromUtf8(app::name(h.category).data(), static_cast<qsizetype>(app::name(h.category).size()));
    case kBytes:
      return QString::fromStdString(format_bytes(Bytes{h.bytes}));
    case kShare:
      return QString::fromStdString(format_percent(total_ > 0 ? static_cast<double>(h.bytes) / static_cast<double>(total_) : 0));
    case kInstances:
      return QString::number(h.instances);
    default:
      return {};
  }
}

QVariant HoldingsModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal) return {};
  if (role == Qt::TextAlignmentRole) return QVariant((section >= kBytes ? Qt::AlignRight : Qt::AlignLeft) | Qt::AlignVCenter);
  if (role == Qt::ToolTipRole && section == kInstances) return tr("Of one buffer over micro-batches, of one stash over layers");
  if (role != Qt::DisplayRole) return {};
  static const char* const kNames[kColumns] = {"Buffer", "Category", "Bytes", "Share", "Instances"};
  return tr(kNames[section]);
}

}  // namespace orrery::gui
